"""Results come in the order of the items, or as they come, whatever ends first."""
import json
import time
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


def square(n):
    return n * n


def add(a, b):
    return a + b


if __name__ == "__main__":
    with Pool(2) as pool:
        # Both workers are there.
        pool.map(sleep, [20] * 8, 1)
        print(json.dumps({
            "map": pool.map(sleep, [60, 30, 0, 10], 1),
            "map_in_chunks": pool.map(square, range(10), 3),
            "map_async": pool.map_async(sleep, [40, 0], 1).get(),
            "imap": list(pool.imap(sleep, [60, 0, 30, 0])),
            "imap_unordered": list(pool.imap_unordered(sleep, [600, 0])),
            "every_once": sorted(pool.imap_unordered(square, range(200))),
            "starmap": pool.starmap(add, [(1, 2), (3, 4)]),
            "starmap_async": pool.starmap_async(add, [(5, 6), (7, 8)]).get(),
            "apply": pool.apply(square, (7,)),
            "apply_kwds": pool.apply(add, (1,), {"b": 2}),
        }))
