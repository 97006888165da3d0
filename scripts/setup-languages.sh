#!/usr/bin/env bash
# Fetches what makes components of Python and JavaScript, pinned, for the guests
# in guest-examples/python and guest-examples/javascript:
#
#   scripts/setup-languages.sh && scripts/build-guests.sh
#
# Two packages, from PyPI and from npm, into a folder of their own beside the
# guests' compiler; nothing else changes. A language whose package manager is
# not there, or cannot fetch it, is named and left out: its guest is then
# skipped. By hand: `pip install componentize-py`, `npm install -g componentize-qjs`.
set -uo pipefail

PREFIX=${WPOOL_GUEST_PREFIX:-${XDG_CACHE_HOME:-$HOME/.cache}/wpool/guest-toolchain}/languages
PYTHON=componentize-py==0.25.1
JAVASCRIPT=componentize-qjs@0.4.5

skip() { printf 'setup-languages: %s: the guests in %s are skipped\n' "$2" "$1" >&2; }

mkdir -p "$PREFIX" || exit 0
if [ ! -e "$PREFIX/.has-$PYTHON" ]; then
    if python3 -m venv "$PREFIX/python" &&
        "$PREFIX/python/bin/pip" install --quiet --disable-pip-version-check "$PYTHON"; then
        touch "$PREFIX/.has-$PYTHON"
    else
        skip Python "$PYTHON could not be installed"
    fi
fi
if [ ! -e "$PREFIX/.has-$JAVASCRIPT" ]; then
    if command -v npm >/dev/null && mkdir -p "$PREFIX/javascript" && cd "$PREFIX/javascript" &&
        echo '{"private": true}' >package.json && npm install --silent --no-audit --no-fund "$JAVASCRIPT"; then
        touch "$PREFIX/.has-$JAVASCRIPT"
    else
        skip JavaScript "$JAVASCRIPT could not be installed"
    fi
fi
exit 0
