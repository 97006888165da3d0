"""P11: a late value is a timeout, and the iterator goes on."""
import time
from multiprocessing import Pool, TimeoutError


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


if __name__ == "__main__":
    with Pool(1) as pool:
        naps = pool.imap(sleep, [400, 0])
        try:
            print(naps.next(0.05))
        except TimeoutError:
            print("late")
        for nap in naps:
            print(nap)
