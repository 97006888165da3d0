"""P12: values in the order in which they come, each once."""
import time
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


if __name__ == "__main__":
    with Pool(2) as pool:
        pool.map(sleep, [10] * 4, 1)
        for nap in pool.imap_unordered(sleep, [600, 10, 100]):
            print(nap)
