#!/usr/bin/env bash
# `make demo`: builds wpool and the example task functions, then shows two runs:
# a task function mapped over real documents, and one that misbehaves on purpose.
# What they print is checked; the exit code is 0 when all was as it should be.
set -euo pipefail

cd "$(dirname "$0")/.."
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR
export PATH=$CARGO_TARGET_DIR/release:$PATH
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

if [ -t 1 ]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; else BOLD='' PLAIN=''; fi
title() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
die() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

# run EXIT-CODE COMMAND: prints a command line, runs it with its results in
# $WORK/out, and checks its exit code.
run() {
    local status=0
    printf '$ %s\n' "$2"
    bash -c "$2" >"$WORK/out" || status=$?
    [ "$status" = "$1" ] || die "exit code $status where $1 was expected"
}

# Documents that every Debian and Ubuntu has; elsewhere those of this project.
DOCUMENTS=/usr/share/common-licenses
[ -d $DOCUMENTS ] || DOCUMENTS=docs
# So many times over they are work for a few seconds.
COPIES=600

title "1. Build: wpool (a release build takes minutes the first time) and the guests"
cargo build --release --locked
scripts/setup-guests.sh >/dev/null
scripts/build-guests.sh

title "2. textstats, a Rust component, over the documents in $DOCUMENTS"
run 0 "wpool run target/guests/textstats.wasm --map '$DOCUMENTS/*' --input files --stats"
names=("$DOCUMENTS"/*)
[ "$(wc -l <"$WORK/out")" = ${#names[@]} ] || die "${#names[@]} results were expected"
printf '\nresults, in the order of the files:\n'
paste <(printf '%-14s\n' "${names[@]##*/}") <(cut -c 1-90 "$WORK/out") | sed 's/$/…/'
mv "$WORK/out" "$WORK/all"

printf '\nthe same by one worker:\n'
run 0 "wpool run -j 1 target/guests/textstats.wasm --map '$DOCUMENTS/*' --input files"
cmp "$WORK/all" "$WORK/out" || die "another number of workers gave another result"
echo "identical"

printf '\nthe same documents %d times over, with the line of progress:\n' $COPIES
rm -rf target/demo && mkdir -p target/demo
for ((copy = 0; copy < COPIES; copy++)); do ln -s "$(realpath $DOCUMENTS)" target/demo/$copy; done
run 0 "wpool run target/guests/textstats.wasm --map 'target/demo/*/*' --input files --progress always --stats"
[ "$(wc -l <"$WORK/out")" = $((${#names[@]} * COPIES)) ] || die "a result for each document was expected"
[ "$(sort -u "$WORK/out" | wc -l)" = "$(sort -u "$WORK/all" | wc -l)" ] || die "copies have other results"
rm -rf target/demo

title "3. hostile: of six items three misbehave, each in its own way"
run 1 "wpool run target/guests/hostile.wasm --map '[\"ok:first\",\"loop\",\"ok:second\",\"trap\",\"grow\",\"ok:last\"]' --timeout 1s --memory 64MiB"
cat "$WORK/out"
echo "exit code 1: three items failed, alone"
[ "$(cat "$WORK/out")" = '["first",null,"second",null,null,"last"]' ] || die "other results were expected"

printf '\nthe same as records:\n'
run 1 "wpool run -q target/guests/hostile.wasm --map '[\"ok:first\",\"loop\",\"ok:second\",\"trap\",\"grow\",\"ok:last\"]' --timeout 1s --memory 64MiB --output records"
cut -c 1-150 "$WORK/out"
kinds=$(sed 's/.*"kind":"\([a-z-]*\)".*/\1/' "$WORK/out" | tr '\n' ' ')
[ "$kinds" = "ok timeout ok trap out-of-memory ok " ] || die "other outcomes were expected: $kinds"

title "All as it should be."
