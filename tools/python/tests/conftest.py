"""What the tests share: the repository's texts and golden values, and the command, if it is built."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
MODELS = ("sensor-pico", "sensor-nano", "sensor-micro", "prose-small")
PRESETS = ("4K", "8K", "16K", "32K", "64K", "1M")


def model_path(name: str) -> pathlib.Path:
    return ROOT / "models" / name / "model.mbb"


@pytest.fixture(scope="session")
def golden_text() -> bytes:
    return (ROOT / "models/text/golden-4096.txt").read_bytes()


@pytest.fixture(scope="session")
def log() -> bytes:
    """Two logs with damaged bytes, so that something is odd."""
    text = bytearray((ROOT / "models/text/request-latency.csv").read_bytes() + (ROOT / "models/text/gnss-sample.nmea").read_bytes())
    for place in range(5000, len(text), 2917):
        text[place] ^= 0x10
    return bytes(text.replace(b"\r", b""))


@pytest.fixture(scope="session")
def command():
    """Runs `mambabyte` of this checkout."""
    program = pathlib.Path(os.environ.get("MAMBABYTE_PROGRAM", ROOT / "target/debug/mambabyte"))
    if not program.is_file():
        pytest.skip("the command is not built: cargo build")

    def run(*words, text: bytes = b"") -> bytes:
        return subprocess.run([program, *map(str, words)], input=text, check=True, capture_output=True).stdout

    return run
