"""What every benchmark here is made of: peers that are asked for samples,
series of samples, ratios of series, tables of ratios.

Samples of all series alternate, round after round, so that a change of the
machine's mood meets all of them. A sample during which other processes used
more than a tenth of one processor is taken again, a few times; if the machine
stays busy it is kept and marked. Ratios are made within a round.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import foreign

ROOT = pathlib.Path(__file__).resolve().parent.parent
BENCHES = ROOT / "benches"
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = ROOT / "target" / "bench"
WPOOL = RELEASE / "wpool"

# Foreign load, in processors, above which a sample is noisy.
NOISE = 0.10
# How often a noisy sample is taken.
TRIES = 4
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
            "python": [sys.executable, BENCHES / "peers" / "pool.py", *words],
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


def measure_series(peers, options, deadline, specs):
    errors = {}
    every = [Series(name, peers, spec, options) for name, spec in specs.items()]
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
    label, above, below, factor, floor, goal = row
    if above not in series or below not in series:
        return {"what": label, "floor": floor, "goal": goal, "error": "not measured"}
    a, b = series[above], series[below]
    rounds = list(zip(a.samples, b.samples))
    clean = [(x, y) for x, y in rounds if not x["noisy"] and not y["noisy"]]
    chosen = [x["rate"] / (factor * y["rate"]) for x, y in clean or rounds]
    return {
        "what": label, "ours": a.rate(), "other": b.rate(), "unit": "/s", "floor": floor, "goal": goal, "most": False,
        "ratio": statistics.median(chosen), "low": min(chosen), "high": max(chosen),
        "clean": len(clean), "rounds": len(rounds),
    }


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
        "| measured | wpool | other | ratio | spread | floor | goal | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        bounds = ["" if row[key] is None else f"{'≤' if row.get('most') else '≥'} {number(row[key])}"
                  for key in ("floor", "goal")]
        cells = [row["what"], "", "", "", "", *bounds, verdict(row)]
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


