"""P18: results of processes come in any order, and are put in order by index."""
import time
from multiprocessing import Process, Queue


def sleep(queue, index, ms):
    time.sleep(ms / 1000)
    queue.put((index, ms))


if __name__ == "__main__":
    queue = Queue()
    processes = [Process(target=sleep, args=(queue, index, ms)) for index, ms in enumerate([600, 10, 100])]
    for process in processes:
        process.start()
    arrived = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    print("the first came last:", "yes" if arrived[-1][0] == 0 else "no")
    print([ms for _, ms in sorted(arrived)])
