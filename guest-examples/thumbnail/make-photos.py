#!/usr/bin/env python3
"""Draws pictures for the thumbnail guest: PNG files, the same ones every time.

    make-photos.py DIR [--count 20] [--size 640x480] [--noise 3] [--broken 0] [--seed 1]

Each picture is a landscape: sky, sun, rows of hills. `--noise` is how many low
bits of every byte are random, as in a photograph: the files get larger and the
decoder gets work. `--broken K` spoils K of them, evenly spread and in turn: cut
short, a byte changed in the middle, no picture at all.

Uses Python's standard library alone.
"""

import argparse
import math
import pathlib
import random
import struct
import zlib

COLUMN = 4  # hills are drawn in columns of this many pixels
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def blend(a, b, part):
    """The colour that lies `part` (0 to 1) of the way from a to b."""
    return bytes(round(x + (y - x) * part) for x, y in zip(a, b))


def colour(rng, low, high):
    return bytes(rng.randint(low, high) for _ in range(3))


def skyline(rng, columns, height, depth):
    """For each column the row at which the hills of this depth begin."""
    base = height * (0.45 + 0.15 * depth)
    waves = [(rng.uniform(0.5, 4.0), rng.uniform(0.0, 6.3), rng.uniform(0.02, 0.07)) for _ in range(3)]
    return [
        round(base + sum(height * size * math.sin(pace * x / columns * 6.3 + start) for pace, start, size in waves))
        for x in range(columns)
    ]


def draw(rng, width, height):
    """The rows of a landscape, three bytes a pixel."""
    columns = -(-width // COLUMN)
    top, horizon = colour(rng, 20, 140), colour(rng, 150, 250)
    ranges = [(skyline(rng, columns, height, depth), colour(rng, 30, 200 - 50 * depth)) for depth in range(3)]
    sun_x, sun_y, sun = rng.randrange(columns), rng.uniform(0.1, 0.4) * height, rng.uniform(0.05, 0.12) * height
    for y in range(height):
        sky = blend(top, horizon, y / height)
        row = [sky] * columns
        half = math.sqrt(max(0.0, sun * sun - (y - sun_y) ** 2)) / COLUMN
        for x in range(max(0, round(sun_x - half)), min(columns, round(sun_x + half))):
            row[x] = b"\xff\xf0\xc0"
        for line, shade in ranges:
            row = [shade if y >= start else old for start, old in zip(line, row)]
        yield b"".join(pixel * COLUMN for pixel in row)[: width * 3]


def add_noise(rng, row, bits):
    """The row with the low bits of every byte replaced by random ones."""
    size = 8 * len(row)
    low = int.from_bytes(bytes([(1 << bits) - 1]) * len(row), "big")
    whole = int.from_bytes(row, "big")
    return ((whole & ~low) | (rng.getrandbits(size) & low)).to_bytes(len(row), "big")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, width, height):
    # The zero before each row says that it is stored without prediction.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def spoil(picture, way):
    if way == 0:
        return picture[: len(picture) // 2]
    if way == 1:
        middle = len(picture) // 2
        return picture[:middle] + bytes([picture[middle] ^ 0xFF]) + picture[middle + 1 :]
    return b"This is a note about a picture, not a picture.\n"


def arguments():
    parser = argparse.ArgumentParser(description="Draws PNG pictures for the thumbnail guest.")
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--size", default="640x480", help="WIDTHxHEIGHT")
    parser.add_argument("--noise", type=int, default=3, choices=range(9), help="random low bits of each byte")
    parser.add_argument("--broken", type=int, default=0, help="how many are spoiled")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if not 0 <= chosen.broken <= chosen.count:
        parser.error("--broken is more than --count")
    return chosen


def main():
    chosen = arguments()
    width, height = map(int, chosen.size.split("x"))
    chosen.dir.mkdir(parents=True, exist_ok=True)
    spoiled = 0
    for index in range(chosen.count):
        rng = random.Random(f"{chosen.seed}/{index}")
        rows = draw(rng, width, height)
        picture = png((add_noise(rng, row, chosen.noise) for row in rows), width, height)
        if (index + 1) * chosen.broken // chosen.count > spoiled:
            picture = spoil(picture, spoiled % 3)
            spoiled += 1
        (chosen.dir / f"photo-{index:04}.png").write_bytes(picture)


if __name__ == "__main__":
    main()
