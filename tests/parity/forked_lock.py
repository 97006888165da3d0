"""A thread holds a lock while workers are forked: can they take it?"""
import json
import threading
import time
import warnings
from multiprocessing import get_context

LOCK = threading.Lock()


def task(n):
    with LOCK:
        return n


def holder(held):
    with LOCK:
        held.set()
        time.sleep(0.5)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    held = threading.Event()
    threading.Thread(target=holder, args=(held,), daemon=True).start()
    held.wait()
    with get_context("fork").Pool(1) as pool:
        print(json.dumps({"map": pool.map(task, range(3))}))
