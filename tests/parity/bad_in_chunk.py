"""Two chunks of four; items 2 and 5 fail: which items run, and what `imap` gives."""
import json
import os
import tempfile
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def task(item):
    folder, n = item
    if n in (2, 5):
        raise TaskFailed(n)
    open(os.path.join(folder, str(n)), "w").close()
    return n


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    with Pool(2) as pool, tempfile.TemporaryDirectory() as folder:
        items = [(folder, n) for n in range(8)]
        failure = said(lambda: pool.map(task, items, 4))
        ran = sorted(map(int, os.listdir(folder)))
        results = pool.imap(task, items, 4)
        seen = []
        while len(seen) < 12 and seen[-1:] != ["StopIteration"]:
            seen.append(said(lambda: next(results)))
        print(json.dumps({"map": failure, "ran": ran, "imap": seen}))
