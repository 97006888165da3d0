"""An input without a length, and one that is empty."""
import json
from multiprocessing import Pool


def square(n):
    return n * n


def add(a, b):
    return a + b


if __name__ == "__main__":
    with Pool(2) as pool:
        nothing = pool.map_async(square, [])
        print(json.dumps({
            "map": pool.map(square, (n for n in range(20))),
            "imap": list(pool.imap(square, (n for n in range(20)))),
            "imap_unordered": sorted(pool.imap_unordered(square, iter(range(20)))),
            "starmap": pool.starmap(add, ((n, n) for n in range(5))),
            "empty": {
                "map": pool.map(square, []),
                "starmap": pool.starmap(add, []),
                "imap": list(pool.imap(square, [])),
                "imap_unordered": list(pool.imap_unordered(square, iter([]))),
                "map_async": [nothing.ready(), nothing.successful(), nothing.get()],
            },
        }))
