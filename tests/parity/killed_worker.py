"""A worker is killed while it runs a task: what becomes of the map."""
import json
import os
import signal
from multiprocessing import Pool


def task(n):
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


if __name__ == "__main__":
    with Pool(2) as pool:
        print(json.dumps({"map": pool.map(task, range(8), 1)}))
