"""A result that cannot be sent, and where in the remote code an error came from."""
import json
import multiprocessing.pool
from multiprocessing import Pool


class TaskFailed(Exception):
    pass


def unsendable(n):
    return (lambda: n) if n == 13 else n


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
    with Pool(2) as pool:
        results = pool.imap(unsendable, [1, 13, 3])
        seen = [said(results.next) for _ in range(4)]
        try:
            pool.apply(odd, (4,))
        except TaskFailed as error:
            place = "odd" in str(error.__cause__)
        print(json.dumps({
            "imap": seen,
            "apply": said(lambda: pool.apply(unsendable, (13,))),
            "pool_goes_on": pool.apply(odd, (3,)),
            "remote_place": place,
            "given_itself": said(lambda: pool.apply(odd, (pool,))),
        }))
