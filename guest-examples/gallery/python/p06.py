"""P6: two functions on one pool."""
from multiprocessing import Pool


def foo(n):
    return n * n


def bar(a, b):
    return a + b


if __name__ == "__main__":
    with Pool(2) as pool:
        foos = [pool.apply_async(foo, (n,)) for n in range(4)]
        bars = [pool.apply_async(bar, (n, n)) for n in range(4)]
        for one, other in zip(foos, bars):
            print("foo", one.get(), "bar", other.get())
