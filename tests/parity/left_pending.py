"""`with` is left while a result is pending: does it ever end?"""
import json
import time
from multiprocessing import Pool


if __name__ == "__main__":
    with Pool(1) as pool:
        later = pool.apply_async(time.sleep, (30,))
        time.sleep(0.1)
    try:
        later.get()
    except Exception as error:
        print(json.dumps({"get": type(error).__name__}))
