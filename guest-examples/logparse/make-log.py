#!/usr/bin/env python3
"""Writes access-log lines in the combined format: the same ones every time.

    make-log.py [--lines 1000] [--broken 0] [--seed 1] > access.log

`--broken K` spoils K of the lines, evenly spread and in turn: cut short, another
format, an impossible month. Uses Python's standard library alone.
"""

import argparse
import datetime
import random
import sys

PATHS = ["/", "/index.html", "/about", "/login", "/api/items?page=2", "/img/logo.png", "/search?q=w%C3%A4sche"]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", "curl/8.14.1", 'Bot "quoted" 1.0', "-"]
REFERERS = ["-", "-", "https://example.org/", "https://example.org/start?from=mail"]
STATUSES = [200, 200, 200, 200, 206, 301, 304, 404, 500]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
START = datetime.datetime(2026, 3, 14, 9, 26, 53)


def line(rng, index):
    when = START + datetime.timedelta(seconds=index * 2 + rng.randrange(2))
    # The month's name is not left to strftime: it would follow the locale.
    stamp = f"{when:%d}/{MONTHS[when.month - 1]}/{when:%Y:%H:%M:%S} {rng.choice(['+0000', '+0100', '-0730'])}"
    host = rng.choice([f"192.0.2.{rng.randrange(256)}", f"2001:db8::{rng.randrange(65536):x}", "client.example.net"])
    user = rng.choice(["-", "-", "-", "ada", "émile"])
    status = rng.choice(STATUSES)
    size = "-" if status in (301, 304) else str(rng.randrange(100, 200_000))
    request = f"{rng.choice(['GET', 'GET', 'POST', 'HEAD'])} {rng.choice(PATHS)} HTTP/1.1"
    if rng.randrange(25) == 0:
        request = "\\x16\\x03\\x01"  # a TLS greeting on a plain port, as servers log it
    agent = rng.choice(AGENTS).replace('"', '\\"')
    return f'{host} - {user} [{stamp}] "{request}" {status} {size} "{rng.choice(REFERERS)}" "{agent}"'


def spoil(text, way):
    if way == 0:
        return text[: len(text) // 2]
    if way == 1:
        return "level=info msg=\"another format\""
    return text.replace("/Mar/", "/Mrz/")


def main():
    parser = argparse.ArgumentParser(description="Writes access-log lines for the logparse guest.")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--broken", type=int, default=0, help="how many are spoiled")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if not 0 <= chosen.broken <= chosen.lines:
        parser.error("--broken is more than --lines")
    rng = random.Random(str(chosen.seed))
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    spoiled = 0
    for index in range(chosen.lines):
        text = line(rng, index)
        if (index + 1) * chosen.broken // chosen.lines > spoiled:
            text = spoil(text, spoiled % 3)
            spoiled += 1
        print(text)


if __name__ == "__main__":
    main()
