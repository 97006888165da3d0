"""How many workers a pool may have, and after how many tasks they change."""
import json
import os
from multiprocessing import Pool


def refusal(**options):
    try:
        Pool(**options).terminate()
    except Exception as error:
        return type(error).__name__
    return None


if __name__ == "__main__":
    with Pool(3) as pool:
        three = len(pool._pool)
    with Pool() as pool:
        default = len(pool._pool)
    print(json.dumps({
        "three": three,
        "processes": {"0": refusal(processes=0)},
        "maxtasksperchild": {
            "0": refusal(processes=1, maxtasksperchild=0),
            "1": refusal(processes=1, maxtasksperchild=1),
            "none": refusal(processes=1, maxtasksperchild=None),
        },
        # From 3.13 on the processors that this process may use.
        "recorded": {"default": default, "allowed": len(os.sched_getaffinity(0))},
    }))
