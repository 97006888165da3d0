"""After `get(timeout)` has given up: does the task go on?"""
import json
import os
import tempfile
import time
from multiprocessing import Pool, TimeoutError


def task(path):
    time.sleep(0.5)
    open(path, "w").close()


if __name__ == "__main__":
    with Pool(1) as pool, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "went-on")
        later = pool.apply_async(task, (path,))
        try:
            later.get(0.1)
            gave_up = False
        except TimeoutError:
            gave_up = True
        time.sleep(0.8)
        print(json.dumps({"gave_up": gave_up, "went_on": os.path.exists(path)}))
