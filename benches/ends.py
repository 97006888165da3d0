"""Whole programs on real input: the command beside scripts and pipelines, values
of WIT types, an interpreter for each task beside a process for each, and the
example guests beside the same code compiled natively.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from growth import command, median, numbers
from measure import BENCHES, ENV, OUT, ROOT, WPOOL, Failed

GUESTS = ROOT / "target" / "guests"
PEERS = OUT / "peers"
EXAMPLES = ROOT / "guest-examples"


def seconds_of(argv, stdin=None, env=None, shell=False):
    """Seconds of any program, which must succeed."""
    started = time.perf_counter()
    done = subprocess.run(argv, input=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env or ENV,
                          check=False, shell=shell)
    if done.returncode != 0:
        raise Failed(f"{argv}: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return time.perf_counter() - started


def texts(count):
    """Items of the interpreters, one line of JSON each."""
    path = OUT / f"texts-{count}.jsonl"
    line = "The quick brown fox number %d jumps over the lazy dog, and over its 7 friends."
    rows = (json.dumps({"id": n, "text": line % n}) for n in range(count))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def wasmtime():
    found = sorted(PEERS.glob("py/lib/python*/site-packages/wasmtime_cli/wasmtime"))
    if not found:
        raise Failed("wasmtime's command line is not installed")
    return found[0]


# --- formats and pipelines -------------------------------------------------

def formats(driver, quick):
    """Items a second of whole commands, by the form of the input."""
    count = 20_000 if quick else 200_000
    lines, csv, jsonl = OUT / "lines.txt", OUT / "rows.csv", OUT / "rows.jsonl"
    log = (EXAMPLES / "logparse" / "input.log").read_text(encoding="utf-8").splitlines()
    lines.write_text("\n".join(log[n % len(log)] for n in range(count // 4)) + "\n", encoding="utf-8")
    csv.write_text("\n".join(str(n) for n in range(count)) + "\n", encoding="ascii")
    jsonl.write_text("\n".join(f'{{"x":{n},"y":{n % 7}}}' for n in range(count)) + "\n", encoding="ascii")
    component, square = ROOT / "tests" / "fixtures" / "component.wat", BENCHES / "guests" / "int.wat"
    runs = {
        "JSON array of numbers": (count, ("run", square, "--map", numbers(count))),
        "JSON lines of records, a component": (count, ("run", component, "--invoke", "swap", "--map", jsonl)),
        "CSV of numbers": (count, ("run", square, "--starmap", csv, "--no-header")),
        "lines of an access log, a regular expression each": (
            count // 4, ("run", GUESTS / "logparse.wasm", "--map", lines, "--input", "lines")),
    }
    rates = []
    for name, (items, words) in runs.items():
        rates.append((name, items / median(3, lambda: command(*words, "-j2", "-q", "-o", OUT / "out", expect=(0, 1))[0])))  # noqa: B023
    return rates


def pipelines(driver, quick):
    """Items a second: squares of a JSON array by what people would write."""
    count, few = (20_000, 100) if quick else (400_000, 400)
    array, small = numbers(count), numbers(few)
    script = [sys.executable, BENCHES / "peers" / "pool.py", "file", array]
    runtime, aot = wasmtime(), OUT / "int.cwasm"
    binary = OUT / "int.wasm"
    driver.ask(f"binary {BENCHES / 'guests' / 'int.wat'} {binary}")
    subprocess.run([runtime, "compile", binary, "-o", aot], check=True, env=ENV, stderr=subprocess.DEVNULL)
    one = f"{runtime} run --allow-precompiled --invoke run {aot}"
    square = BENCHES / "guests" / "int.wat"
    ways = {
        "`wpool run --map`": (count, [WPOOL, "run", "-j2", square, "--map", array, "-o", OUT / "out.json"], False),
        "a Python script with `Pool.map`, no sandbox": (count, [*script, OUT / "out.json", "default"], False),
        "the same with `chunksize=1`": (count // 4, [*script[:-1], numbers(count // 4), OUT / "out.json", "1"], False),
        "`jq 'map(. * .)'`, one process, no sandbox": (count, ["jq", "map(. * .)", array], False),
        "`jq -c '.[]' | xargs -P2 -n1 wasmtime run`, compiled ahead": (
            few, f"jq -c '.[]' {small} | xargs -P2 -n1 {one}", True),
        "`jq -c '.[]' | parallel -j2 wasmtime run`, compiled ahead": (
            few, f"jq -c '.[]' {small} | parallel --will-cite -j2 {one}", True),
    }
    rates = []
    for name, (items, argv, shell) in ways.items():
        try:
            rates.append((name, items / median(3, lambda: seconds_of(argv, shell=shell))))  # noqa: B023
        except (Failed, OSError) as error:
            rates.append((name, None))
            print(f"bench: {name}: {error}", file=sys.stderr)
    return rates


# --- typed values ----------------------------------------------------------

def person(number):
    """A record with eight fields, as guests/typed.wat has it."""
    return {"id": number, "name": f"Ada Lovelace {number}", "mail": f"ada.{number}@example.org", "age": number % 100,
            "score": number / 7, "active": number % 2 == 0, "city": None if number % 3 == 0 else "London",
            "level": ("guest", "member", "owner")[number % 3]}


# Functions of guests/typed.wat: what they take, an element, elements in all.
TYPED = {
    "integers": ("`list<s64>`", lambda number: number * 7_919_317 % 2_000_000_011 - 1_000_000_005, 2_000_000),
    "floats": ("`list<f64>`", lambda number: number * 1000 / 7_919_317, 1_000_000),
    "texts": ("`list<string>`", lambda number: f"word number {number}", 1_000_000),
    "records": ("`list<record>`, 8 fields", person, 200_000),
    "record": ("`record`, 8 fields", person, 100_000),
}


def typed(driver, quick):
    """Nanoseconds an element from JSON to a component and back to JSON, one
    worker, fresh, by the type and by how many an item has."""
    rows = []
    for function, (name, element, total) in TYPED.items():
        for length in (1,) if function == "record" else (10, 1000, 100_000):
            item = json.dumps([element(number) for number in range(length)], separators=(",", ":"))
            item = item[1:-1] if function == "record" else item
            items = max(4, total // (4 if quick else 1) // length)

            def seconds(count):
                path = OUT / "typed.json"
                path.write_text(f"[{','.join([item] * count)}]", encoding="ascii")  # noqa: B023
                words = ("--invoke", function, "--map", path, "-o", OUT / "out.json")  # noqa: B023
                limits = ("--memory", "256MiB", "--max-item", "64MiB", "--max-result", "64MiB")
                return median(3, lambda: command("run", "-j1", "-q", BENCHES / "guests" / "typed.wat", *words, *limits)[0])

            seconds(1)
            few = max(1, items // 10)
            rows.append((name, length, (seconds(items) - seconds(few)) / (items - few) / length * 1e9))
    return rows


# --- interpreters ----------------------------------------------------------

def per_task(module, count, workers):
    """Microseconds of one task: a long run less a short one."""
    few, many = texts(count // 10), texts(count)
    words = ("run", f"-j{workers}", "-q", module, "--input", "lines", "-o", OUT / "out", "--map")
    command(*words, few)
    short, long = median(3, lambda: command(*words, few)[0]), median(3, lambda: command(*words, many)[0])
    return (long - short) / (count - count // 10) * 1e6


def process_per_item(argv, code):
    item = json.dumps({"id": 1, "text": "The quick brown fox jumps over the lazy dog."})
    return median(15, lambda: seconds_of([*argv, code, item])) * 1e6


PYTHON_CODE = """import json, re, sys
item = json.loads(sys.argv[1])
print(json.dumps({"id": item["id"], "words": len(re.findall("[a-z]+", item["text"].lower()))}))"""
NODE_CODE = """const item = JSON.parse(process.argv[1]);
console.log(JSON.stringify({ id: item.id, words: (item.text.toLowerCase().match(/[a-z]+/g) ?? []).length }));"""
ERYX_CODE = f"""
import eryx, sys, time
code = {PYTHON_CODE.replace('sys.argv[1]', repr('{"id": 1, "text": "The quick brown fox jumps over the lazy dog."}'))!r}
eryx.Sandbox().execute(code)
started = time.perf_counter()
for _ in range(20):
    assert b'"words"' in eryx.Sandbox().execute(code).stdout
print((time.perf_counter() - started) / 20 * 1e6)
"""


def eryx():
    python = PEERS / "eryx" / "bin" / "python"
    done = subprocess.run([python, "-c", ERYX_CODE], capture_output=True, text=True, env=ENV, check=False)
    if done.returncode != 0:
        raise Failed(done.stderr.strip()[-200:])
    return float(done.stdout)


def unsandboxed(count):
    argv = [sys.executable, BENCHES / "peers" / "words.py", texts(count)]
    done = subprocess.run(argv, capture_output=True, text=True, env=ENV, check=True)
    return float(done.stdout)


def interpreters(driver, quick):
    """Microseconds a task, everything fresh for each; by one worker, and by two."""
    scale = 1 if quick else 4
    ways = {
        "JavaScript in wpool, fresh, 1 worker": lambda: per_task(GUESTS / "javascript.wasm", 5000 * scale, 1),
        "JavaScript in wpool, fresh, 2 workers": lambda: per_task(GUESTS / "javascript.wasm", 10000 * scale, 2),
        "`node -e`, a process each": lambda: process_per_item(["node", "-e"], NODE_CODE),
        "Python in wpool, fresh, 1 worker": lambda: per_task(GUESTS / "python.wasm", 500 * scale, 1),
        "Python in wpool, fresh, 2 workers": lambda: per_task(GUESTS / "python.wasm", 1000 * scale, 2),
        "`python3 -I -c`, a process each": lambda: process_per_item([sys.executable, "-I", "-c"], PYTHON_CODE),
        "pyeryx, a fresh sandbox each": eryx,
        "`Pool.map(chunksize=1)` of the same function, no sandbox, 2 workers": lambda: unsandboxed(20_000 * scale),
    }
    found = []
    for name, measure in ways.items():
        try:
            found.append((name, measure()))
        except (Failed, OSError, subprocess.SubprocessError) as error:
            found.append((name, None))
            print(f"bench: {name}: {error}", file=sys.stderr)
    return found


# --- the example guests, natively and in wpool -----------------------------

def native():
    """Seconds of each example, compiled natively, for one item after another."""
    target = OUT / "native"
    argv = ["cargo", "build", "--quiet", "--release", "--locked", "-p", "native", "--target-dir", target]
    env = {**os.environ, "CARGO_ENCODED_RUSTFLAGS": ""}
    done = subprocess.run(argv, cwd=EXAMPLES, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"the native build: {done.stderr.strip()[-300:]}")
    return target / "release" / "native"


def work(driver, quick):
    """Real work: milliseconds an item natively on one core, in wpool by one
    worker and by two."""
    program, rounds = native(), 20 if quick else 100
    texts_of = sorted(str(path) for path in (EXAMPLES / "textstats" / "input").glob("*.txt"))
    photos = sorted(str(path) for path in (EXAMPLES / "thumbnail" / "input").glob("[1-4]-*"))
    jobs = {
        "textstats": (texts_of, "textstats.wasm", 50 * rounds),
        "thumbnail": (photos, "thumbnail.wasm", rounds),
        "primes": ([200_000] * 4, "primes.wasm", max(1, rounds // 2)),
    }
    rows = []
    for name, (inputs, module, times) in jobs.items():
        argv = [program, name, str(times), *map(str, inputs)]
        alone = statistics.median(
            float(subprocess.run(argv, capture_output=True, text=True, check=True, env=ENV).stdout) for _ in range(3))
        rows.append((name, alone / (times * len(inputs)) * 1e3,
                     *(in_wpool(module, inputs, times, workers) for workers in (1, 2))))
    return rows


def in_wpool(module, inputs, times, workers):
    """Milliseconds an item: a long run less a short one."""
    files = isinstance(inputs[0], str)

    def seconds(repeats):
        source = OUT / "work-list"
        if files:
            source.write_text("\n".join(inputs * repeats) + "\n", encoding="utf-8")
            words = ("--input", "files", "--map", f"@{source}")
        else:
            source.write_text(json.dumps(inputs * repeats), encoding="ascii")
            words = ("--input", "json", "--map", source)
        return command("run", f"-j{workers}", "-q", GUESTS / module, *words, "-o", OUT / "out")[0]

    seconds(1)
    short, long = median(3, lambda: seconds(1)), median(3, lambda: seconds(times + 1))
    return (long - short) / (times * len(inputs)) * 1e3


ENDS = {"formats": formats, "pipelines": pipelines, "typed": typed, "interpreters": interpreters, "work": work}
