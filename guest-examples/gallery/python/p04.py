"""P4: callbacks hear every value; `get` gives them in the order of the calls."""
import time
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


if __name__ == "__main__":
    heard = []
    with Pool(5) as pool:
        pool.map(sleep, [10] * 10, 1)
        began = time.monotonic()
        calls = [pool.apply_async(sleep, (200 + n,), callback=heard.append) for n in range(10)]
        print([call.get() for call in calls])
        print("not one after the other:", "yes" if time.monotonic() - began < 2 else "no")
        pool.close()
        pool.join()
    print("callbacks heard", sorted(heard))
