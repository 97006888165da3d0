#!/usr/bin/env python3
"""make bench: wpool and CPython's own pool, side by side in one run.

Writes target/bench/results.json and target/bench/table.md.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

from big_module import big_module
from measure import BENCHES, ENV, MIB, OUT, RELEASE, ROOT, WPOOL, Commands, Failed, Peer
from measure import facts_of, measure_series, ratio_row, table, verdict
from ratios import MEMORY, RATIOS, SERIES

# Bytes of the module whose start is measured.
BIG = 5 << 20
# Objects in the large input, about 75 bytes each.
OBJECTS = 1_000_000


def worker_memory():
    """PSS of a worker, each pool being the only one of its program."""
    sizes = {}
    for name, argv in (("ours", [RELEASE / "examples" / "bench-driver"]), ("other", peer_argv())):
        peer = Peer(argv)
        try:
            sizes[name] = statistics.mean(peer.ask("pss int")["bytes"])
        finally:
            peer.close()
    return {**sizes, "unit": " MiB", "scale": MIB, "ratio": sizes["ours"] / sizes["other"]}


def host_memory(inputs):
    """Peak of the host process alone while it streams a large array."""
    argv = [WPOOL, "run", "-j", "2", inputs["echo.wat"], "--imap", inputs["objects.json"]]
    host = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENV)
    peak = 0
    while host.poll() is None:
        try:
            status = pathlib.Path(f"/proc/{host.pid}/status").read_text(encoding="ascii", errors="replace")
        except OSError:
            break
        found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        peak = max(peak, int(found[0].split()[1]) << 10) if found else peak
        time.sleep(0.01)
    words = host.stderr.read().decode(errors="replace")
    if host.wait() != 0 or peak == 0:
        raise Failed(f"wpool run --imap: {words.strip()[:200]}")
    return {"ours": peak, "other": None, "unit": " MiB", "scale": MIB, "ratio": peak / MIB}


def cached_start(peers, inputs, options):
    """A large module's start with a warm cache ÷ with a cold one."""
    first, later = [], []
    for _ in range(options.cold):
        cache = OUT / "cold"
        shutil.rmtree(cache, ignore_errors=True)
        cold = peers["driver"].ask(f"start {inputs['big.wasm']} {cache}")
        warm = [peers["driver"].ask(f"start {inputs['big.wasm']} {cache}") for _ in range(5)]
        if cold["cached"] or not all(start["cached"] for start in warm):
            raise Failed("the cache does not do what it should")
        first.append(cold["seconds"])
        later += [start["seconds"] for start in warm]
    ours, other = statistics.median(later), statistics.median(first)
    return {"ours": ours, "other": other, "unit": " ms", "scale": 1e-3, "ratio": ours / other}


def lock_down(peers, options):
    """What the lock-down adds to the start of a worker: median of the locked
    down minus median of the open ones, in turns."""
    locked, free = [], []
    for _ in range(options.starts):
        locked += peers["driver"].ask("starts fresh 5")["seconds"]
        free += peers["driver"].ask("starts open 5")["seconds"]
    ours, other = statistics.median(locked), statistics.median(free)
    return {"ours": ours, "other": other, "unit": " ms", "scale": 1e-3, "ratio": (ours - other) * 1e3}


def lock_down_tasks(peers, options):
    """The rate of tasks with lock-down ÷ without: a difference so small that it
    takes many pairs of samples, each pair in the other order than the last."""
    kinds = ("fresh", "open")
    rates = {kind: [] for kind in kinds}
    for number in range(options.pairs + 1):
        for kind in kinds if number % 2 else kinds[::-1]:
            answer = peers["driver"].ask(f"sample int {kind} 1 {options.items // 5}")
            # The first are slower: pools start.
            if number > 0:
                rates[kind].append(answer["items"] / answer["seconds"])
    ratios = [locked / free for locked, free in zip(rates["fresh"], rates["open"])]
    ours, other = (statistics.median(rates[kind]) for kind in kinds)
    return {"ours": ours, "other": other, "unit": "/s", "most": False, "ratio": statistics.median(ratios),
            "low": statistics.quantiles(ratios)[0], "high": statistics.quantiles(ratios)[2]}


def measure_memory(peers, inputs, options):
    measures = {
        "pss": worker_memory,
        "rss": lambda: host_memory(inputs),
        "walls": lambda: lock_down(peers, options),
        "tasks": lambda: lock_down_tasks(peers, options),
        "start": lambda: cached_start(peers, inputs, options),
    }
    rows = []
    for key, label, floor, goal in MEMORY:
        row = {"what": label, "floor": floor, "goal": goal, "most": True}
        try:
            row.update(measures[key]())
        except Failed as error:
            row["error"] = str(error)
            print(f"bench: {label}: {error}", file=sys.stderr)
        rows.append(row)
    return rows


def peer_argv():
    return [sys.executable, BENCHES / "peers" / "pool.py"]


def make_inputs(options):
    """Files that whole commands read; kept from run to run."""
    OUT.mkdir(parents=True, exist_ok=True)
    inputs = {"int.wat": BENCHES / "guests" / "int.wat", "echo.wat": ROOT / "tests" / "fixtures" / "echo.wat"}
    for name in ("ints.json", "few.json", "objects.json", "big.wasm", "out.json"):
        inputs[name] = OUT / name
    inputs["ints"], inputs["few"] = options.items, options.items // 4
    for name in ("ints", "few"):
        inputs[f"{name}.json"].write_text(json.dumps(list(range(inputs[name]))), encoding="ascii")
    if not inputs["big.wasm"].exists():
        inputs["big.wasm"].write_bytes(big_module(BIG))
    if not inputs["objects.json"].exists():
        objects = ({"id": n, "name": f"user-{n}", "mail": f"{n}@example.org", "ok": n % 2 == 0} for n in range(OBJECTS))
        text = ",\n".join(json.dumps(one) for one in objects)
        inputs["objects.json"].write_text(f"[{text}]", encoding="ascii")
    return inputs


def arguments():
    parser = argparse.ArgumentParser(description="wpool and its peers, side by side")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples: under a minute")
    parser.add_argument("--check", action="store_true", help="exit 1 when a floor is missed")
    options = parser.parse_args()
    full = {"rounds": 7, "seconds": 0.3, "budget": 200, "cold": 2, "starts": 20, "pairs": 60, "items": 400_000}
    quick = {"rounds": 3, "seconds": 0.12, "budget": 30, "cold": 1, "starts": 6, "pairs": 30, "items": 100_000}
    vars(options).update(quick if options.quick else full)
    return options


def main():
    options = arguments()
    driver = RELEASE / "examples" / "bench-driver"
    for program in (driver, WPOOL):
        if not program.exists():
            sys.exit(f"bench: {program} is missing: cargo build --release --bin wpool --example bench-driver")
    deadline = time.monotonic() + options.budget
    inputs = make_inputs(options)
    # The loop without a pool has a process of its own.
    peers = {"driver": Peer([driver]), "local": Peer([driver]), "python": Peer(peer_argv()), "command": Commands(inputs)}
    try:
        series, errors = measure_series(peers, options, deadline, SERIES)
        peers["driver"].ask("drop")
        rows = [ratio_row(row, series) for row in RATIOS] + measure_memory(peers, inputs, options)
    finally:
        for peer in peers.values():
            peer.close()
    facts = facts_of(series)
    text = table(rows, facts)
    results = {
        "machine": facts, "rows": rows, "errors": errors,
        "series": {name: {"items": one.items, "rate": one.rate(), "samples": one.samples} for name, one in series.items()},
    }
    (OUT / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    (OUT / "table.md").write_text(text, encoding="utf-8")
    print(text, end="")
    if options.check and any("MISS" in verdict(row) for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
