"""P5: `apply_async` with `get` at once is serial."""
from multiprocessing import Pool


def square(n):
    return n * n


if __name__ == "__main__":
    with Pool(3) as pool:
        for n in range(5):
            print(pool.apply_async(square, (n,)).get())
