#!/usr/bin/env python3
"""make bench: wpool and its peers, side by side in one run.

Samples of all series alternate, round after round, so that a change of the
machine's mood meets all of them. A sample during which other processes used
more than a tenth of one processor is taken again, a few times; if the machine
stays busy it is kept and marked. Ratios are made within a round and their
median is shown. Writes target/bench/results.json and target/bench/table.md.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

import foreign
from big_module import big_module
from ratios import MEMORY, RATIOS, SERIES

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = ROOT / "target" / "bench"
WPOOL = RELEASE / "wpool"

# Foreign load, in processors, above which a sample is noisy.
NOISE = 0.10
# How often a noisy sample is taken.
TRIES = 4
# Bytes of the module whose start is measured.
BIG = 5 << 20
# Objects in the large input, about 75 bytes each.
OBJECTS = 1_000_000
MIB = 1 << 20

# Backtraces of errors that nobody prints would be measured too.
ENV = {name: value for name, value in os.environ.items() if name != "RUST_BACKTRACE" and not name.startswith("WPOOL_")}
ENV["WPOOL_CACHE_DIR"] = str(OUT / "cache")


class Failed(Exception):
    """A measurement that could not be made."""


class Peer:
    """A process that answers commands with lines of JSON."""

    def __init__(self, argv):
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV)

    def ask(self, command):
        try:
            print(command, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise Failed(f"{command}: {self.process.args[-1]} has ended")
        answer = json.loads(answer)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Commands:
    """Whole programs, from their start to their end."""

    def __init__(self, inputs):
        self.inputs = inputs

    def ask(self, command):
        what, *words, items = command.split()
        words = [str(self.inputs[word]) if word in self.inputs else word for word in words]
        argv = {
            "wpool": [WPOOL, "run", "-j", "2", *words],
            "python": [sys.executable, BENCHES / "peer_pool.py", *words],
        }[what]
        # A program that does one item is run so often; one that does a file
        # of items, once.
        times = int(items) if "one" in words or "--apply" in words else 1
        started = time.perf_counter()
        for _ in range(times):
            done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENV, check=False)
            if done.returncode != 0:
                raise Failed(f"{command}: {done.stderr.decode(errors='replace').strip()[:200]}")
        return {"seconds": time.perf_counter() - started, "items": int(items)}

    def close(self):
        pass


class Series:
    """One thing that is measured again and again."""

    def __init__(self, name, peers, spec, options):
        self.name, self.spec = name, spec
        self.peer = peers[spec["peer"]]
        self.items = spec.get("items")
        self.rounds = spec.get("rounds", 99)
        self.samples, self.error = [], None
        self.target = options.seconds

    def calibrate(self):
        """Finds how many items a sample takes."""
        if self.items is not None:
            self.items = self.items if isinstance(self.items, int) else self.peer.inputs[self.items[0]]
            return
        items, most = self.spec.get("first", 500), self.spec.get("most", 20_000_000)
        while True:
            seconds = self.peer.ask(self.spec["ask"].format(items=items))["seconds"]
            wanted = max(1, int(items * self.target / max(seconds, 1e-9)))
            if seconds > self.target / 8 or items >= most:
                self.items = min(wanted, most)
                return
            items = min(wanted, items * 20, most)

    def sample(self, deadline):
        for attempt in range(TRIES):
            watch = foreign.Watch()
            began = time.perf_counter()
            answer = self.peer.ask(self.spec["ask"].format(items=self.items))
            load = watch.seconds() / (time.perf_counter() - began)
            noisy = load > NOISE
            if not noisy or time.monotonic() > deadline or attempt == TRIES - 1:
                break
            time.sleep(0.2)
        rate = answer["items"] / answer["seconds"]
        self.samples.append({"rate": rate, "seconds": answer["seconds"], "foreign": round(load, 3), "noisy": noisy})

    def clean(self):
        return sum(not sample["noisy"] for sample in self.samples)

    def rate(self):
        """Median of the clean samples, or of all where there is none."""
        chosen = [s["rate"] for s in self.samples if not s["noisy"]] or [s["rate"] for s in self.samples]
        return statistics.median(chosen) if chosen else None


def guarded(action, into, name):
    try:
        action()
    except Failed as error:
        into[name] = str(error)
        print(f"bench: {name}: {error}", file=sys.stderr)


def measure_series(peers, options, deadline):
    errors = {}
    every = [Series(name, peers, spec, options) for name, spec in SERIES.items()]
    for series in every:
        guarded(series.calibrate, errors, series.name)
    every = [series for series in every if series.name not in errors]
    for number in range(options.rounds):
        print(f"bench: round {number + 1} of {options.rounds}", file=sys.stderr)
        for series in every:
            if number < series.rounds and series.name not in errors:
                guarded(lambda chosen=series: chosen.sample(deadline), errors, series.name)
        if time.monotonic() > deadline:
            break
    return {series.name: series for series in every if series.samples}, errors


def ratio_row(row, series):
    """One line of the table from two series."""
    label, above, below, factor, floor = row
    if above not in series or below not in series:
        return {"what": label, "floor": floor, "error": "not measured"}
    a, b = series[above], series[below]
    rounds = list(zip(a.samples, b.samples))
    clean = [(x, y) for x, y in rounds if not x["noisy"] and not y["noisy"]]
    chosen = [x["rate"] / (factor * y["rate"]) for x, y in clean or rounds]
    return {
        "what": label, "ours": a.rate(), "other": b.rate(), "unit": "/s", "floor": floor, "most": False,
        "ratio": statistics.median(chosen), "low": min(chosen), "high": max(chosen),
        "clean": len(clean), "rounds": len(rounds),
    }


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
    for key, label, floor in MEMORY:
        row = {"what": label, "floor": floor, "most": True}
        try:
            row.update(measures[key]())
        except Failed as error:
            row["error"] = str(error)
            print(f"bench: {label}: {error}", file=sys.stderr)
        rows.append(row)
    return rows


def verdict(row):
    if row.get("error"):
        return "not measured"
    if row["floor"] is None:
        return ""
    passed = row["ratio"] <= row["floor"] if row["most"] else row["ratio"] >= row["floor"]
    noisy = " (noisy)" if row.get("clean", 1) == 0 else ""
    return ("pass" if passed else "**MISS**") + noisy


def number(value):
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}" if value < 10 else f"{value:.1f}".rstrip("0").rstrip(".")


def table(rows, facts):
    lines = [
        f"{facts['date']} · {facts['processor']}, {facts['processors']} processors · Linux {facts['kernel']}",
        f"· {facts['wpool']} · CPython {facts['python']} · 2 workers each"
        f" · {facts['clean']} of {facts['samples']} samples without foreign load",
        "",
        "| measured | wpool | other | ratio | spread | floor | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        floor = "" if row["floor"] is None else f"{'≤' if row['most'] else '≥'} {number(row['floor'])}"
        cells = [row["what"], "", "", "", "", floor, verdict(row)]
        if not row.get("error"):
            scale = row.get("scale", 1)
            for place, key in ((1, "ours"), (2, "other")):
                if row[key] is not None:
                    cells[place] = number(row[key] / scale) + row["unit"]
            cells[3] = number(row["ratio"])
            if "low" in row:
                cells[4] = f"{number(row['low'])} – {number(row['high'])}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def facts_of(series):
    samples = [sample for one in series.values() for sample in one.samples]
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        models = [line.partition(":")[2].strip() for line in text if line.startswith(("model name", "Model"))]
    version = subprocess.run([WPOOL, "--version"], capture_output=True, text=True, env=ENV, check=False)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": models[0] if models else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "wpool": version.stdout.strip() or "wpool",
        "samples": len(samples),
        "clean": sum(not sample["noisy"] for sample in samples),
    }


def peer_argv():
    return [sys.executable, BENCHES / "peer_pool.py"]


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
        series, errors = measure_series(peers, options, deadline)
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
