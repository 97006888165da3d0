"""A task raises what cannot be unpickled: what becomes of the map."""
import json
import threading
from multiprocessing import Pool


class Unreadable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def task(n):
    if n == 3:
        raise Unreadable(n, n)
    return n


if __name__ == "__main__":
    threading.excepthook = lambda args: None
    with Pool(2) as pool:
        try:
            pool.map(task, range(8), 1)
        except Exception as error:
            print(json.dumps({"map": type(error).__name__}))
