#!/usr/bin/env bash
# Makes a Rust compiler with the targets wasm32-wasip1 and wasm32-wasip2
# available, and records it in an env file that scripts/build-guests.sh reads:
#
#   scripts/setup-guests.sh && scripts/build-guests.sh
#
# In this order:
#   1. The current compiler has both targets: nothing is fetched. This is the
#      ordinary way: `rustup target add wasm32-wasip1 wasm32-wasip2`.
#   2. A machine with apt: Debian's own rustc and its prebuilt wasm libraries,
#      from the Debian mirror that the machine already uses, are unpacked below
#      the prefix. Nothing is installed, no root is needed, and the user's
#      toolchain stays as it is; only its linkers are borrowed.
#   3. One line of advice, and exit 1.
# rustup is run only when WPOOL_GUEST_RUST=rustup asks for it.
#
# Environment:
#   WPOOL_GUEST_PREFIX  where the env file and the unpacked compiler live
#                       (default ${XDG_CACHE_HOME:-~/.cache}/wpool/guest-toolchain)
#   WPOOL_GUEST_RUST    auto (default) · rustup · debian (skip step 1)
set -euo pipefail

TARGETS=(wasm32-wasip1 wasm32-wasip2)
# When testing is between two versions of Rust, unstable usually is not.
SUITES=(testing unstable)
PREFIX=${WPOOL_GUEST_PREFIX:-${XDG_CACHE_HOME:-$HOME/.cache}/wpool/guest-toolchain}
WAY=${WPOOL_GUEST_RUST:-auto}
ADVICE="run 'rustup target add ${TARGETS[*]}', then this script again"

say() { printf 'setup-guests: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# step LABEL COMMAND...: runs a command quietly, prints one line with its time,
# and the end of its output when it fails. (`set -e` does not reach into the
# functions that it runs, so those return their failures themselves.)
step() {
    local label=$1 start=${EPOCHREALTIME/[.,]/} took status=0
    shift
    "$@" >"$PREFIX/step.log" 2>&1 || status=$?
    took=$(((${EPOCHREALTIME/[.,]/} - start) / 100000))
    say "$(printf '%-34s %3d.%d s' "$label" $((took / 10)) $((took % 10)))$([ $status = 0 ] || echo '  failed')"
    [ $status = 0 ] || tail -n 12 "$PREFIX/step.log" | sed 's/^/    /' >&2
    return "$status"
}

# has_targets RUSTC: whether its standard libraries are there; costs two stats.
has_targets() {
    local sysroot target
    sysroot=$("$1" --print sysroot 2>/dev/null) || return 1
    for target in "${TARGETS[@]}"; do
        [ -d "$sysroot/lib/rustlib/$target/lib" ] || return 1
    done
}

# can_build RUSTC: links a program for each target and for this machine (build
# scripts and macros need the last).
can_build() {
    local dir target jobs=() job status=0
    dir=$(mktemp -d)
    echo 'fn main() { println!("{}", std::env::args().count()); }' >"$dir/probe.rs"
    for target in "${TARGETS[@]}"; do
        "$1" -O --target "$target" -o "$dir/$target.wasm" "$dir/probe.rs" &
        jobs+=($!)
    done
    "$1" -o "$dir/here" "$dir/probe.rs" && "$dir/here" || status=1
    for job in "${jobs[@]}"; do wait "$job" || status=1; done
    rm -rf "$dir"
    return "$status"
}

# finish WAY [RUSTC]: records the compiler and ends the script.
finish() {
    local env=$PREFIX/env.sh version
    version=$("${2:-rustc}" --version)
    {
        echo "# Written by scripts/setup-guests.sh; read by scripts/build-guests.sh."
        [ -z "${2:-}" ] || printf 'export RUSTC=%q\n' "$2"
        printf 'export WPOOL_GUEST_TOOLCHAIN=%q\n' "$1: $version"
    } >"$env.new"
    mv "$env.new" "$env"
    rm -f "$PREFIX/step.log"
    say "ready: $version ($1)"
    echo "$env"
    exit 0
}

# ---- Debian's packages --------------------------------------------------------

# The Debian mirrors in this machine's own apt configuration.
debian_mirrors() {
    apt-get --print-uris update 2>/dev/null |
        sed -n "s|^'\(.*\)/dists/.*|\1|p" | sed 's|/*$||' | grep '/debian$' | sort -u
}

# use_suite MIRROR SUITE: sets APT to options that show apt this suite alone,
# with lists, cache and installed packages (none) of its own.
use_suite() {
    local dir=$PREFIX/apt-$2 key=/usr/share/keyrings/debian-archive-keyring.gpg
    # Packages of an earlier, interrupted run may be of another version.
    rm -rf "$dir/cache"
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    echo "deb $([ ! -e $key ] || echo "[signed-by=$key]") $1 $2 main" >"$dir/sources.list"
    APT=(-qq -o "Dir::Etc::SourceList=$dir/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$dir/lists" -o Dir::State::Status=/dev/null -o "Dir::Cache=$dir/cache"
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o Debug::NoLocking=true
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false)
    ARCHIVES=$dir/cache/archives
}

# again COMMAND...: mirrors fail now and then; three attempts.
again() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        [ "$attempt" = 3 ] || sleep $((attempt * 2))
    done
    return 1
}

read_index() { again apt-get "${APT[@]}" -o APT::Update::Error-Mode=any update; }

# The libraries come with all that they need; of rustc only the package itself,
# because the C compiler and linker that it asks for are this machine's own.
fetch_packages() {
    local version
    version=$(apt-cache "${APT[@]}" policy rustc | sed -n 's/^ *Candidate: *//p')
    [ -n "$version" ] && [ "$version" != "(none)" ] || return 1
    again apt-get "${APT[@]}" --yes --download-only install \
        "libstd-rust-dev=$version" "libstd-rust-dev-wasm32=$version" || return 1
    (cd "$ARCHIVES" && again apt-get "${APT[@]}" download "rustc=$version")
}

# unpack ROOT: of every package only what compiling needs.
unpack() {
    mkdir -p "$1"
    find "$ARCHIVES" -maxdepth 1 -name '*.deb' -print0 | xargs -0 -n 1 -P 2 bash -c '
        set -euo pipefail
        dpkg-deb --fsys-tarfile "$2" | tar -x -C "$1" --exclude="./usr/share/*" --exclude="*/gconv/*" \
            --exclude="*/rustlib/wasm32-unknown-unknown/*"' unpack "$1"
}

# The packages have no wasm linkers; those of the user's toolchain fit.
borrow_linkers() {
    local host from to tool
    host=$(rustc -vV | sed -n 's/^host: //p')
    from=$(rustc --print sysroot)/lib/rustlib/$host/bin
    to=$1/usr/lib/rustlib/$host/bin
    mkdir -p "$to"
    for tool in rust-lld wasm-component-ld gcc-ld; do
        [ -e "$from/$tool" ] || { echo "the toolchain of 'rustc' has no $tool"; return 1; }
        ln -sfn "$from/$tool" "$to/$tool"
    done
}

# The compiler is newer than this machine's C library, so it runs under the
# loader that was unpacked with it. That loader sets no path for programs that
# the compiler starts: they keep using the machine's own libraries.
write_wrapper() {
    local loader
    loader=$(find "$1/usr/lib" -name 'ld-linux*.so.*' | head -n 1)
    [ -n "$loader" ] || { echo "no loader among the packages"; return 1; }
    printf '#!/bin/sh\nexec %q --library-path %q %q --sysroot %q "$@"\n' \
        "$loader" "${loader%/*}" "$1/usr/bin/rustc" "$1/usr" >"$1/rustc"
    chmod +x "$1/rustc"
}

# from_debian SUITE: the whole of step 2; its result is $PREFIX/debian/rustc.
from_debian() {
    local mirror root=$PREFIX/debian.new
    rm -rf "$root"
    for mirror in $(debian_mirrors); do
        use_suite "$mirror" "$1"
        step "$1: read the index" read_index || continue
        step "$1: fetch the packages" fetch_packages || continue
        step "$1: unpack" unpack "$root" || return 1
        rm -rf "$PREFIX/debian" "$PREFIX"/apt-*
        mv "$root" "$PREFIX/debian"
        step "$1: borrow the linkers" borrow_linkers "$PREFIX/debian" || return 1
        step "$1: write the wrapper" write_wrapper "$PREFIX/debian" || return 1
        step "$1: link for ${TARGETS[*]/#wasm32-/}" can_build "$PREFIX/debian/rustc" || return 1
        return 0
    done
    return 1
}

# ---- the three ways, in order -------------------------------------------------

command -v rustc >/dev/null || die "there is no Rust compiler; install Rust, then $ADVICE"
mkdir -p "$PREFIX"
PREFIX=$(cd "$PREFIX" && pwd)

case $WAY in
auto | debian) ;;
rustup) step "rustup target add" rustup target add "${TARGETS[@]}" || die "rustup failed" ;;
*) die "WPOOL_GUEST_RUST is '$WAY': it takes auto, rustup or debian" ;;
esac

if [ "$WAY" != debian ] && has_targets rustc; then
    step "the toolchain's own targets" can_build rustc && finish "own targets"
    [ "$WAY" != rustup ] || die "the targets are there but do not link"
fi
if [ "$WAY" = rustup ]; then die "rustup's targets are not the ones of this 'rustc'"; fi

# One runs at a time: two would unpack into the same place.
if command -v flock >/dev/null; then
    exec 9>"$PREFIX/lock"
    flock 9
fi
if [ -x "$PREFIX/debian/rustc" ] && step "already unpacked: link" can_build "$PREFIX/debian/rustc"; then
    finish "Debian packages" "$PREFIX/debian/rustc"
fi
for tool in apt-get apt-cache dpkg-deb; do
    command -v "$tool" >/dev/null || die "this compiler has no wasm targets: $ADVICE"
done
for suite in "${SUITES[@]}"; do
    if from_debian "$suite"; then finish "Debian packages" "$PREFIX/debian/rustc"; fi
done
die "no wasm targets could be set up here: $ADVICE"
