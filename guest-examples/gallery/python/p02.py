"""P2: ten tasks that sleep for different times, on three workers."""
import os
import time
from multiprocessing import Pool


def task(ms):
    time.sleep(ms / 1000)
    return os.getpid()


if __name__ == "__main__":
    pool = Pool(3)
    print("start")
    calls = [pool.apply_async(task, (20 + n * 37 % 41,)) for n in range(10)]
    print("all sent")
    pool.close()
    pool.join()
    workers = {call.get() for call in calls}
    print("several workers:", "yes" if len(workers) > 1 else "no")
    print("never more than three:", "yes" if len(workers) <= 3 else "no")
    print(f"end, {sum(call.ready() for call in calls)} done")
