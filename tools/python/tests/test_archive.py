import io

import mambabyte
import pytest
from conftest import ROOT

TEXT = (ROOT / "models/text/gnss-sample.nmea").read_bytes()


@pytest.mark.parametrize("model, adapt", [("sensor-pico", None), ("sensor-pico", "off"), (None, "1M"), ("sensor-nano", "4K")])
def test_archives_come_back(model, adapt, command, tmp_path):
    archive = mambabyte.compress(TEXT, model, adapt=adapt)
    assert len(archive) < len(TEXT) // 3
    assert mambabyte.decompress(archive, model) == TEXT
    # They are those of the command.
    (tmp_path / "text").write_bytes(TEXT)
    words = ["compress", model or "none", tmp_path / "text", "-o", "-"] + (["--adapt", adapt] if adapt else [])
    assert command(*words) == archive


def test_files_are_read_and_written(tmp_path):
    path = tmp_path / "archive"
    with path.open("wb") as file:
        written = mambabyte.compress(io.BytesIO(TEXT), "sensor-pico", output=file, block=1000)
    assert written == path.stat().st_size
    text = io.BytesIO()
    with path.open("rb") as file:
        assert mambabyte.decompress(file, "sensor-pico", output=text) == len(TEXT)
    assert text.getvalue() == TEXT
    assert mambabyte.decompress(path.read_bytes() * 2, "sensor-pico") == TEXT * 2


def test_what_files_raise_is_raised():
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise ZeroDivisionError("mine")

        def write(self, data):
            raise LookupError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        mambabyte.compress(Broken(), "sensor-pico")
    with pytest.raises(LookupError, match="mine"):
        mambabyte.compress(TEXT, "sensor-pico", output=Broken())

    class Greedy(io.RawIOBase):
        def read(self, size=-1):
            return b"x" * (size + 1)

    with pytest.raises(TypeError, match="more than n"):
        mambabyte.compress(Greedy(), None)


def test_damage_is_said_and_what_was_right_is_kept():
    archive = bytearray(mambabyte.compress(TEXT, "sensor-pico", block=1000))
    archive[len(archive) // 2] ^= 4
    with pytest.raises(mambabyte.DataError, match="at byte") as raised:
        mambabyte.decompress(archive, "sensor-pico")
    kept = raised.value.kept
    assert len(kept) >= 1000 and TEXT.startswith(kept)
    for wrong in (b"", b"nothing", bytes(archive[:50])):
        with pytest.raises(mambabyte.DataError):
            mambabyte.decompress(wrong, "sensor-pico")


def test_memory_is_bounded():
    archive = mambabyte.compress(b"a" * 600_000, None, adapt="4K", block=100_000)
    assert len(archive) < 20_000
    with pytest.raises(mambabyte.FileError, match="max_bytes"):
        mambabyte.decompress(archive, None, max_bytes=250_000)
    with pytest.raises(mambabyte.FileError, match="max_bytes"):
        mambabyte.decompress(archive, None, max_bytes=250_000, output=io.BytesIO())
    assert len(mambabyte.decompress(archive, None, max_bytes=600_000)) == 600_000


def test_archives_need_what_they_were_made_with():
    archive = mambabyte.compress(TEXT, "sensor-pico")
    with pytest.raises(mambabyte.UsageError, match="compressed with the model"):
        mambabyte.decompress(archive, "sensor-nano")
    with pytest.raises(mambabyte.UsageError, match="compressed with the model"):
        mambabyte.decompress(archive)
    with pytest.raises(mambabyte.UsageError):
        mambabyte.compress(TEXT, ROOT / "models/sensor-pico")
    with pytest.raises(mambabyte.UsageError):
        mambabyte.compress(TEXT, None, adapt="off")
    with pytest.raises(mambabyte.UsageError, match="block"):
        mambabyte.compress(TEXT, None, block=0)


def test_primed_adapters(command, tmp_path):
    (tmp_path / "text").write_bytes(TEXT)
    command("prime", "sensor-pico", tmp_path / "text", "-o", tmp_path / "primed")
    archive = mambabyte.compress(TEXT, "sensor-pico", prime=tmp_path / "primed")
    assert len(archive) < len(mambabyte.compress(TEXT, "sensor-pico"))
    assert mambabyte.decompress(archive, "sensor-pico", prime=tmp_path / "primed") == TEXT
    with pytest.raises(mambabyte.UsageError, match="primed adapter"):
        mambabyte.decompress(archive, "sensor-pico")
