"""`Manager().Queue()`: bounded, in order, with timeouts; `qsize`, `task_done` and `join`."""
import json
import queue
from multiprocessing import Manager


def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


if __name__ == "__main__":
    with Manager() as manager:
        jobs = manager.Queue(3)
        empty = [said(lambda: jobs.get(timeout=0.01)), said(jobs.get_nowait)]
        for name in ("Python", "C", "Java"):
            jobs.put(name)
        full = [said(lambda: jobs.put("Rust", timeout=0.01)), said(lambda: jobs.put_nowait("Rust"))]
        size = jobs.qsize()
        taken = [jobs.get() for _ in range(3)]
        for _ in taken:
            jobs.task_done()
        jobs.join()
        print(json.dumps({
            "empty": empty,
            "full": full,
            "size": size,
            "taken": taken,
            "left": jobs.qsize(),
            "done_too_often": said(jobs.task_done),
        }))
