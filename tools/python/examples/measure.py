"""Two workers against one: `measure.py [--bytes N] [--files N] [--rounds N] [--engine ray] [--engine spark] [TEXT...]`.

Writes logs (`tests/logs.py`, of the texts that are named), scores them with one process, and with one and with two workers on
a cluster of two, in turns; every table must be that of the one process. *Scoring* is the time from the first file's beginning
to the last one's end; *whole* is that of the command, with what the engine takes to start. Prints rows for `docs/CLUSTER.md`.
Memory: the largest that a process was (VmHWM) after it has read a file, and what a hundred more streams take.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tests"))

import clusters
import logs
from conftest import Engine, tables

MEMORY = """
import pathlib, sys
def now(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])
import mambabyte, pyarrow.parquet, score_folder
imported = now("VmRSS")
job = score_folder.Job(sys.argv[1], sys.argv[2], mambabyte.Model("sensor-nano", threads=1), "16K", "1%", "memory")
for file in sys.argv[3:5]:
    error = job.score(file)["error"]
    assert not error, error
    print(imported, now("VmHWM"))
streams = [mambabyte.Stream(job.model) for _ in range(100)]
before = now("VmRSS")
for stream in streams:
    stream.feed(b"a line\\n" * 100)
print(before, now("VmRSS"))
"""


def timed(engine: Engine, folder: pathlib.Path, out: pathlib.Path, *words: object) -> tuple[float, ...]:
    """Seconds of the whole command; from the first file's beginning to the last one's end; of processor time."""
    begin = time.monotonic()
    done = engine.run(folder, out, *words)
    if done.returncode:
        sys.exit(done.stderr)
    whole = time.monotonic() - begin
    said = re.search(r"([0-9.]+) s from the first .*\n([0-9.]+) s of processor", done.stdout)
    return whole, float(said[1]), float(said[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=20_000_000)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engine", action="append", choices=["ray", "spark"])
    parser.add_argument("texts", type=pathlib.Path, nargs="*", metavar="TEXT")
    given = parser.parse_args()
    if given.files < 8:
        parser.error("--files: 8 or more, of which two are not packed")
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        folder = place / "logs"
        logs.write(folder, given.bytes, given.files, given.texts or logs.TEXTS)
        alone = Engine("alone", dict(os.environ))
        times: dict[tuple[str, int], list[tuple[float, ...]]] = {}
        times["one process", 1] = [timed(alone, folder, place / "expected")]
        expected = tables(place / "expected")
        for name in given.engine or ["ray", "spark"]:
            with getattr(clusters, name)(place) as environment:
                engine = Engine(name, environment)
                for _ in range(given.rounds):
                    for workers in (1, 2):
                        times.setdefault((name, workers), []).append(
                            timed(engine, folder, place / "tables", "--workers", workers)
                        )
                        if tables(place / "tables") != expected:
                            sys.exit(f"{name}, {workers} workers: other tables than those of one process")
            times["one process", 1].append(timed(alone, folder, place / "expected"))
        load = f"load {os.getloadavg()[0]:.1f} at the end"
        print(f"{given.bytes} bytes in {given.files} files, {os.cpu_count()} cores, {load}, {given.rounds} rounds\n")
        print(
            "| | workers | scoring, s | bytes/s | bytes/s of processor time | whole, s | against one worker: scoring | whole |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for (name, workers), found in times.items():
            whole, scoring, cpu = (statistics.median(column) for column in zip(*found))
            ratios = ["", ""]
            if workers == 2:
                # Each round's own, so that what else the machine does is in both.
                pairs = list(zip(times[name, 1], found))
                ratios = [f"{statistics.median(one[i] / two[i] for one, two in pairs):.2f}" for i in (1, 0)]
            speeds = f"{given.bytes / scoring:,.0f} | {given.bytes / cpu:,.0f}"
            print(f"| {name} | {workers} | {scoring:.1f} | {speeds} | {whole:.1f} | {' | '.join(ratios)} |")
        plain = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.log"))
        command = [sys.executable, "-c", MEMORY, folder, place / "memory", *plain[:2]]
        path = str(pathlib.Path(__file__).resolve().parent)
        said = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True).stdout
        (imported, first), (_, second), (before, after) = (map(int, line.split()) for line in said.splitlines())
        print(f"\nMemory of a worker: {imported} KiB after the imports, at most {first} with the first file,")
        print(f"{second} with the second; a hundred streams more: {(after - before) / 100:.0f} KiB each")


if __name__ == "__main__":
    main()
