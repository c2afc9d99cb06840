"""Ray and Spark on two workers: the tables of one process, byte for byte, whatever happens to the workers."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
from conftest import Engine, tables


def parent(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def name(pid: int) -> str:
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def killed(out: pathlib.Path, spared: set[pathlib.Path], node: bool, running) -> pathlib.Path:
    """Ends a process that is within a file, by SIGKILL, or first what has started it; gives what it has left behind."""
    while running():
        for part in out.rglob(".*.part"):
            if part in spared:
                continue
            pid = int(part.suffixes[-2][1:])
            time.sleep(0.05)
            try:
                victims = [pid]
                # A worker of Spark is forked from another Python process, that is a child of the executor.
                while node and name(victims[0]) not in ("raylet", "java"):
                    victims.insert(0, parent(victims[0]))
                for victim in victims:
                    os.kill(victim, signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                continue
            time.sleep(0.05)
            # Its name says that it did not come to an end; otherwise another one has to.
            if part.exists():
                return part
        time.sleep(0.01)
    pytest.fail("the work was done before enough of the workers were killed")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Both outputs: spark-submit puts a script's errors on standard output, and its own log on the other one."""
    return done.stdout + done.stderr


def test_two_workers_write_what_one_process_writes(
    engine: Engine, folder: pathlib.Path, expected: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    done = engine.run(folder, tmp_path / "tables", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2].startswith("8 of 8 files, ")
    assert tables(tmp_path / "tables") == tables(expected)


def test_bad_files_are_named_and_the_others_written(
    engine: Engine, folder: pathlib.Path, expected: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    logs, out = tmp_path / "logs", tmp_path / "tables"
    shutil.copytree(folder, logs)
    bad = logs / "east/device-05.log.gz"
    bad.write_bytes(bad.read_bytes()[:-2000])
    done = engine.run(logs, out, "--workers", 2)
    assert done.returncode == 1
    errors = [line for line in said(done).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {bad}: "), said(done)
    wanted = tables(expected)
    del wanted["east/device-05.log.gz.parquet"]
    assert tables(out) == wanted


def test_an_empty_folder_is_refused(engine: Engine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "logs").mkdir()
    done = engine.run(tmp_path / "logs", tmp_path / "tables")
    assert done.returncode == 2 and f"error: {tmp_path}/logs: no files in this folder" in said(done)
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize("node", [False, True], ids=["process", "node"])
def test_killed_workers_change_nothing(
    node: bool, engine: Engine, folder: pathlib.Path, expected: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "tables"
    work = engine.start(folder, out, "--workers", 2)
    try:
        left: set[pathlib.Path] = set()
        for _ in range(1 if node else 3):
            left.add(killed(out, left, node, lambda: work.poll() is None))
        output, errors = work.communicate(timeout=600)
    finally:
        work.kill()
        work.wait()
    assert work.returncode == 0, errors
    # Ray may say among it what it does about the workers.
    assert any(line.startswith("8 of 8 files, ") for line in output.splitlines()), output
    assert tables(out) == tables(expected)
