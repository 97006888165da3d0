"""What an `AsyncResult` says before and after its end."""
import json
import time
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


def odd(n):
    if n % 2 == 0:
        raise TaskFailed(n)
    return n


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    with Pool(1) as pool:
        later = pool.apply_async(sleep, (400,))
        before = {
            "ready": later.ready(),
            "successful": said(later.successful),
            "wait": [later.wait(0.01), later.ready()][1],
            "get": said(lambda: later.get(0.01)),
        }
        after = {
            "get": later.get(60),
            "again": later.get(),
            "ready": later.ready(),
            "successful": later.successful(),
        }
        failed = pool.apply_async(odd, (2,))
        failure = {"get": said(lambda: failed.get(60)), "again": said(failed.get), "successful": failed.successful()}
        many = pool.map_async(odd, [1, 3])
        many.wait(60)
        bad = pool.map_async(odd, [1, 2, 3])
        bad.wait(60)
        print(json.dumps({
            "before": before,
            "after": after,
            "failure": failure,
            "map_async": [many.successful(), many.get(), bad.successful(), said(bad.get)],
        }))
