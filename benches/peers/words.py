"""The task of guest-examples/python by CPython's own pool of two processes, one
item a message, without a sandbox: prints microseconds an item.

    words.py ITEMS.jsonl
"""

import json
import multiprocessing
import re
import sys
import time

WORD = re.compile(r"[a-z]+")


def run(line):
    item = json.loads(line)
    words = WORD.findall(item["text"].lower())
    return json.dumps({"id": item["id"], "words": len(words), "longest": max(words, key=len, default="")})


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = file.read().splitlines()
    with multiprocessing.Pool(2) as pool:
        pool.map(run, lines[:100], 1)
        started = time.perf_counter()
        pool.map(run, lines, 1)
        print((time.perf_counter() - started) / len(lines) * 1e6)
