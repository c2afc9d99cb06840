import mambabyte
import pytest
from conftest import ROOT

PROMPT = b"$GPGGA,0927"


@pytest.mark.parametrize("adapt", [None, "16K"])
def test_text_is_that_of_the_command(adapt, command):
    expected = command("generate", "sensor-nano", "--prompt", PROMPT.decode(), "-n", 300, "--seed", 7, "--adapt", adapt or "off")
    pieces = list(mambabyte.generate("sensor-nano", PROMPT, 300, seed=7, adapt=adapt))
    assert b"".join(pieces) == expected and len(pieces) > 1
    assert mambabyte.generate("sensor-nano", PROMPT, 300, seed=7, adapt=adapt).read() == expected


@pytest.mark.parametrize("speculate", ["suffix", "adapter", "sensor-pico"])
def test_drafts_change_nothing(speculate):
    plain = mambabyte.generate("sensor-nano", PROMPT, 200, seed=3).read()
    drafted = mambabyte.generate("sensor-nano", PROMPT, 200, seed=3, speculate=speculate)
    assert drafted.read() == plain
    assert drafted.stats["written"] == 200 and drafted.stats["drafted"] > 0
    assert mambabyte.generate("sensor-nano", PROMPT, 5).stats is None
    def rejected():
        keywords = {"speculate": speculate, "speculate_mode": "rejection", "draft_len": 4}
        return mambabyte.generate("sensor-nano", PROMPT, 200, seed=3, **keywords).read()

    # Where drafts end decides what the text is: not the time that a piece takes.
    assert len(rejected()) == 200 and rejected() == rejected()


def test_texts_to_stop_at():
    whole = mambabyte.generate("sensor-nano", PROMPT, 500, seed=1).read()
    for stop in (whole[40:43], whole[100:101], whole[300:340]):
        end = whole.index(stop) + len(stop)
        generation = mambabyte.generate("sensor-nano", PROMPT, 500, seed=1, stop=[stop, b"never there"])
        assert generation.read() == whole[:end] and list(generation) == []


def test_an_adapter_alone_and_floats():
    assert mambabyte.generate(None, b"abcabcabcabc" * 20, 9, adapt="16K", temperature=0).read() == b"abcabcabc"
    assert len(mambabyte.generate(ROOT / "models/sensor-pico", PROMPT, 20).read()) == 20
    assert mambabyte.generate("sensor-pico", None, 0).read() == b""


def test_wrong_arguments():
    for keywords in (
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"top_k": 257},
        {"stop": [b""]},
        {"adapt": "2K"},
        {"speculate": "no-such-model"},
        {"speculate": "suffix", "draft_len": 1000},
        {"speculate": "suffix", "speculate_mode": "fast"},
    ):
        with pytest.raises(mambabyte.UsageError):
            mambabyte.generate("sensor-pico", PROMPT, **keywords)
    with pytest.raises(mambabyte.UsageError):
        mambabyte.generate(None, PROMPT)
    with pytest.raises(mambabyte.UsageError, match="adapter reads byte by byte"):
        mambabyte.generate(None, PROMPT, adapt="4K", speculate="suffix")
    for keywords in ({"seed": -1}, {"n": -1}, {"prompt": "str"}, {"stop": ["str"]}):
        with pytest.raises((TypeError, OverflowError)):
            mambabyte.generate("sensor-pico", **keywords)
