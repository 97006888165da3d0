"""P7: workers are replaced after two tasks each."""
import os
from multiprocessing import Pool


def square(n):
    return n * n, os.getpid()


if __name__ == "__main__":
    workers = set()
    with Pool(1, maxtasksperchild=2) as pool:
        for n in range(6):
            value, pid = pool.apply(square, (n,))
            print(value)
            workers.add(pid)
    print("at least three workers:", "yes" if len(workers) >= 3 else "no")
