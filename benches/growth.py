"""How cost grows: curves, each of points (size, seconds per item or the like).

Whole commands are run, as a user would, unless it says otherwise; a point is
the median of a few runs.
"""

import json
import statistics
import subprocess
import time

from big_module import big_module
from measure import BENCHES, ENV, OUT, ROOT, WPOOL, Failed

FIXTURES = ROOT / "tests" / "fixtures"
# Turns of spin.wat that take about a millisecond.
MILLISECOND = 1_000_000


def command(*words, expect=(0,)):
    """Seconds of one run of wpool, and its statistics."""
    stats = OUT / "stats.json"
    argv = [WPOOL, *map(str, words), "--stats-file", stats]
    started = time.perf_counter()
    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENV, check=False)
    seconds = time.perf_counter() - started
    if done.returncode not in expect:
        raise Failed(f"{words}: {done.stderr.decode(errors='replace').strip()[:200]}")
    return seconds, json.loads(stats.read_text(encoding="utf-8"))["stats"]


def median(times, measure):
    return statistics.median(measure() for _ in range(times))


def numbers(count, value=None):
    """A file with an array of so many numbers."""
    path = OUT / f"numbers-{count}-{value}.json"
    if not path.exists():
        with open(path, "w", encoding="ascii") as file:
            file.write("[")
            for n in range(count):
                file.write(f"{',' if n else ''}{n if value is None else value}")
            file.write("]")
    return path


def items(driver, quick):
    """Microseconds an item of a whole run over so many, start and JSON included."""
    points = []
    for exponent in range(3, 6 if quick else 8):
        count = 10**exponent
        words = ("run", "-j2", BENCHES / "guests" / "int.wat", "--map", numbers(count), "-o", OUT / "out.json")
        points.append((count, median(3, lambda: command(*words)[0]) / count * 1e6))
    return points


def payload(driver, quick):
    """Microseconds an item of so many bytes that come back, through the library."""
    points = []
    for exponent in (6, 8, 10, 12, 14, 16, 18, 20, 22, 24):
        size = 2**exponent
        count = max(12, min(40_000, (1 << 27 if quick else 1 << 28) // size))
        sample = lambda: driver.ask(f"sample echo:{size} fresh 1 {count}")["seconds"]  # noqa: B023
        sample()
        points.append((size, median(3, sample) / count * 1e6))
    driver.ask("drop")
    return points


def workers(driver, quick):
    """Tasks a second, each a millisecond of processor time, by so many workers."""
    count = 400 if quick else 2000
    points = []
    for number in (1, 2, 3, 4, 8, 16, 32, 64):
        words = ("run", f"-j{number}", "-q", "--memory", "16MiB", FIXTURES / "spin.wat", "--map")
        few = command(*words, numbers(1, MILLISECOND))[0]
        many = median(3, lambda: command(*words, numbers(count, MILLISECOND), "-o", OUT / "out.json")[0])  # noqa: B023
        points.append((number, count / max(many - few, 1e-9)))
    return points


def workers_start(driver, quick):
    """Milliseconds of a whole run over one short item for each of so many workers."""
    points = []
    for number in (1, 2, 4, 8, 16, 32, 64):
        words = ("run", f"-j{number}", "-q", "--memory", "16MiB", BENCHES / "guests" / "int.wat", "--chunksize", "1")
        points.append((number, median(5, lambda: command(*words, "--map", numbers(number))[0]) * 1e3))  # noqa: B023
    return points


def modules(driver, quick):
    """Milliseconds to the first result of a module of so many bytes: compiled,
    and from the cache."""
    cold, warm = [], []
    for size in (1 << 10, 1 << 16, 1 << 20, 5 << 20, 20 << 20, 70 << 20)[: 4 if quick else 6]:
        path = OUT / f"module-{size}.wasm"
        if not path.exists():
            path.write_bytes(big_module(size))
        cache = OUT / "growth-cache"
        subprocess.run(["rm", "-rf", cache], check=True)
        cold.append((size, driver.ask(f"start {path} {cache}")["seconds"] * 1e3))
        warm.append((size, median(5, lambda: driver.ask(f"start {path} {cache}")["seconds"]) * 1e3))  # noqa: B023
    return {"compiled": cold, "cached": warm}


def touched(driver, quick):
    """Microseconds a task that writes to so many bytes of its memory."""
    points = []
    for pages in (0, 1, 4, 16, 64, 256, 1024, 4096):
        count = max(500, min(200_000, 1_000_000 // (pages + 1)) // (10 if quick else 1))
        words = ("run", "-j2", BENCHES / "guests" / "touch.wat", "--map", numbers(count, pages), "-o", OUT / "out.json")
        few = command(*words[:4], numbers(1, pages))[0]
        points.append((pages * 4096, (median(3, lambda: command(*words)[0]) - few) / count * 1e6))  # noqa: B023
    return points


def failures(driver, quick):
    """Microseconds an item where so many of a hundred fail by a trap."""
    text = (BENCHES / "guests" / "fail.wat").read_text(encoding="utf-8")
    count = 10_000 if quick else 100_000
    points = []
    for rate in (0, 1, 5, 10, 25, 50, 75, 100):
        module = OUT / f"fail-{rate}.wat"
        module.write_text(text.replace("RATE", str(rate)), encoding="utf-8")
        words = ("run", "-j2", "-q", module, "--map", numbers(count), "-o", OUT / "out.json")
        points.append((rate, median(3, lambda: command(*words, expect=(0, 1))[0]) / count * 1e6))  # noqa: B023
    return points


def timeouts(driver, quick):
    """Milliseconds that an item over its time costs beyond that time: kill,
    new worker, first task."""
    count, limit = (10 if quick else 40), 50
    loop = OUT / "loop.wat"
    loop.write_text('(module (func (export "run") (param i64) (loop (br 0))))', encoding="ascii")
    words = ("run", "-j1", "-q", loop, "--timeout", f"{limit}ms", "--map")
    few = command(*words, numbers(1), expect=(1,))[0]
    many = command(*words, numbers(count + 1), expect=(1,))[0]
    return [(limit, (many - few) / count * 1e3 - limit)]


CURVES = {
    "items": items,
    "payload": payload,
    "workers": workers,
    "workers-start": workers_start,
    "modules": modules,
    "touched": touched,
    "failures": failures,
    "timeouts": timeouts,
}
