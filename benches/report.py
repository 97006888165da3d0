#!/usr/bin/env python3
"""Tables and plots of target/bench/all.json, as `make bench-all` left it.

    report.py           fills the marked places of BENCHMARKS.md and README.md,
                        keeps the results as docs/benchmarks/results.json and
                        draws docs/benchmarks/*.svg, for light and dark pages
    report.py --check   says whether those places could be filled; for tests

A place begins with `<!-- bench: NAME -->` and ends with `<!-- /bench -->`.
"""

import json
import re
import statistics
import sys

from measure import ROOT, number, verdict

RESULTS = ROOT / "target" / "bench" / "all.json"
KEPT = ROOT / "docs" / "benchmarks" / "results.json"
PAGES = ("BENCHMARKS.md", "README.md")
PLACE = re.compile(r"(<!-- bench: ([a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def table(head, rows, right=1):
    """Markdown; all columns from `right` on are numbers."""
    marks = ["---" if at < right else "---:" for at in range(len(head))]
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [head, marks, *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells) + "\n"


def size(count):
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:g} {unit}"
    return f"{count} B"


def plain(count):
    return f"{count:,}".replace(",", " ")


def bound(row, key):
    return "" if row[key] is None else f"{'≤' if row.get('most') else '≥'} {number(row[key])}"


def ratios(results):
    runs = results["ratios"]
    rows = []
    for at, last in enumerate(runs[-1]["rows"]):
        same = [run["rows"][at] for run in runs]
        found = [row["ratio"] for row in same if not row.get("error")]
        if not found:
            rows.append([last["what"], "not measured", "", "", "", "", "", ""])
            continue
        middle = dict(last, ratio=statistics.median(found), clean=1)
        ours = statistics.median(row["ours"] for row in same if not row.get("error")) / last.get("scale", 1)
        reached = last["goal"] is not None and verdict(dict(middle, floor=last["goal"])) == "pass"
        rows.append([last["what"], number(ours) + last["unit"], number(middle["ratio"]),
                     " ".join(number(ratio) for ratio in found), bound(last, "floor"), bound(last, "goal"),
                     verdict(middle), "yes" if reached else "" if last["goal"] is None else "no"])
    return table(["measured", "wpool", "ratio", "of each run", "floor", "goal", "floor held", "goal reached"], rows)


def machine(results):
    facts = results["ratios"][-1]["machine"]
    runs = [run["machine"] for run in results["ratios"]]
    return (f"{facts['date']} · {facts['processor']}, {facts['processors']} processors · Linux {facts['kernel']} · "
            f"{facts['wpool']} · CPython {facts['python']} · 2 workers each unless it says otherwise · "
            f"{sum(run['clean'] for run in runs)} of {sum(run['samples'] for run in runs)} samples without foreign load\n")


RUNNERS = [
    ("wpool, reuse", "reuse 1"), ("wpool, a fresh sandbox each", "int"), ("Extism, one plugin", "extism reuse"),
    ("Python Pool.map", "python map 1"), ("Python imap", "python imap"),
    ("piscina", "piscina"), ("mpire", "mpire"), ("ProcessPoolExecutor", "executor"), ("Pebble", "pebble"),
    ("joblib", "joblib"), ("Extism, a fresh plugin each", "extism"),
    ("xargs -P2 wasmtime run", "wasmtime run"), ("parallel wasmtime run", "parallel"),
]
SANDBOXED = ("wpool", "Extism", "wasmtime")


def rates(results):
    """Tasks a second of every runner, one task a message, highest first."""
    found = {}
    for name, series in RUNNERS:
        values = [run["series"][series]["rate"] for run in results["ratios"] if series in run["series"]]
        if values:
            found[name] = statistics.median(values)
    return sorted(found.items(), key=lambda one: -one[1])


def runners(results):
    def sandbox(name):
        return "yes" if any(word in name for word in SANDBOXED) else "no"

    rows = [[name, sandbox(name), plain(round(rate, -1 if rate > 1000 else 0)).removesuffix(".0")] for name, rate in rates(results)]
    return table(["runner", "sandboxed", "tasks a second"], rows, 2)


def points(name, head, show=size, digits="{:.3g}"):
    def render(results):
        return table(head, [[show(at), digits.format(value)] for at, value in results[name]], 0)
    return render


def modules(results):
    both = zip(results["modules"]["compiled"], results["modules"]["cached"])
    rows = [[size(at), f"{cold:.3g}", f"{warm:.3g}", f"{cold / warm:.0f}"] for (at, cold), (_, warm) in both]
    return table(["module", "first start, ms", "from the cache, ms", "ratio"], rows)


def listed(name, head, form):
    def render(results):
        return table(head, [[what, "not measured" if value is None else form(value)] for what, value in results[name]])
    return render


def typed(results):
    rows = [[name, plain(length), f"{value:.3g}" if value < 1000 else plain(round(value))]
            for name, length, value in results["typed"]]
    return table(["type", "elements an item", "ns an element"], rows)


def work(results):
    rows = [[name, f"{alone:.3g}", f"{one:.3g}", f"{one / alone:.2f}", f"{two:.3g}", f"{one / two:.2f}"]
            for name, alone, one, two in results["work"]]
    return table(["task", "native, ms", "wpool, 1 worker, ms", "slowdown", "2 workers, ms", "speed-up"], rows)


def profile(results):
    rows = [[f"{share:.1f} %", thread, f"`{symbol.strip()[:70].strip()}`"] for share, thread, symbol in results["profile"]]
    return table(["cycles", "thread", "function"], rows, 3)


MICRO = "{:.3g}".format
PLACES = {
    "machine": machine,
    "ratios": ratios,
    "runners": runners,
    "items": points("items", ["items", "µs an item"], plain),
    "payload": points("payload", ["bytes each way", "µs an item"]),
    "workers": points("workers", ["workers", "tasks of 1 ms a second"], plain, "{:.0f}"),
    "workers-start": points("workers-start", ["workers", "whole run, ms"], plain),
    "modules": modules,
    "touched": points("touched", ["memory written to", "µs a task"]),
    "failures": points("failures", ["of 100 items fail", "µs an item"], plain),
    "timeouts": points("timeouts", ["timeout, ms", "what a timeout costs beyond it, ms"], plain),
    "formats": listed("formats", ["input", "items a second"], lambda rate: plain(round(rate))),
    "pipelines": listed("pipelines", ["squares of a JSON array", "items a second"], lambda rate: plain(round(rate))),
    "interpreters": listed("interpreters", ["a task with JSON and a regular expression", "µs a task"],
                           lambda value: plain(round(value)) if value >= 1000 else MICRO(value)),
    "typed": typed,
    "work": work,
    "profile": profile,
}


def fill(text, results):
    def place(found):
        name = found[2]
        if name not in PLACES:
            raise SystemExit(f"report: no table is called {name!r}")
        source = "ratios" if name in ("machine", "runners") else name
        if source not in results:
            print(f"report: {name} is not measured: its table stays as it is", file=sys.stderr)
            return found[0]
        return found[1] + PLACES[name](results) + found[3]

    return PLACE.sub(place, text)


def main():
    if sys.argv[1:] == ["--check"]:
        results = json.loads(KEPT.read_text(encoding="utf-8"))
        for page in PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            if fill(text, results) != text:
                sys.exit(f"report: {page} says something else than {KEPT.relative_to(ROOT)}")
        return
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for page in PAGES:
        path = ROOT / page
        path.write_text(fill(path.read_text(encoding="utf-8"), results), encoding="utf-8")
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(results, separators=(",", ":")) + "\n", encoding="utf-8")
    from plots import draw

    draw(results, rates(results), KEPT.parent)


if __name__ == "__main__":
    main()
