"""P8: a lock of the parent, which the initializer hands to all workers. One that is killed with it keeps it."""
import os
import signal
from multiprocessing import Lock, Pool, RawValue
from multiprocessing.connection import wait


def use_lock(the_lock, the_counter):
    global lock, hits
    lock, hits = the_lock, the_counter


def count(times):
    for _ in range(times):
        with lock:
            hits.value = hits.value + 1


def hold():
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def yes(is_so):
    return "yes" if is_so else "no"


def free(timeout):
    if not lock.acquire(timeout=timeout):
        return False
    lock.release()
    return True


if __name__ == "__main__":
    lock, hits = Lock(), RawValue("q", 0)
    with Pool(4, use_lock, (lock, hits)) as pool:
        lock.acquire()
        calls = [pool.apply_async(count, (250,)) for _ in range(4)]
        calls[0].wait(0.1)
        print("while the parent holds the lock:", hits.value)
        lock.release()
        for call in calls:
            call.get()
        print("counted by four:", hits.value)
        print("the lock is free:", yes(free(timeout=0)))
        # Held on to: the pool drops a worker that has died, and its sentinel with it.
        workers = list(pool._pool)
        pool.apply_async(hold)
        wait([worker.sentinel for worker in workers])
        print("its holder is killed, and it is free:", yes(free(timeout=0.3)))
