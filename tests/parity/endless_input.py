"""`imap` over a very long input: how much of it is pulled when one result was read?"""
import json
import time
from multiprocessing import Pool

pulled = 0


def items():
    global pulled
    for pulled in range(200_000):
        yield pulled


def square(n):
    return n * n


if __name__ == "__main__":
    with Pool(2) as pool:
        results = pool.imap(square, items())
        results.next(60)
        time.sleep(0.5)
        print(json.dumps({"bounded": pulled < 100, "pulled": pulled}))
