"""P6: two functions on one pool."""
from multiprocessing import Pool


def square(n):
    return n * n


def add(a, b):
    return a + b


if __name__ == "__main__":
    with Pool(2) as pool:
        squares = [pool.apply_async(square, (n,)) for n in range(4)]
        sums = [pool.apply_async(add, (n, n)) for n in range(4)]
        for one, other in zip(squares, sums):
            print("square", one.get(), "sum", other.get())
