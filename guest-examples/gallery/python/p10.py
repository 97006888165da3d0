"""P10: results as they arrive, in order, whatever the chunk."""
import time
from multiprocessing import Pool


def download(page):
    time.sleep(0.005)
    return f"page {page}"


if __name__ == "__main__":
    with Pool(4) as pool:
        for chunksize in (1, 2, 10):
            pages = []
            for page in pool.imap(download, range(40), chunksize):
                pages.append(page)
            in_order = pages == [f"page {n}" for n in range(40)]
            print(f"chunks of {chunksize}: {len(pages)} pages, in order:", "yes" if in_order else "no")
