#!/usr/bin/env python3
"""make bench-all: everything that is measured, for BENCHMARKS.md.

    all.py [--quick] [--runs N] [SECTION...]

SECTION is `ratios` (wpool beside its peers, N times over), one of the curves of
growth.py, one of the ends of ends.py, or `profile`; all of them by default.
Results are kept in target/bench/all.json, section by section, so that one can
be measured again; report.py makes tables and plots of them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import measure
from ends import ENDS, wasmtime
from growth import CURVES, numbers
from measure import BENCHES, ENV, OUT, RELEASE, WPOOL, Commands, Failed, Peer
from measure import facts_of, measure_series, ratio_row
from ratios import MORE, MORE_RATIOS, RATIOS, SERIES
from run import make_inputs, measure_memory, peer_argv

PEERS = OUT / "peers"
RESULTS = OUT / "all.json"


class Pipes:
    """A program started for each item by another one."""

    def __init__(self, driver):
        binary, self.ahead = OUT / "int.wasm", OUT / "int.cwasm"
        driver.ask(f"binary {BENCHES / 'guests' / 'int.wat'} {binary}")
        subprocess.run([wasmtime(), "compile", binary, "-o", self.ahead], check=True, stderr=subprocess.DEVNULL)

    def ask(self, command):
        way, items = command.split()
        starter = ["xargs", "-P2", "-n1"] if way == "xargs" else ["parallel", "--will-cite", "-j2"]
        argv = [*starter, wasmtime(), "run", "--allow-precompiled", "--invoke", "run", self.ahead]
        started = time.perf_counter()
        text = numbers(int(items)).read_text(encoding="ascii").strip("[]").replace(",", "\n")
        done = subprocess.run(argv, input=text, text=True, capture_output=True, env=ENV, check=False)
        if done.returncode != 0:
            raise Failed(f"{way}: {done.stderr.strip()[:200]}")
        return {"seconds": time.perf_counter() - started, "items": int(items)}

    def close(self):
        pass


def start_peers(inputs):
    """All that can be had; the others are named."""
    driver = RELEASE / "examples" / "bench-driver"
    python = PEERS / "py" / "bin" / "python"
    measure.ENV["PEERS"] = str(PEERS)
    plugin = OUT / "extism.wasm"
    peers = {"driver": Peer([driver]), "local": Peer([driver]), "python": Peer(peer_argv()), "command": Commands(inputs)}
    peers["driver"].ask(f"binary {BENCHES / 'guests' / 'extism.wat'} {plugin}")
    more = {name: lambda name=name: Peer([python, BENCHES / "peers" / "others.py", name])
            for name in ("executor", "joblib", "mpire", "pebble")}
    more["piscina"] = lambda: Peer(["node", BENCHES / "peers" / "piscina.mjs"])
    more["extism"] = lambda: Peer([PEERS / "extism-peer", plugin])
    more["pipes"] = lambda: Pipes(peers["driver"])
    for name, start in more.items():
        try:
            peers[name] = start()
        except (OSError, Failed, subprocess.SubprocessError) as error:
            print(f"bench: {name} is missing: {error}", file=sys.stderr)
    return peers


def stop_peers(peers):
    for peer in peers.values():
        try:
            peer.close()
        except OSError:
            pass  # it has ended already


def ratios(options):
    """The table of ratios, measured from anew so many times."""
    runs = []
    for number in range(options.runs):
        print(f"bench: run {number + 1} of {options.runs}", file=sys.stderr)
        inputs = make_inputs(options)
        peers = start_peers(inputs)
        try:
            specs = {name: spec for name, spec in {**SERIES, **MORE}.items() if spec["peer"] in peers}
            series, errors = measure_series(peers, options, time.monotonic() + options.budget, specs)
            peers["driver"].ask("drop")
            rows = [ratio_row(row, series) for row in RATIOS + MORE_RATIOS]
            rows += measure_memory(peers, inputs, options)
        finally:
            stop_peers(peers)
        runs.append({"machine": facts_of(series), "rows": rows, "errors": errors,
                     "series": {name: {"rate": one.rate(), "samples": one.samples} for name, one in series.items()}})
    return runs


def profile(options):
    """Where the cycles of fresh tasks with chunksize 1 go, by perf."""
    if shutil.which("perf") is None:
        raise Failed("perf is not installed")
    data = OUT / "perf.data"
    items = 500_000 if options.quick else 3_000_000
    argv = ["perf", "record", "--freq", "1999", "--output", data, "--", RELEASE / "examples" / "bench-driver"]
    text = f"sample int fresh 1 {items}\n"
    subprocess.run(argv, input=text, text=True, capture_output=True, env=ENV, check=True)
    argv = ["perf", "report", "--input", data, "--stdio", "--sort", "comm,dso,symbol", "--percent-limit", "0.7"]
    report = subprocess.run(argv, capture_output=True, text=True, env=ENV, check=True).stdout
    rows = [line.split(None, 3) for line in report.splitlines() if line and not line.startswith("#")]
    return [[float(row[0].rstrip("%")), row[1], row[3]] for row in rows if len(row) == 4]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples")
    parser.add_argument("--runs", type=int, default=3, help="of the table of ratios (3)")
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    options = parser.parse_args()
    full = {"rounds": 5, "seconds": 0.25, "budget": 300, "cold": 2, "starts": 20, "pairs": 60, "items": 400_000}
    quick = {"rounds": 2, "seconds": 0.1, "budget": 60, "cold": 1, "starts": 4, "pairs": 10, "items": 100_000}
    vars(options).update(quick if options.quick else full)
    known = ["ratios", *CURVES, *ENDS, "profile"]
    unknown = [name for name in options.sections if name not in known]
    if unknown:
        parser.error(f"no section {unknown[0]!r}: there are {', '.join(known)}")
    options.sections = options.sections or known
    return options


def section(name, options):
    if name == "ratios":
        return ratios(options)
    if name == "profile":
        return profile(options)
    driver = Peer([RELEASE / "examples" / "bench-driver"])
    try:
        return {**CURVES, **ENDS}[name](driver, options.quick)
    finally:
        driver.close()


def main():
    options = arguments()
    if not WPOOL.exists():
        sys.exit("bench: cargo build --release --bin wpool --example bench-driver comes first")
    OUT.mkdir(parents=True, exist_ok=True)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    failed = False
    for name in options.sections:
        print(f"bench: {name}", file=sys.stderr)
        started = time.perf_counter()
        try:
            results[name] = section(name, options)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            print(f"bench: {name} is not measured: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"bench: {name} took {time.perf_counter() - started:.0f} s", file=sys.stderr)
        temporary = RESULTS.with_suffix(".part")
        temporary.write_text(json.dumps(results, indent=1), encoding="utf-8")
        os.replace(temporary, RESULTS)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
