"""An initializer that fails: what becomes of the map, and how many processes were started."""
import json
import os
import sys
import tempfile
from multiprocessing import Pool


def initializer(folder):
    open(os.path.join(folder, str(os.getpid())), "w").close()
    sys.stderr = open(os.devnull, "w")
    raise RuntimeError("no")


def square(n):
    return n * n


if __name__ == "__main__":
    folder = tempfile.mkdtemp()
    with Pool(2, initializer, (folder,)) as pool:
        later = pool.map_async(square, range(4))
        later.wait(1)
        print(json.dumps({"ready": later.ready(), "started": len(os.listdir(folder))}), flush=True)
        print(json.dumps({"map": later.get()}))
