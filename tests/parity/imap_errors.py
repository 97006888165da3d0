"""Errors and late values of `imap`, after which the iterator goes on."""
import json
import time
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def odd(n):
    if n % 2 == 0:
        raise TaskFailed(n)
    return n


def sleep(ms):
    time.sleep(ms / 1000)
    return ms


def square(n):
    return n * n


def broken(items):
    for n in range(items):
        yield n
    raise TaskFailed("the input")


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


def drained(results, most=20):
    seen = []
    while len(seen) < most:
        seen.append(said(results.next))
        if seen[-1] == "StopIteration":
            break
    return seen


if __name__ == "__main__":
    with Pool(2) as pool:
        goes_on = drained(pool.imap(odd, [1, 3, 4, 5, 7]))
        naps = pool.imap(sleep, [0, 500, 1])
        first = naps.next(60)
        late = said(lambda: naps.next(0.02))
        rest = [naps.next(60), naps.next(60), said(lambda: naps.next(60)), said(lambda: naps.next(60))]
        unordered = sorted(map(str, drained(pool.imap_unordered(odd, [1, 2, 3]))))
        print(json.dumps({
            "goes_on": goes_on,
            "late": [first, late, *rest],
            "unordered": unordered,
            # The failure of the position after the last item.
            "broken_input": {str(items): drained(pool.imap(square, broken(items))) for items in (0, 3)},
            "map_of_a_broken_input": said(lambda: pool.map(square, broken(3))),
            "pool_goes_on": pool.apply(square, (3,)),
        }))
