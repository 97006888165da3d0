"""P17: processes by themselves."""
import time
from multiprocessing import Process


def square(n):
    return n * n


def spin():
    while True:
        time.sleep(60)


def yes(is_so):
    return "yes" if is_so else "no"


if __name__ == "__main__":
    five = [Process(target=square, args=(n,), name=f"worker {n}") for n in range(5)]
    for process in five:
        process.start()
    for process in five:
        process.join()
        print(f"{process.name} exited with {process.exitcode}, alive: {yes(process.is_alive())}")
    hung = Process(target=spin, daemon=True)
    hung.start()
    print(f"daemon: {yes(hung.daemon)}, has a pid: {yes(hung.pid)}")
    hung.join(0.05)
    print("ended within 50 ms:", yes(not hung.is_alive()))
    hung.terminate()
    hung.join()
    print("terminated:", hung.exitcode)
