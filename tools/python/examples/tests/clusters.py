"""Clusters of real processes on this machine, each of two workers with one core."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Callable, Iterator

BIN = pathlib.Path(sys.executable).parent


@contextlib.contextmanager
def ended(processes: list[subprocess.Popen]) -> Iterator[None]:
    """Ends these processes, and what they have started, at the end; also if this process is asked to end."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        signal.signal(signal.SIGTERM, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def waited(
    what: str, ready: Callable[[], bool], processes: list[subprocess.Popen], log: pathlib.Path, seconds: int = 120
) -> None:
    """Waits until something is ready; fails with the log if a process ends before, or if it takes too long."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until or any(process.poll() is not None for process in processes):
            raise RuntimeError(f"{what} did not start:\n{log.read_text()}")
        time.sleep(0.2)


@contextlib.contextmanager
def ray(scratch: pathlib.Path, workers: int = 2) -> Iterator[dict[str, str]]:
    """A head without cores, and nodes with one each; gives the variables with which a script finds it."""
    port = free_port()
    # Sockets lie below it, and their paths are short.
    place = pathlib.Path(f"/tmp/ray-{os.getpid()}-{port}")
    address = f"127.0.0.1:{port}"
    environment = os.environ | {"RAY_ADDRESS": address, "RAY_USAGE_STATS_ENABLED": "0"}
    common = ["--block", "--disable-usage-stats", "--node-ip-address", "127.0.0.1", "--object-store-memory", "100000000"]
    head = ["--head", "--port", str(port), "--num-cpus", "0", "--include-dashboard", "false", "--temp-dir", str(place)]
    log = scratch / "ray.log"
    try:
        with log.open("w") as out:

            def start(*words: str) -> subprocess.Popen:
                return subprocess.Popen(
                    [BIN / "ray", "start", *common, *words], stdout=out, stderr=out, env=environment, start_new_session=True
                )

            processes: list[subprocess.Popen] = []
            with ended(processes):
                for number, words in enumerate([head, *[["--address", address, "--num-cpus", "1"]] * workers]):
                    processes.append(start(*words))
                    up = number + 1
                    waited("a node of Ray", lambda up=up: log.read_text().count("runtime started") == up, processes, log)
                yield environment
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def spark(scratch: pathlib.Path, workers: int = 2) -> Iterator[dict[str, str]]:
    """A master, and workers with a core each; gives the variables with which a script finds it."""
    import pyspark

    home = pathlib.Path(pyspark.__file__).parent
    port = free_port()
    master = f"spark://127.0.0.1:{port}"
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_MASTER_URL": master,
    }
    log = scratch / "spark.log"
    with log.open("w") as out:

        def start(which: str, *words: str) -> subprocess.Popen:
            command = [
                home / "bin/spark-class",
                f"org.apache.spark.deploy.{which}",
                "--host",
                "127.0.0.1",
                "--webui-port",
                "0",
                *words,
            ]
            return subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)

        processes: list[subprocess.Popen] = []
        with ended(processes):
            processes.append(start("master.Master", "--port", str(port)))
            waited("Spark's master", lambda: "New state: ALIVE" in log.read_text(), processes, log)
            for number in range(workers):
                words = ["--cores", "1", "--memory", "600m", "--work-dir", str(scratch / f"spark-{number}"), master]
                processes.append(start("worker.Worker", *words))
            waited("Spark's workers", lambda: log.read_text().count("Successfully registered") == workers, processes, log)
            yield environment
