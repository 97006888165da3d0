"""Callbacks hear values, error callbacks errors; those of a map once, with the list."""
import json
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def odd(n):
    if n % 2 == 0:
        raise TaskFailed(n)
    return n


def square(n):
    return n * n


if __name__ == "__main__":
    values, errors, lists, failed_lists = [], [], [], []
    with Pool(2) as pool:
        for n in range(10):
            pool.apply_async(odd, (n,), callback=values.append,
                             error_callback=lambda error: errors.append(type(error).__name__))
        pool.map_async(square, [1, 2, 3], callback=lists.append, error_callback=failed_lists.append)
        pool.starmap_async(square, [(4,), (5,)], callback=lists.append)
        pool.map_async(odd, [1, 2, 3], callback=lists.append,
                       error_callback=lambda error: failed_lists.append(type(error).__name__))
        pool.close()
        pool.join()
    print(json.dumps({"values": sorted(values), "errors": errors, "lists": sorted(lists), "failed": failed_lists}))
