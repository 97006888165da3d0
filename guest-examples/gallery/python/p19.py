"""P19: as many workers as processors. (That are this process's from 3.13 on; before, the machine's.)"""
import os
from multiprocessing import Pool


def square(n):
    return n * n


if __name__ == "__main__":
    count = getattr(os, "process_cpu_count", os.cpu_count)()
    with Pool() as pool:
        print("as many workers as processors:", "yes" if len(pool._pool) == count else "no")
        print(pool.map(square, [1, 2, 3]))
