"""P10: results as they arrive, in order, whatever the chunk."""
import time
from multiprocessing import Pool


def download(page):
    time.sleep(0.005)
    return f"page {page}"


def sleep(ms):
    time.sleep(ms / 1000)


if __name__ == "__main__":
    with Pool(4) as pool:
        pool.map(sleep, [10] * 8, 1)
        for chunksize in (1, 2, 10):
            began = time.monotonic()
            pages, first = [], None
            for page in pool.imap(download, range(200), chunksize):
                pages.append(page)
                first = first or time.monotonic() - began
            in_order = pages == [f"page {n}" for n in range(200)]
            took = time.monotonic() - began
            print(f"chunks of {chunksize}: {len(pages)} pages, in order:", "yes" if in_order else "no")
            print(f"  the first after {first * 1000:.0f} ms, all after {took * 1000:.0f} ms")
