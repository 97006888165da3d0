"""P20: three ways to end while tasks run. The pending result never ends, so it is not waited for."""
import time
from multiprocessing import Pool, TimeoutError


def tell(how, call, workers):
    try:
        call.get(0.3)
    except TimeoutError:
        pending = "never ends"
    except Exception as error:
        pending = type(error).__name__
    left = any(worker.is_alive() for worker in workers)
    print(f"{how}: the result: {pending}, workers left:", "yes" if left else "no")


def busy():
    pool = Pool(2)
    call = pool.apply_async(time.sleep, (60,))
    call.wait(0.05)
    return pool, call, list(pool._pool)


if __name__ == "__main__":
    pool, call, workers = busy()
    pool.terminate()
    pool.join()
    tell("terminate", call, workers)
    pool, call, workers = busy()
    with pool:
        pass
    pool.join()
    tell("end of the scope", call, workers)
