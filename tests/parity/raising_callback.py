"""A callback raises: what becomes of the results after it."""
import json
import sys
import threading
from multiprocessing import Pool


def square(n):
    return n * n


def callback(value):
    raise RuntimeError("no")


if __name__ == "__main__":
    threading.excepthook = lambda args: None
    with Pool(2) as pool:
        pool.apply_async(square, (2,), callback=callback).wait(60)
        print(json.dumps({"later": pool.apply(square, (3,))}))
