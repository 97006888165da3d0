"""P3: the same, one after the other."""
import time
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


if __name__ == "__main__":
    with Pool(3) as pool:
        print("start")
        for n in range(10):
            pool.apply(sleep, (5 + n * 37 % 11,))
            print(f"task {n} is done")
        print("end")
