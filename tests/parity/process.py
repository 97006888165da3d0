"""`Process`: its names and states, from before the start to after the end."""
import json
import os
import signal
import sys
import time
from multiprocessing import Process


def square(n):
    return n * n


def spin():
    while True:
        time.sleep(60)


def leave(code):
    sys.exit(code)


def fail():
    sys.stderr = open(os.devnull, "w")
    raise RuntimeError("no")


def ended(process):
    process.start()
    process.join()
    return process.exitcode


if __name__ == "__main__":
    first = Process(target=square, args=(3,), name="first")
    seen = {"before": [first.name, first.daemon, first.is_alive(), first.exitcode, first.pid]}
    first.start()
    seen["pid"] = first.pid not in (None, os.getpid())
    first.join()
    seen["after"] = [first.is_alive(), first.exitcode]
    five = [Process(target=square, args=(n,)) for n in range(5)]
    for process in five:
        process.start()
    for process in five:
        process.join()
    seen["five"] = [process.exitcode for process in five]
    seen["exit_7"] = ended(Process(target=leave, args=(7,)))
    seen["failed"] = ended(Process(target=fail))
    hung = Process(target=spin, daemon=True)
    hung.start()
    hung.join(0.05)
    seen["late"] = [hung.is_alive(), hung.exitcode, hung.daemon]
    hung.terminate()
    hung.join()
    seen["terminated"] = [hung.is_alive(), hung.exitcode == -signal.SIGTERM]
    hung = Process(target=spin)
    hung.start()
    hung.kill()
    hung.join()
    seen["killed"] = [hung.is_alive(), hung.exitcode]
    print(json.dumps(seen))
