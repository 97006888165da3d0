"""`ProcessPoolExecutor`: one worker is killed; what becomes of the other tasks, and of the pool?"""
import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor


def task(n):
    if n == 0:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return n


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        calls = [pool.submit(task, n) for n in range(6)]
        results = [said(call.result) for call in calls]
        print(json.dumps({"results": results, "later": said(lambda: pool.submit(task, 9).result())}))
