"""P7: every task greets as the initializer was told; workers are replaced after two tasks each."""
import os
from multiprocessing import Pool


def greet_with(*words):
    global greeting, mark
    greeting, mark = words


def greet(name):
    return f"{greeting} {name}{mark}", os.getpid()


if __name__ == "__main__":
    workers = set()
    with Pool(1, greet_with, ("good morning", "!"), maxtasksperchild=2) as pool:
        for name in ("Ada", "Alan", "Barbara", "Edsger", "Grace", "Kurt"):
            greeted, pid = pool.apply(greet, (name,))
            print(greeted)
            workers.add(pid)
    print("at least three workers:", "yes" if len(workers) >= 3 else "no")
