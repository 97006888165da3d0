"""P14: what an `AsyncResult` says, and an error callback."""
import time
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


def half(n):
    if n % 2:
        raise ValueError(f"{n} is odd")
    return n // 2


def yes(is_so):
    return "yes" if is_so else "no"


if __name__ == "__main__":
    with Pool(2) as pool:
        naps = pool.map_async(sleep, [300, 0])
        print("ready:", yes(naps.ready()))
        naps.wait(60)
        print(f"ready: {yes(naps.ready())}, successful: {yes(naps.successful())}")
        print(naps.get())
        odd = pool.map_async(half, [2, 3], error_callback=lambda error: print("error callback:", error))
        pool.close()
        pool.join()
        print("successful:", yes(odd.successful()))
