"""Other pools of processes for Python, two workers each:

    others.py executor|joblib|mpire|pebble

reads commands on standard input and answers each with one line of JSON:

    sample CHUNK ITEMS      numbers in, their squares out, in order
"""

import json
import sys
import time

WORKERS = 2


def square(n):
    return n * n


def executor():
    from concurrent.futures import ProcessPoolExecutor

    pool = ProcessPoolExecutor(WORKERS)
    return lambda chunk, items: list(pool.map(square, range(items), chunksize=chunk))


def joblib():
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=WORKERS)
    pool.__enter__()

    def run(chunk, items):
        pool.batch_size = chunk
        return pool(delayed(square)(n) for n in range(items))

    return run


def mpire():
    from mpire import WorkerPool

    pool = WorkerPool(WORKERS, keep_alive=True)
    return lambda chunk, items: pool.map(square, range(items), chunk_size=chunk)


def pebble():
    from pebble import ProcessPool

    pool = ProcessPool(WORKERS)
    return lambda chunk, items: list(pool.map(square, range(items), chunksize=chunk).result())


POOLS = {"executor": executor, "joblib": joblib, "mpire": mpire, "pebble": pebble}


def sample(run, chunk, items):
    started = time.perf_counter()
    results = run(chunk, items)
    seconds = time.perf_counter() - started
    if len(results) != items or any(value != n * n for n, value in enumerate(results)):
        raise ValueError("wrong values")
    return {"seconds": seconds, "items": items}


def main():
    run = POOLS[sys.argv[1]]()
    run(1, 8)
    for line in sys.stdin:
        try:
            _, chunk, items = line.split()
            reply = sample(run, int(chunk), int(items))
        except Exception as error:  # whatever it is, the asker must hear of it
            reply = {"error": f"{line.strip()}: {error!r}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
