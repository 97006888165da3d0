#!/usr/bin/env bash
# `make test`: formatting, lints, documentation, guests, all tests.
#
#   scripts/test.sh           everything; ends with cargo's own count of the tests
#   scripts/test.sh --check   formatting and lints only
#
# The guests are built beside the host; each step's time is printed.
# Environment:
#   CARGO_TARGET_DIR      where cargo builds (default target)
#   WPOOL_REQUIRE_GUESTS  1: fail, instead of skipping the tests that need guests,
#                         where no compiler for them can be set up
set -euo pipefail

cd "$(dirname "$0")/.."
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR
mkdir -p "$CARGO_TARGET_DIR"

now() { echo $((${EPOCHREALTIME/[.,]/} / 100000)); }
START=$(now)
GUESTS= GUESTS_LOG=
stop() {
    [ -z "$GUESTS" ] || kill "$GUESTS" 2>/dev/null || true
    [ -z "$GUESTS_LOG" ] || rm -f "$GUESTS_LOG"
}
trap stop EXIT

# report LABEL SINCE: one line with the time of a step.
report() {
    local took=$(($(now) - $2))
    printf '== %-28s %4d.%d s\n' "$1" $((took / 10)) $((took % 10))
}

# step LABEL COMMAND...: runs a command; its failure ends the script.
step() {
    local label=$1 since status=0
    since=$(now)
    shift
    "$@" || status=$?
    if [ $status != 0 ]; then
        report "$label: FAILED" "$since"
        exit $status
    fi
    report "$label" "$since"
}

lints() { cargo clippy --release --locked --all-targets -- -D warnings; }
docs() { RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --no-deps; }
guests() { scripts/setup-guests.sh >/dev/null && scripts/setup-languages.sh && scripts/build-guests.sh; }

# Waits for the guests; without them their tests say that they are skipped.
join_guests() {
    local status=0
    wait "$GUESTS" || status=$?
    GUESTS=
    cat "$GUESTS_LOG"
    [ $status = 0 ] && return 0
    [ "${WPOOL_REQUIRE_GUESTS:-0}" != 1 ] || return $status
    echo "== guests could not be built: the tests that need them are SKIPPED"
}

step "formatting" cargo fmt --check
if [ "${1:-}" = --check ]; then
    step "lints" lints
    exit 0
fi

GUESTS_LOG=$(mktemp)
guests >"$GUESTS_LOG" 2>&1 &
GUESTS=$!
step "lints" lints
step "documentation" docs
step "build of the tests" cargo test --release --locked --no-run
step "guests (since then)" join_guests
step "examples in documentation" cargo test --release --locked --doc
report "all but the tests" "$START"
rm -f "$GUESTS_LOG"

# The last step, so that the last lines are cargo's count.
exec cargo test --release --locked --tests
