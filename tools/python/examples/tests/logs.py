"""Writes a folder of logs to score: `logs.py FOLDER [--bytes N] [--files N] [TEXT...]`.

Each file is a device of its own: the texts (by default the two in models/text), from a place of its own on and again from the
beginning, with other digits from round to round, so that a model has something to be surprised by; and some damaged bytes.
Packed in turn as .gz, .xz, .zst and not at all, in two folders. Equal arguments write equal files.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import pathlib
import random

import pyarrow as pa

TEXTS = [
    pathlib.Path(__file__).resolve().parents[4] / "models/text" / name for name in ("request-latency.csv", "gnss-sample.nmea")
]


def log(text: bytes, size: int, seed: int) -> bytes:
    """`size` bytes or a line more, of whole lines."""
    dice = random.Random(seed)
    lines = text.splitlines(keepends=True)
    out, written, at = [], 0, dice.randrange(len(lines))
    while written < size:
        line = bytearray(lines[at % len(lines)])
        if at >= len(lines):
            # The last two digits of each number, of a fraction more often than not.
            for place, byte in enumerate(line):
                if 48 <= byte < 58 and not line[place + 1 : place + 3].isdigit() and dice.random() < 0.3:
                    line[place] = 48 + dice.randrange(10)
        if dice.random() < 0.002:
            line[dice.randrange(len(line) - 1)] ^= 1 << dice.randrange(7)
        out.append(bytes(line).replace(b"\n", b"") + b"\n")
        written += len(out[-1])
        at += 1
    return b"".join(out)


def packed(text: bytes, end: str) -> bytes:
    """As a file of that name has it."""
    if end == ".gz":
        return gzip.compress(text, mtime=0)
    if end == ".xz":
        return lzma.compress(text)
    if end == ".zst":
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd") as into:
            into.write(text)
        return out.getvalue().to_pybytes()
    return text


def write(folder: pathlib.Path, size: int, files: int, texts: list[pathlib.Path] = TEXTS) -> None:
    """A folder of so many files, and so many bytes before they are packed."""
    sources = [path.read_bytes() for path in texts]
    # Of different sizes, as logs are: the largest is twice the smallest.
    shares = [1 + number / max(1, files - 1) for number in range(files)]
    for number, share in enumerate(shares):
        end = ("", ".gz", ".xz", ".zst")[number % 4]
        path = folder / ("east" if number % 3 else "west/roof") / f"device-{number:02}.log{end}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(log(sources[number % len(sources)], int(size * share / sum(shares)), number), end))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--bytes", type=int, default=20_000_000, metavar="N", help="of all files together, unpacked")
    parser.add_argument("--files", type=int, default=16, metavar="N")
    parser.add_argument("texts", type=pathlib.Path, nargs="*", metavar="TEXT")
    given = parser.parse_args()
    write(given.folder, given.bytes, given.files, given.texts or TEXTS)
