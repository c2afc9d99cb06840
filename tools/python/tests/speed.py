"""How fast the package is beside the command, and with two threads: `speed.py PROGRAM [--mib N] [--texts N] [--rounds N]`.

PROGRAM is `mambabyte` of a release build, and the package a wheel that maturin made. What is compared runs in turns, and of each
the best of all rounds counts: a machine is never quite idle. On one core processor time is compared, which others disturb less;
on two it is the clock.
"""

import argparse
import json
import os
import pathlib
import tempfile
import time

import mambabyte

ROOT = pathlib.Path(__file__).resolve().parents[3]
BLOCK = 1 << 20


def text(length: int) -> bytes:
    logs = b"".join((ROOT / "models/text" / name).read_bytes() for name in ("gnss-sample.nmea", "request-latency.csv"))
    return (logs * (length // len(logs) + 1))[:length]


def cpu_of(words: list[str]) -> float:
    """Processor time of a command, in seconds."""
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(words[0], words, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, words
    return usage.ru_utime + usage.ru_stime


def fed(model: mambabyte.Model, adapt: str | None, data: bytes) -> float:
    """Processor time of this process, in seconds, for feeding `data` in blocks."""
    stream = mambabyte.Stream(model, adapt=adapt)
    begun = time.process_time()
    for at in range(0, len(data), BLOCK):
        stream.feed(data[at : at + BLOCK])
    return time.process_time() - begun


def scored(model: mambabyte.Model, texts: list[bytes]) -> float:
    begun = time.perf_counter()
    mambabyte.score(model, texts)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--model", default="sensor-nano")
    parser.add_argument("--mib", type=int, default=2)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    data = text(given.mib * BLOCK)
    one = mambabyte.Model(given.model, threads=1)
    found = {"model": given.model, "rounds": given.rounds, "load_before": os.getloadavg()[0]}
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        words = [given.program, "eval", given.model, file.name, "--threads", "1", "--json"]
        for adapt in (None, "16K"):
            feed, command = [], []
            for _ in range(given.rounds):
                command.append(cpu_of(words + (["--adapt", adapt] if adapt else [])))
                feed.append(fed(one, adapt, data))
            name = f"feed_{adapt or 'net'}"
            found[name] = {"mb_per_s": len(data) / min(feed) / 1e6, "eval_mb_per_s": len(data) / min(command) / 1e6}
            found[name]["of_eval"] = min(command) / min(feed)
    texts = [data[at * 4096 % (len(data) - 4096) :][:4096] for at in range(given.texts)]
    two = mambabyte.Model(given.model, threads=2)
    times = [(scored(one, texts), scored(two, texts)) for _ in range(given.rounds)]
    single, double = (min(column) for column in zip(*times))
    found["score"] = {"texts": len(texts), "one_thread_s": single, "two_threads_s": double, "times": single / double}
    found["load_after"] = os.getloadavg()[0]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
