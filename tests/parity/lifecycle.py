"""What may be asked of a pool that runs, is closed, or has been terminated."""
import json
import time
import warnings
from multiprocessing import Pool


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


def said(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def submissions(pool):
    return {
        "apply": said(lambda: pool.apply(sleep, (0,))),
        "apply_async": said(lambda: pool.apply_async(sleep, (0,))),
        "map": said(lambda: pool.map(sleep, [0])),
        "map_async": said(lambda: pool.map_async(sleep, [0])),
        "imap": said(lambda: pool.imap(sleep, [0])),
        "imap_unordered": said(lambda: pool.imap_unordered(sleep, [0])),
        "starmap": said(lambda: pool.starmap(sleep, [(0,)])),
        "starmap_async": said(lambda: pool.starmap_async(sleep, [(0,)])),
    }


if __name__ == "__main__":
    pool = Pool(2)
    seen = {"join_while_running": said(pool.join)}
    begun = pool.map_async(sleep, [30] * 6, 1)
    pool.close()
    seen["after_close"] = submissions(pool)
    seen["join_after_close"] = said(pool.join)
    seen["what_was_begun"] = begun.get()
    pool = Pool(2)
    pool.terminate()
    seen["after_terminate"] = submissions(pool)
    seen["join_after_terminate"] = said(pool.join)
    with Pool(2) as pool:
        pass
    seen["after_with"] = said(lambda: pool.apply(sleep, (0,)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = Pool(1)
        del pool
        seen["recorded"] = {"dropped": [warning.category.__name__ for warning in caught]}
    print(json.dumps(seen))
