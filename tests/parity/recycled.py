"""`maxtasksperchild=1` and twelve items: how many processes run them?"""
import json
import os
from multiprocessing import Pool


def pid(_):
    return os.getpid()


if __name__ == "__main__":
    with Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps({"processes": len(set(pool.map(pid, range(12))))}))
