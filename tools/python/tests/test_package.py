import logging
import multiprocessing
import os
import pathlib
import pickle
import select
import signal
import subprocess
import sys
import threading
import time

import mambabyte
import pytest
from checkpoints import write
from conftest import ROOT

GOLDEN = (ROOT / "models/text/golden-4096.txt").read_bytes()

SLOW = pytest.mark.slow


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_it_is_the_installed_package():
    folder = pathlib.Path(mambabyte.__file__).parent
    assert "site-packages" in folder.parts
    assert (folder / "py.typed").is_file() and (folder / "_mambabyte.pyi").is_file()
    assert list(folder.glob("_mambabyte.abi3.so"))
    for name in mambabyte.__all__:
        assert getattr(mambabyte, name).__doc__ or name == "__version__", name


def test_import_is_quick():
    code = "import numpy, time; begun = time.perf_counter(); import mambabyte; print(time.perf_counter() - begun)"
    # The least of some: this machine may be busy.
    assert min(float(python(code)) for _ in range(5)) <= 0.05


def test_nothing_but_numpy_is_imported():
    code = "import sys; import mambabyte; print(sorted(m for m in ('sklearn', 'json', 'subprocess', 'pyarrow', 'scipy') if m in sys.modules))"
    before = "import sys; import numpy; print(sorted(m for m in ('sklearn', 'json', 'subprocess', 'pyarrow', 'scipy') if m in sys.modules))"
    assert python(code) == python(before)


@pytest.mark.skipif("MAMBABYTE_WHEEL" not in os.environ, reason="MAMBABYTE_WHEEL is not set")
def test_the_wheel_is_small():
    assert pathlib.Path(os.environ["MAMBABYTE_WHEEL"]).stat().st_size <= 6_000_000


def test_types():
    pytest.importorskip("mypy")
    here = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", os.devnull, str(here / "typed.py")],
        capture_output=True,
        text=True,
    )
    wrong = [line for line in (here / "typed.py").read_text().splitlines() if "# wrong" in line]
    assert done.stdout.count("error:") == len(wrong), done.stdout + done.stderr


def test_stubs_are_those_of_the_module():
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "mambabyte._mambabyte", "--ignore-missing-stub", "--allowlist", str(pathlib.Path(__file__).parent / "stubs.txt"), "--ignore-unused-allowlist"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_notes_go_to_the_logger(caplog, tmp_path):
    import json
    import shutil

    # A checkpoint whose tensors have the dimensions, and whose configuration does not say them all.
    shutil.copytree(ROOT / "models/sensor-pico", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config.pop("vocab_size", None)
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.INFO, logger="mambabyte"):
        mambabyte.train([ROOT / "models/text/gnss-sample.nmea"], tmp_path / "run", steps=2, d_model=16, n_layer=1, batch=1, window=64, refine=0)
    assert any("parameters" in record.message for record in caplog.records if record.name == "mambabyte")


def child(stream, sender):
    sender.send(stream.feed(b"some text\n").adapted_q16.tolist())


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes_go_on_with_a_stream(how):
    stream = mambabyte.Stream("sensor-pico")
    stream.feed(b"before\n")
    context = multiprocessing.get_context(how)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(stream, sender))
    process.start()
    assert receiver.poll(60)
    found = receiver.recv()
    process.join(60)
    assert process.exitcode == 0
    assert found == stream.feed(b"some text\n").adapted_q16.tolist()


def in_a_fork(work):
    """What `work` gives in a forked process, as text; no test waits for ever."""
    reader, writer = os.pipe()
    forked = os.fork()
    if forked == 0:
        try:
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    found, ready = b"", True
    while ready:
        ready, _, _ = select.select([reader], [], [], 60)
        part = os.read(reader, 1 << 16) if ready else b""
        found += part
        if not part:
            break
    os.close(reader)
    if not ready:
        os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)
    assert ready, "the forked process hangs"
    return found.decode()


def test_a_forked_process_has_threads_of_its_own(tmp_path):
    # Layers that are wide enough for a step on two threads.
    write(tmp_path / "wide", d_model=512, n_layer=1, d_inner=1024, d_state=8, d_conv=4, dt_rank=16, norm="rms", tied=True)
    (tmp_path / "text").write_bytes(GOLDEN[:3000])
    blob = mambabyte.convert(tmp_path / "wide", refine=0, calibrate=tmp_path / "text").blob
    wide = mambabyte.Model(blob, threads=2)
    models = [wide, mambabyte.Model("sensor-nano", threads=2), mambabyte.Model(ROOT / "models/sensor-pico", threads=2)]
    streams = [mambabyte.Stream(model, adapt=None) for model in models] + [mambabyte.Stream("sensor-nano")]
    generation = mambabyte.generate(models[1], b"$GP", 90, seed=3)
    next(generation)

    def work():
        """Steps, blocks, many texts, archives, text."""
        found = [stream.feed(GOLDEN[:2000][at : at + 1]).net_q16 for stream in streams for at in range(4)]
        found += [stream.feed(GOLDEN[:1500]).net_q16 for stream in streams]
        found += [list(mambabyte.score(model, [GOLDEN[:500], GOLDEN[500:900], GOLDEN[:99]]).bits) for model in models]
        found += [mambabyte.compress(GOLDEN[:300], models[1]), generation.read()]
        found += [mambabyte.Model(blob, threads=2).checksum(GOLDEN[:50])]
        return [list(item) if hasattr(item, "tolist") else item for item in found]

    for stream in streams:
        [stream.feed(b"x") for _ in range(3)]
        stream.feed(GOLDEN[:600])
    mambabyte.score(models[1], [GOLDEN[:500]] * 4)
    # A process of a process, which has computed, too.
    first = in_a_fork(work)
    second = in_a_fork(lambda: (in_a_fork(work), repr(work())))
    expected = repr(work())
    assert first == expected and second == repr((expected, expected))


def test_a_stream_that_was_at_work_is_refused_in_a_fork():
    stream, busy = mambabyte.Stream("sensor-nano"), threading.Event()

    def source():
        busy.set()
        yield b"some text " * 40_000

    worker = threading.Thread(target=lambda: list(stream.lines(source())))
    worker.start()
    busy.wait()
    time.sleep(0.1)

    def work():
        try:
            return stream.feed(b"x")
        except mambabyte.UsageError as error:
            return str(error)

    found = in_a_fork(work)
    worker.join()
    assert "forked while" in found


@SLOW
def test_random_calls_raise_exceptions_only():
    """A million calls with arguments of every kind, in a process of their own: MAMBABYTE_CALLS says how many."""
    calls = os.environ.get("MAMBABYTE_CALLS", "200000")
    subprocess.run([sys.executable, str(pathlib.Path(__file__).parent / "calls.py"), calls], check=True)


def test_some_random_calls():
    subprocess.run([sys.executable, str(pathlib.Path(__file__).parent / "calls.py"), "3000"], check=True)


def test_pickles_are_checked():
    stream = pickle.dumps(mambabyte.Stream("sensor-pico", adapt="4K"))
    for place in range(0, len(stream), 97):
        damaged = bytearray(stream)
        damaged[place] ^= 0x55
        try:
            pickle.loads(bytes(damaged))
        except Exception:
            pass
