"""The peer's side of `make bench`: CPython's own pool of two processes.

As a program without arguments it reads commands on standard input and answers
each with one line of JSON, as the driver does:

    sample TASK CALL CHUNK ITEMS    TASK int|bytes|echo:BYTES, CALL map|imap|unordered,
                                    CHUNK a number or default
    apply TASK ITEMS                calls with one item, one after another
    pss TASK                        memory of the workers

With arguments it is the whole script that a user would write:

    one N                           prints the square of N, by a pool
    file IN OUT CHUNK               squares a JSON array into another
"""

import json
import multiprocessing
import sys
import time

WORKERS = 2
PAYLOAD = bytes(range(64))


def square(n):
    return n * n


def backwards(data):
    return data[::-1]


def echo(data):
    return data


def task(name, items):
    """The function and the arguments of a task."""
    if name == "int":
        return square, range(items)
    if name == "bytes":
        return backwards, [PAYLOAD] * items
    size = int(name.removeprefix("echo:"))
    return echo, [b"x" * size] * items


def check(name, results, items):
    if name == "int":
        good = len(results) == items and all(value == n * n for n, value in enumerate(results))
    elif name == "bytes":
        good = len(results) == items and all(value == PAYLOAD[::-1] for value in results)
    else:
        good = len(results) == items and all(len(value) == int(name.removeprefix("echo:")) for value in results)
    if not good:
        raise ValueError(f"{name}: wrong values")


def sample(pool, name, call, chunk, items):
    function, arguments = task(name, items)
    chunksize = None if chunk == "default" else int(chunk)
    started = time.perf_counter()
    if call == "map":
        results = pool.map(function, arguments, chunksize)
    elif call == "imap":
        results = list(pool.imap(function, arguments, chunksize or 1))
    else:
        results = list(pool.imap_unordered(function, arguments, chunksize or 1))
    seconds = time.perf_counter() - started
    if call == "unordered":
        results.sort()
    check(name, results, items)
    return {"seconds": seconds, "items": items}


def apply(pool, name, items):
    function, arguments = task(name, items)
    started = time.perf_counter()
    results = [pool.apply(function, (argument,)) for argument in arguments]
    seconds = time.perf_counter() - started
    check(name, results, items)
    return {"seconds": seconds, "items": items}


def pss(pool, name):
    """Bytes that each worker holds, shared pages by their share."""
    sample(pool, name, "map", "1", 20_000)
    sizes = []
    for worker in multiprocessing.active_children():
        with open(f"/proc/{worker.pid}/smaps_rollup", encoding="ascii") as rollup:
            line = next(line for line in rollup if line.startswith("Pss:"))
        sizes.append(int(line.split()[1]) << 10)
    return {"bytes": sizes}


def answer(pool, words):
    match words:
        case ["sample", name, call, chunk, items]:
            return sample(pool, name, call, chunk, int(items))
        case ["apply", name, items]:
            return apply(pool, name, int(items))
        case ["pss", name]:
            return pss(pool, name)
    raise ValueError("no such command")


def serve():
    with multiprocessing.Pool(WORKERS) as pool:
        for line in sys.stdin:
            try:
                reply = answer(pool, line.split())
            except Exception as error:  # whatever it is, the asker must hear of it
                reply = {"error": f"{line.strip()}: {error!r}"}
            print(json.dumps(reply), flush=True)


def one(number):
    with multiprocessing.Pool(WORKERS) as pool:
        print(pool.apply(square, (number,)))


def file(source, target, chunk):
    with open(source, encoding="utf-8") as text:
        numbers = json.load(text)
    with multiprocessing.Pool(WORKERS) as pool:
        results = pool.map(square, numbers, None if chunk == "default" else int(chunk))
    with open(target, "w", encoding="utf-8") as text:
        json.dump(results, text)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            serve()
        case ["one", n]:
            one(int(n))
        case ["file", source, target, chunk]:
            file(source, target, chunk)
        case _:
            sys.exit(__doc__)
