"""P13: several arguments, by position and by name."""
from functools import partial
from multiprocessing import Pool


def add(a, b):
    return a + b


def power(base, exponent):
    return base**exponent


if __name__ == "__main__":
    with Pool(2) as pool:
        print(pool.starmap(add, [(1, 2), (3, 4)]))
        print(pool.starmap_async(add, [(5, 6), (7, 8)]).get())
        print(pool.map(partial(power, exponent=3), [1, 2, 3]))
        print(pool.apply(power, (), {"base": 2, "exponent": 10}))
