"""What the tests share: a folder of logs, and the scripts on their clusters."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pathlib
import subprocess
import sys
from typing import Any, Iterator
from unittest import mock

import clusters
import logs
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]
# For the tests that import the scripts.
sys.path.insert(0, str(EXAMPLES))

import score_folder  # noqa: E402


class Engine:
    """One of the scripts, and where it runs."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name, self.environment = name, environment

    def command(self, *words: Any) -> list[str]:
        begin = [sys.executable]
        if self.name == "spark":
            master = self.environment["SPARK_MASTER_URL"]
            begin = [
                str(clusters.BIN / "spark-submit"),
                "--master",
                master,
                "--executor-memory",
                "512m",
                "--driver-memory",
                "512m",
            ]
        script = {"alone": "score_folder.py", "ray": "ray_score.py", "spark": "spark_score.py"}[self.name]
        return [*begin, str(EXAMPLES / script), *map(str, words)]

    def start(self, *words: Any) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*words), env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, timeout=600)


def tables(folder: pathlib.Path) -> dict[str, str]:
    """Everything in a folder, hidden or not, by name: hashes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Eight logs, half a megabyte together."""
    place = tmp_path_factory.mktemp("logs")
    logs.write(place, 500_000, 8)
    return place


class Alone(Engine):
    """One process, without any engine: this one, which has the modules already."""

    def run(self, *words: Any) -> subprocess.CompletedProcess[str]:
        command, out, err = self.command(*words)[1:], io.StringIO(), io.StringIO()
        with mock.patch.object(sys, "argv", command), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = score_folder.main("", score_folder.here, alone=True)
        return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def alone() -> Engine:
    return Alone("alone", dict(os.environ))


@pytest.fixture(scope="session")
def expected(folder: pathlib.Path, alone: Engine, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The tables of the folder as one process writes them."""
    place = tmp_path_factory.mktemp("expected")
    done = alone.run(folder, place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module", params=["ray", "spark"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A script on a cluster of two workers."""
    with getattr(clusters, request.param)(tmp_path_factory.mktemp(request.param)) as environment:
        yield Engine(request.param, environment)
