"""Calls with wrong types, lengths and numbers, from several threads and in processes that are forked meanwhile: exceptions only.
`calls.py COUNT [SEED]`.
"""

import copy
import io
import os
import pickle
import random
import signal
import sys
import tempfile
import threading
import time
import warnings

import mambabyte
import numpy as np

# That a process with threads is forked is what is tried here.
warnings.simplefilter("ignore", DeprecationWarning)
# Files that calls write.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)
count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
models = [mambabyte.Model("sensor-pico", threads=1), mambabyte.Model("sensor-pico")]
streams = [mambabyte.Stream(models[0]), mambabyte.Stream(models[1], adapt="4K"), mambabyte.Stream(adapt="8K")]
TEXT = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n"


def value(chance):
    return chance.choice(
        [
            lambda: None,
            lambda: chance.choice([0, 1, -1, 3, 255, 2**31, 2**63, -(2**70), True]),
            lambda: chance.choice([0.0, 1.0, -1.5, float("nan"), float("inf")]),
            lambda: chance.choice(["", "16K", "off", "1%", "auto", "suffix", "x" * 300, "\0", "\ud800", "none"]),
            lambda: TEXT[: chance.randrange(len(TEXT))],
            lambda: bytearray(TEXT * chance.randrange(3)),
            lambda: memoryview(TEXT)[:: chance.choice([1, 2, -1])],
            lambda: np.zeros(chance.randrange(5), chance.choice([np.uint8, np.float64, np.object_])),
            lambda: [TEXT[: chance.randrange(9)] for _ in range(chance.randrange(4))],
            lambda: [chance.choice([None, "x", 1])],
            lambda: {},
            lambda: io.BytesIO(TEXT),
            lambda: io.StringIO("text"),
            lambda: chance.choice(models),
            lambda: chance.choice(streams),
            object,
        ]
    )()


NAMES = ["adapt", "window", "threads", "device", "false_alarms", "threshold", "ignore", "n", "seed", "top_k", "temperature", "stop",
         "speculate", "draft_len", "prime", "block", "output", "max_bytes", "end", "source", "prompt", "x"]


def call(chance):
    stream = chance.choice(streams)
    what = chance.choice(
        [
            mambabyte.Model, mambabyte.Model.shipped, mambabyte.Stream, mambabyte.score, mambabyte.compress, mambabyte.decompress,
            mambabyte.generate, mambabyte.export, stream.feed, stream.lines, stream.restore, stream.fork, stream.logits, stream.distribution,
            stream.snapshot, stream.finish, models[0].checksum, copy.copy, copy.deepcopy,
            lambda *a, **k: pickle.loads(pickle.dumps(chance.choice(streams + models))),
            lambda *a, **k: list(stream.lines(*a, **k)),
            lambda *a, **k: mambabyte.generate(models[0], TEXT, chance.randrange(9), **k).read(),
            lambda *a, **k: mambabyte.AnomalyDetector(*a, **k).fit([TEXT]).predict([TEXT]),
        ]
    )
    arguments = [value(chance) for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3]))]
    keywords = {chance.choice(NAMES): value(chance) for _ in range(chance.choice([0, 0, 0, 1, 2]))}
    if not isinstance(keywords.get("n"), (type(None), str)):
        keywords["n"] = 3  # What is long is long.
    try:
        what(*arguments, **keywords)
    except Exception as error:
        # A panic of Rust is a BaseException, and ends this.
        assert "panicked" not in str(error)
        return 1
    return 0


def fork(chance):
    """A few calls in a forked process, which ends."""
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            for _ in range(4):
                call(chance)
            status = 0
        finally:
            os._exit(status)
    until = time.monotonic() + 120
    while (done := os.waitpid(forked, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(forked, signal.SIGKILL)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(done[1]) == 0, "a forked process has crashed or hangs"


raised, forks, lock = 0, 0, threading.Lock()


def work(number):
    global raised, forks
    chance, mine, mine_forks = random.Random(seed * 1000 + number), 0, 0
    for _ in range(count // 4):
        mine += call(chance)
        if os.name == "posix" and chance.random() < 0.001:
            fork(chance)
            mine_forks += 1
    with lock:
        raised += mine
        forks += mine_forks


failed = []
threading.excepthook = lambda what: failed.append(what)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert not failed, failed[0]
assert 0 < raised < count
expected = mambabyte.Stream(models[0]).feed(TEXT).adapted_q16.tolist()
assert mambabyte.Stream("sensor-pico").feed(TEXT).adapted_q16.tolist() == expected
os.chdir("/")
print(f"{count} calls, {raised} exceptions, {forks} forks")
