"""P9: some tasks write a queue, others read it."""
from multiprocessing import Manager, Pool
from queue import Empty, Full


def write(queue, words):
    for word in words:
        queue.put(word)


def read(queue):
    return [queue.get() for _ in range(queue.qsize())]


def raises(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error:
        return "yes"
    return "no"


if __name__ == "__main__":
    with Manager() as manager, Pool(2) as pool:
        queue = manager.Queue(3)
        pool.apply(write, (queue, ["Python", "C", "Java"]))
        print("written:", queue.qsize())
        print("a fourth has no room:", raises(Full, queue.put, "Rust", timeout=0.1))
        writer = pool.apply_async(write, (queue, ["Rust"]))
        writer.wait(0.1)
        print("a task waits for room:", "no" if writer.ready() else "yes")
        print("read:", ", ".join(pool.apply(read, (queue,))))
        writer.get()
        print("read:", ", ".join(pool.apply(read, (queue,))))
        print("nothing is left:", raises(Empty, queue.get, timeout=0.1))
