"""Which failure a `map` raises, and when: the first to come, after all have ended."""
import json
import time
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def late(ms):
    """Sleeps so many milliseconds, and fails when that is odd."""
    time.sleep(ms / 1000)
    if ms % 2:
        raise TaskFailed(ms)
    return ms


def failure(call):
    began = time.monotonic()
    try:
        call()
    except TaskFailed as error:
        return {"item": error.args[0], "after_all": time.monotonic() - began >= 0.5}
    return None


if __name__ == "__main__":
    items = [601, 0, 0, 1, 0, 20]
    with Pool(2) as pool:
        pool.map(late, [20] * 8, 1)
        print(json.dumps({
            "map": failure(lambda: pool.map(late, items, 1)),
            "map_async": failure(lambda: pool.map_async(late, items, 1).get()),
            "pool_goes_on": pool.map(late, [2, 4]),
        }))
