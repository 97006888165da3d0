"""`Executor.map(buffersize=)` and `imap(buffersize=)`: where this version has them, how much is pulled?"""
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

pulled = 0


def items():
    global pulled
    for pulled in range(1, 101):
        yield pulled


def square(n):
    return n * n


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        bounded = sys.version_info >= (3, 14)
        results = pool.map(square, items(), **({"buffersize": 7} if bounded else {}))
        time.sleep(0.2)
        print(json.dumps({"pulled": pulled, "asked_for": 7 if bounded else None, "sum": sum(results)}))
