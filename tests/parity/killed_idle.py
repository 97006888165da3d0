"""Workers are killed while they wait for work, one of them with the queue's lock: what becomes of the next map."""
import json
import os
import signal
import time
from multiprocessing import Pool


def square(n):
    return n * n


if __name__ == "__main__":
    with Pool(2) as pool:
        pool.map(square, range(20), 1)
        time.sleep(0.2)
        for worker in list(pool._pool):
            os.kill(worker.pid, signal.SIGKILL)
        print(json.dumps({"map": pool.map(square, range(8), 1)}))
