"""Scores a folder of logs into Parquet, one table for each file: in this process, or as what `ray_score.py` and
`spark_score.py` hand to their workers.

    python score_folder.py LOGS TABLES [--model NAME] [--adapt 16K] [--false-alarms 1%]

LOGS is searched for files, packed (.gz, .xz, .zst) or not; names that begin with a dot are left out. The table of
LOGS/a/b.log.gz is TABLES/a/b.log.gz.parquet, with a row for each line:

    file          string   a/b.log.gz
    line          int64    its number in the file, from 1
    bits          double   surprise in bits per byte, of model and adapter together, three decimals
    flag          bool     the detector alarms
    worst_offset  int32    the byte that stands out most, from the line's first byte

Every file is a stream of its own, so that no result depends on who reads which file, or when. A table appears whole or not
at all: it is written under another name and renamed. A file that cannot be read has no table, is named on standard error,
and makes the exit status 1; the others have theirs.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import itertools
import lzma
import os
import pathlib
import socket
import sys
import time
import uuid
import zlib
from typing import Any, BinaryIO, Callable, Iterable, Iterator

import mambabyte
import pyarrow as pa
import pyarrow.parquet

SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("bits", pa.float64(), nullable=False),
        pa.field("flag", pa.bool_(), nullable=False),
        pa.field("worst_offset", pa.int32(), nullable=False),
    ]
)
#: Rows that are kept in memory before they are written.
ROWS = 1 << 15


class Wrong(Exception):
    """What was asked for cannot be done; nothing has been written."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What every worker must know. Pickled, a shipped model is its name and any other blob its bytes."""

    logs: str
    tables: str
    model: mambabyte.Model
    adapt: str | None
    false_alarms: str
    run: str

    def score(self, file: str) -> dict[str, Any]:
        """Writes the table of one file: a summary of it, in which `error` says what went wrong, or is empty."""
        row = {"file": file, "lines": 0, "bytes": 0, "flags": 0, "begin": time.time(), "end": 0.0, "cpu": 0.0, "error": ""}
        cpu = time.process_time()
        table = pathlib.Path(self.tables, f"{file}.parquet")
        # A process that ends while it writes leaves this behind; whoever reads the file after it has another one.
        part = table.with_name(f".{table.name}.{self.run}.{socket.gethostname()}.{os.getpid()}.part")
        try:
            table.parent.mkdir(parents=True, exist_ok=True)
            try:
                with Text(pathlib.Path(self.logs, file)) as text, pa.parquet.ParquetWriter(part, SCHEMA) as out:
                    stream = mambabyte.Stream(self.model, adapt=self.adapt, false_alarms=self.false_alarms)
                    lines = rows(file, stream.lines(text))
                    while batch := list(itertools.islice(lines, ROWS)):
                        columns = [pa.array(column, field.type) for column, field in zip(zip(*batch), SCHEMA)]
                        out.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
                        row["lines"] += len(batch)
                        row["flags"] += sum(flag for *_, flag, _ in batch)
                    row["bytes"] = stream.position
                os.replace(part, table)
            finally:
                part.unlink(missing_ok=True)
        # Said once: trying again would find the same. What ends this process is for the engine to see.
        except (Unreadable, mambabyte.Error) as error:
            row["error"] = str(error)
        except (OSError, pa.ArrowException) as error:
            row["error"] = f"{table}: {reason(error)}"
        row["end"], row["cpu"] = time.time(), time.process_time() - cpu
        return row


class Unreadable(Exception):
    """A file that cannot be read to its end, by name."""


class Text:
    """The text of a file, unpacked by what its name ends with."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.file = self.tried(lambda: OPEN.get(path.suffix, open_plain)(path))

    def read(self, size: int) -> bytes:
        return self.tried(lambda: self.file.read(size))

    def tried(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
            raise Unreadable(f"{self.path}: {reason(error)}") from error

    def __enter__(self) -> Text:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def open_plain(path: pathlib.Path) -> BinaryIO:
    return path.open("rb")


OPEN: dict[str, Callable[[pathlib.Path], Any]] = {
    ".gz": gzip.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.input_stream(path, compression="zstd"),
}


def reason(error: Exception) -> str:
    """What an error says, without the path, which is said before it."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def rows(file: str, lines: Iterable[mambabyte.Line]) -> Iterator[tuple[str, int, float, bool, int]]:
    """A row for each line, also for one that was scored in pieces."""
    for number, pieces in itertools.groupby(lines, key=lambda piece: piece.line):
        one = list(pieces)
        bits = one[0].bits_per_byte
        if len(one) > 1:
            bits = round(sum(piece.bits_per_byte * piece.bytes for piece in one) / sum(piece.bytes for piece in one), 3)
        worst = max((piece for piece in one), key=lambda piece: piece.worst.bits)
        yield file, number, bits, any(piece.alarm for piece in one), worst.start - one[0].start + worst.worst.offset


def files_of(logs: pathlib.Path, tables: pathlib.Path) -> list[str]:
    """The files of a folder, the largest first, so that none of these is begun last.

    Raises `Wrong` for a folder that is missing, empty or within the other one, and for names that are not UTF-8.
    """
    if not logs.is_dir():
        raise Wrong(f"{logs}: {'no folder' if logs.exists() else 'no such folder'}")
    if tables.exists() and not tables.is_dir():
        raise Wrong(f"{tables}: no folder")
    one, other = logs.resolve(), tables.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise Wrong(f"{tables}: logs and tables need folders of their own, none within the other")
    found = []

    def failed(error: OSError) -> None:
        raise Wrong(f"{error.filename}: {error.strerror}")

    for folder, folders, names in os.walk(logs, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = pathlib.Path(folder, name)
            if not name.startswith(".") and path.is_file():
                found.append((-path.stat().st_size, path.relative_to(logs).as_posix()))
    for _, name in found:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise Wrong(f"{logs}: the name {os.fsencode(name)!r} is not UTF-8") from None
    if not found:
        raise Wrong(f"{logs}: no files in this folder")
    return [name for _, name in sorted(found)]


def main(words: str, run: Callable[[Job, list[str], int | None], Iterable[dict[str, Any]]], alone: bool = False) -> int:
    """The command: `run` gets what to do, the files and the number of workers, and gives a summary of each file."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=pathlib.Path, metavar="LOGS", help="a folder of logs: plain, .gz, .xz, .zst")
    parser.add_argument("tables", type=pathlib.Path, metavar="TABLES", help="a folder for the tables; made if it is not there")
    parser.add_argument("--model", default="sensor-nano", help="a shipped model's name, a blob or a checkpoint")
    parser.add_argument("--adapt", default="16K", help="the adapter's memory, 4K to 1M, or off")
    parser.add_argument("--false-alarms", default="1%", metavar="SHARE", help="share of quiet lines that may be flagged")
    if not alone:
        parser.add_argument(
            "--workers", type=int, metavar="N", help="files that are read at the same time; all that there is room for"
        )
    parser.set_defaults(workers=None)
    given = parser.parse_args()
    try:
        if given.workers is not None and given.workers < 1:
            raise Wrong(f"--workers {given.workers}: at least one is needed")
        files = files_of(given.logs, given.tables)
        adapt = None if given.adapt == "off" else given.adapt
        # Threads would only take each other's time: there is a process for each core.
        model = mambabyte.Model(given.model, threads=1)
        mambabyte.Stream(model, adapt=adapt, false_alarms=given.false_alarms)
        given.tables.mkdir(parents=True, exist_ok=True)
    except (Wrong, mambabyte.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    logs, tables = given.logs.resolve(), given.tables.resolve()
    job = Job(str(logs), str(tables), model, adapt, given.false_alarms, uuid.uuid4().hex[:8])
    begin = time.perf_counter()
    try:
        summaries = sorted(run(job, files, given.workers), key=lambda row: row["file"])
    finally:
        # Of workers that ended while they wrote.
        for part in tables.rglob(f".*.{job.run}.*.part"):
            part.unlink(missing_ok=True)
    seconds = time.perf_counter() - begin
    for row in summaries:
        if not row["error"]:
            taken = f"{row['end'] - row['begin']:.1f} s"
            print(f"{row['file']}: {row['lines']} lines, {row['flags']} flagged, {row['bytes']} bytes in {taken}")
    wrong = [row for row in summaries if row["error"]]
    total = sum(row["bytes"] for row in summaries)
    work = max(row["end"] for row in summaries) - min(row["begin"] for row in summaries)
    done = f"{len(summaries) - len(wrong)} of {len(files)} files"
    print(f"{done}, {total} bytes in {seconds:.1f} s; {work:.1f} s from the first file's beginning to the last one's end;")
    print(f"{sum(row['cpu'] for row in summaries):.1f} s of processor time in workers")
    for row in wrong:
        print(f"error: {row['error']}", file=sys.stderr)
    return 1 if wrong else 0


def here(job: Job, files: list[str], workers: int | None) -> Iterator[dict[str, Any]]:
    """One after the other, in this process."""
    return map(job.score, files)


if __name__ == "__main__":
    sys.exit(main(__doc__, here, alone=True))
