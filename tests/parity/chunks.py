"""How `map` cuts its items, and which chunk sizes `imap` takes."""
import json
from multiprocessing import Pool

ITEMS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 63, 64, 65, 100, 999, 1000, 1001]


def square(n):
    return n * n


def refusal(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


if __name__ == "__main__":
    table = {}
    for workers in range(1, 6):
        with Pool(workers) as pool:
            table[str(workers)] = [pool.map_async(square, range(items))._chunksize for items in ITEMS]
    with Pool(2) as pool:
        print(json.dumps({
            "items": ITEMS,
            "default": table,
            "imap": {str(size): refusal(lambda: pool.imap(square, [1], size)) for size in (0, 1, 2)},
            "imap_unordered": {str(size): refusal(lambda: pool.imap_unordered(square, [1], size)) for size in (0, 1)},
            "values": {str(size): list(pool.imap(square, range(20), size)) for size in (1, 2, 10)},
        }))
