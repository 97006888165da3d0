"""P6: two functions on one pool. A worker runs either."""
import os
from multiprocessing import Pool


def square(n):
    return n * n, os.getpid()


def add(a, b):
    return a + b, os.getpid()


if __name__ == "__main__":
    workers = set()
    with Pool(1) as pool:
        squares = [pool.apply_async(square, (n,)) for n in range(4)]
        sums = [pool.apply_async(add, (n, n)) for n in range(4)]
        for one, other in zip(squares, sums):
            (one, *ran_one), (other, *ran_other) = one.get(), other.get()
            print("square", one, "sum", other)
            workers.update(ran_one, ran_other)
    print("one worker ran both:", "yes" if len(workers) == 1 else "no")
