#!/usr/bin/env bash
# Builds the example guests into OUT (default target/guests):
#
#   scripts/setup-guests.sh && scripts/build-guests.sh [OUT]
#
# Uses the compiler that setup-guests.sh recorded, and a target directory of its
# own (guest-build in CARGO_TARGET_DIR, by default in target): another compiler
# in the host's would rebuild it all.
# Does nothing when neither the sources nor the compiler have changed.
set -euo pipefail

PREFIX=${WPOOL_GUEST_PREFIX:-${XDG_CACHE_HOME:-$HOME/.cache}/wpool/guest-toolchain}
# Guests that are components, made for wasm32-wasip2; and those that are core
# modules, made for wasm32-wasip1. textstats, shared and echo are made both ways.
COMPONENTS=(textstats thumbnail shared gallery ports echo)
MODULES=(textstats shared logparse wc primes hostile echo)

say() { printf 'build-guests: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
seconds() { printf '%d.%d s' $(($1 / 10)) $(($1 % 10)); }
now() { echo $((${EPOCHREALTIME/[.,]/} / 100000)); }

mkdir -p "${1:-$(dirname "$0")/../target/guests}"
OUT=$(cd "${1:-$(dirname "$0")/../target/guests}" && pwd)
ROOT=$(cd "$(dirname "$0")/.." && pwd)
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")/guest-build
cd "$ROOT"

[ -f "$PREFIX/env.sh" ] || die "no compiler for guests is set up: run scripts/setup-guests.sh first"
# shellcheck disable=SC1091 # written by setup-guests.sh
. "$PREFIX/env.sh"

# Panics name their source files; without this they would name the builder's
# home, and two machines would build different modules.
export CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=registry"

# fingerprint: of everything that decides what the guests are.
fingerprint() {
    {
        echo "$WPOOL_GUEST_TOOLCHAIN"
        ls "$PREFIX/languages" 2>/dev/null || true
        find guest-examples wit scripts/build-guests.sh -type f -not -path '*/gallery/python/*' \
            \( -name '*.rs' -o -name '*.wit' -o -name 'Cargo.*' -o -name '*.sh' -o -name '*.py' -o -name '*.js' \) -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -d ' ' -f 1
}

# module FILE SOURCE: one built file takes its place in OUT.
module() {
    cp "$TARGET/$2" "$OUT/$1.new"
    mv "$OUT/$1.new" "$OUT/$1"
    BUILT+=("$1")
}

# compile TARGET GUEST...: one run of cargo, quiet unless it fails.
compile() {
    local target=$1 start guest packages=()
    shift
    for guest in "$@"; do packages+=(-p "$guest"); done
    start=$(now)
    # From the workspace's own folder: cargo looks for its configuration there.
    if ! (cd guest-examples && cargo build --quiet --locked --release --target "$target" \
        --target-dir "$TARGET" "${packages[@]}"); then
        die "the guests do not build for $target"
    fi
    say "$(printf '%-34s %s' "$target: $*" "$(seconds $(($(now) - start)))")"
}

# language NAME TOOL COMMAND...: a guest in a language that brings its
# interpreter along; skipped where the tool is not there.
language() {
    local name=$1 tool start
    tool=$(PATH=$PATH:$PREFIX/languages/python/bin:$PREFIX/languages/javascript/node_modules/.bin command -v "$2") || {
        say "$name.wasm is skipped: no $2 (scripts/setup-languages.sh)"
        return 0
    }
    shift 2
    start=$(now)
    if ! (cd "guest-examples/$name" && PYTHONDONTWRITEBYTECODE=1 "$tool" "$@" -o "$OUT/$name.wasm" >/dev/null); then
        die "the guest in $name does not build"
    fi
    BUILT+=("$name.wasm")
    say "$(printf '%-34s %s' "$name" "$(seconds $(($(now) - start)))")"
}

STAMP=$OUT/.fingerprint
BUILT=()
PRINT=$(fingerprint)
if [ -f "$STAMP" ] && [ "$(head -n 1 "$STAMP")" = "$PRINT" ]; then
    missing=0
    while read -r file; do [ -f "$OUT/$file" ] || missing=1; done < <(tail -n +2 "$STAMP")
    if [ $missing = 0 ]; then
        say "up to date: $OUT"
        exit 0
    fi
fi

compile wasm32-wasip2 "${COMPONENTS[@]}"
compile wasm32-wasip1 "${MODULES[@]}"
module textstats.wasm wasm32-wasip2/release/textstats.wasm
module thumbnail.wasm wasm32-wasip2/release/thumbnail.wasm
module gallery.wasm wasm32-wasip2/release/gallery.wasm
module ports.wasm wasm32-wasip2/release/ports.wasm
module echo-component.wasm wasm32-wasip2/release/echo.wasm
module textstats-core.wasm wasm32-wasip1/release/textstats.wasm
module shared.wasm wasm32-wasip2/release/shared.wasm
module shared-core.wasm wasm32-wasip1/release/shared.wasm
for guest in logparse wc primes hostile echo; do
    module "$guest.wasm" "wasm32-wasip1/release/$guest.wasm"
done
language python componentize-py -d ../../wit/examples -w words componentize app
language javascript componentize-qjs --sync --wit ../../wit/examples -n words --js app.js
printf '%s\n' "$PRINT" "${BUILT[@]}" >"$STAMP"
for file in "${BUILT[@]}"; do
    say "$(printf '%-34s %8d bytes' "$file" "$(stat -c %s "$OUT/$file")")"
done
say "ready: $OUT"
