"""What an exception knows of the item that it is of."""
import json
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def odd(n):
    if n % 2 == 0:
        raise TaskFailed("even")
    return n


if __name__ == "__main__":
    with Pool(2) as pool:
        try:
            pool.map(odd, [1, 3, 4, 5])
        except TaskFailed as error:
            known = [name for name in ("index", "input", "function", "attempt", "worker") if hasattr(error, name)]
            print(json.dumps({"known": known}))
