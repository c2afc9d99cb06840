import logging
import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys

import mambabyte
import pytest
from conftest import ROOT

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
    try:
        sender.send(stream.feed(b"some text\n").adapted_q16.tolist())
    except mambabyte.Error as error:
        sender.send(error)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_forked_processes_are_refused_and_spawned_ones_go_on(how):
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
    if how == "fork":
        assert isinstance(found, mambabyte.DeviceError) and "spawn" in str(found)
    else:
        assert found == stream.feed(b"some text\n").adapted_q16.tolist()


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
