"""A task calls `sys.exit`: what becomes of the map."""
import json
import sys
from multiprocessing import Pool


def task(n):
    if n == 3:
        sys.exit(7)
    return n * n


if __name__ == "__main__":
    with Pool(2) as pool:
        print(json.dumps({"map": pool.map(task, range(8), 1)}))
