import copy
import io
import json
import os
import pickle
import random
import signal
import threading

import mambabyte
import numpy as np
import pytest
from conftest import MODELS, ROOT

TEXT = (ROOT / "models/text/gnss-sample.nmea").read_bytes()


def cost(surprise):
    return [None if bits is None else bits.tolist() for bits in (surprise.net_q16, surprise.adapted_q16)]


def test_surprise_is_arrays():
    stream = mambabyte.Stream("sensor-pico")
    surprise = stream.feed(TEXT)
    for bits in (surprise.net_q16, surprise.adapted_q16):
        assert bits.dtype == np.uint32 and bits.shape == (len(TEXT),)
    assert surprise.adapted.dtype == np.float32
    np.testing.assert_array_equal(surprise.adapted, surprise.adapted_q16.astype(np.float64) / 65536)
    np.testing.assert_array_equal(surprise.net, surprise.net_q16.astype(np.float64) / 65536)
    assert surprise.bits_per_byte == pytest.approx(float(surprise.adapted.astype(float).mean()))
    assert surprise.text is not None and len(surprise) == len(TEXT) and stream.position == len(TEXT)


def test_arrays_are_views():
    text = bytes(TEXT)
    surprise = mambabyte.Stream("sensor-pico").feed(text)
    assert surprise.text is text
    first, second = surprise.net_q16, surprise.net_q16
    assert first.__array_interface__["data"][0] == second.__array_interface__["data"][0]
    # It owns its memory through what Rust has filled, which was not copied.
    assert first.base is not None


@pytest.mark.parametrize("adapt", [None, "off", "4K", "16K", "1M"])
@pytest.mark.parametrize("model", [None, "sensor-pico"])
def test_cuts_change_nothing(model, adapt):
    if model is None and adapt in (None, "off"):
        with pytest.raises(mambabyte.UsageError, match="adapter is all that reads"):
            mambabyte.Stream(model, adapt=adapt)
        return
    whole, chance = mambabyte.Stream(model, adapt=adapt).feed(TEXT), random.Random(3)
    stream, parts, at = mambabyte.Stream(model, adapt=adapt), [], 0
    while at < len(TEXT):
        count = chance.choice([0, 1, 2, 3, 65, 700, 3000])
        parts.append(stream.feed(memoryview(TEXT)[at : at + count]))
        at += count
    for name in ("net_q16", "adapted_q16"):
        expected = getattr(whole, name)
        if expected is None:
            assert all(getattr(part, name) is None for part in parts)
        else:
            np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adapt": None},
        {"adapt": "1M", "false_alarms": 0.001},
        {"threshold": "auto"},
        {"adapt": None, "threshold": 4},
        {"ignore": ["4$"]},
    ],
)
def test_lines_are_the_records_of_the_command(options, log, command):
    words = ["stream", "sensor-nano", "--json", "--no-time"]
    words += ["--adapt", options.get("adapt", "16K") or "off"]
    if "false_alarms" in options:
        words += ["--false-alarms", "0.1%"]
    if "threshold" in options:
        words += ["--threshold", options["threshold"]]
    for regex in options.get("ignore", ()):
        words += ["--ignore", regex]
    expected = [json.loads(line) for line in command(*words, text=log).splitlines()]
    stream = mambabyte.Stream("sensor-nano", **options)
    found = []
    for line in stream.lines(io.BytesIO(log)):
        found.append(line.record())
        found.extend(event.record() for event in line.events)
    end = expected.pop()
    assert found == [record for record in expected if record.get("event") != "learning"]
    assert end["lines"] == stream.totals["lines"] and end["alarms"] == stream.totals["alarms"]
    assert any(record.get("odd") for record in found)


def test_fields_of_a_line_are_those_of_its_record(log):
    names = ("line", "piece", "start", "bytes", "bits_per_byte", "peak", "bits_per_byte_net", "peak_net", "adapt", "alarm", "odd")
    odd = 0
    for line in mambabyte.Stream("sensor-nano").lines(log):
        record = line.record()
        assert {name: getattr(line, name) for name in names} == {name: record[name] for name in names}
        assert line.text == (record["text"].encode() if "text" in record else line.text)
        assert (line.reason, line.rarity) == (record["reason"], record["rarity"])
        worst = record["worst"]
        assert (line.worst.offset, line.worst.byte, line.worst.bits) == (worst["offset"], worst["byte"], worst["bits"])
        if line.odd:
            odd += 1
            assert line.worst.instead == [(i["byte"], i["bits"]) for i in worst["instead"]] and len(line.worst.instead) == 3
    assert odd > 0


def test_sources_of_lines(log):
    def records(source, **keywords):
        return [line.record() for line in mambabyte.Stream("sensor-pico").lines(source, **keywords)]

    whole = records(log)
    assert records(io.BytesIO(log)) == whole
    assert records(log[at : at + 1000] for at in range(0, len(log), 1000)) == whole
    assert records(bytearray(log)) == whole
    assert len(records(log + b"open", end=False)) == len(whole)
    assert len(records(log + b"open")) == len(whole) + 1
    for wrong in ("text", 7, None, ["text"]):
        with pytest.raises(TypeError):
            records(wrong)
    # A generator that raises is heard, and the iterator ends.
    def raises():
        yield log[:100]
        raise KeyError("mine")

    lines = mambabyte.Stream("sensor-pico").lines(raises())
    with pytest.raises(KeyError, match="mine"):
        list(lines)


def taken(lines, error):
    """All records of an iterator that is interrupted, and how often it was."""
    found, times = [], 0
    while True:
        try:
            found.append(next(lines).record())
        except StopIteration:
            return found, times
        except error:
            times += 1


def test_what_interrupts_lines_loses_no_record(log):
    class Source:
        """Raises now and then, between two pieces of any length."""

        def __init__(self):
            self.file, self.turns = io.BytesIO(log), 0

        def __iter__(self):
            return self

        def __next__(self):
            self.turns += 1
            if self.turns % 3 == 0:
                raise ConnectionError("try again")
            if piece := self.file.read(self.turns * 700):
                return piece
            raise StopIteration

    whole = [line.record() for line in mambabyte.Stream("sensor-pico").lines(log)]
    found, times = taken(mambabyte.Stream("sensor-pico").lines(Source()), ConnectionError)
    assert found == whole and times > 2


def test_ctrl_c_loses_no_record(log):
    class Source(io.BytesIO):
        turns = 0

        def read(self, size):
            self.turns += 1
            if self.turns in (1, 2):
                # It comes while the block that is given here is read.
                threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGINT)).start()
            return super().read(size)

    text = (log * (140_000 // len(log) + 1))[:140_000]
    whole = [line.record() for line in mambabyte.Stream("sensor-pico").lines(text)]
    found, times = taken(mambabyte.Stream("sensor-pico").lines(Source(text)), KeyboardInterrupt)
    assert found == whole and times == 2


def test_forks_snapshots_and_pickles_go_on(log):
    half = len(log) // 2 + 17
    stream = mambabyte.Stream("sensor-nano", ignore=["nothing"])
    list(stream.lines(log[:half], end=False))
    snapshot = stream.snapshot()
    others = [stream.fork(), copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    restored = mambabyte.Stream("sensor-nano")
    restored.restore(snapshot)
    rest = [line.record() for line in stream.lines(log[half:])]
    # The line that was open has lost the place where it began, and with it what was likely; all else is equal.
    for other in others:
        found = [line.record() for line in other.lines(log[half:])]
        assert found[1:] == rest[1:]
        assert {**found[0], "worst": None} == {**rest[0], "worst": None}
        assert other.totals == stream.totals
    costs = [line.bits_per_byte for line in restored.lines(log[half:])]
    assert costs == [record["bits_per_byte"] for record in rest]


def test_snapshots_are_refused_by_name():
    stream = mambabyte.Stream("sensor-pico")
    snapshot = stream.snapshot()
    for other in (mambabyte.Stream("sensor-nano"), mambabyte.Stream("sensor-pico", adapt="8K"), mambabyte.Stream()):
        with pytest.raises(mambabyte.DataError):
            other.restore(snapshot)
    for wrong in (b"", snapshot[:-1], snapshot[:100] + b"\1" + snapshot[101:]):
        with pytest.raises(mambabyte.DataError):
            stream.restore(wrong)
    assert stream.snapshot() == snapshot
    with pytest.raises(mambabyte.UsageError):
        mambabyte.Stream(ROOT / "models/sensor-pico").snapshot()


def test_what_is_expected_next():
    stream = mambabyte.Stream("sensor-nano", adapt="16K")
    stream.feed(TEXT[:1000])
    logits, chances = stream.logits(), stream.distribution()
    assert logits.dtype == np.int32 and logits.shape == chances.shape == (256,) and chances.sum() == pytest.approx(1)
    byte = TEXT[1000]
    next = stream.feed(TEXT[1000:1001])
    weights = np.exp2(logits / 65536)
    assert next.net[0] == pytest.approx(-np.log2(weights[byte] / weights.sum()), abs=1e-3)
    assert next.adapted[0] == pytest.approx(-np.log2(chances[byte]), abs=0.02)
    # Looking moves nothing.
    other = mambabyte.Stream("sensor-nano", adapt="16K")
    np.testing.assert_array_equal(other.feed(TEXT[:1001]).adapted_q16[-1:], next.adapted_q16)
    assert mambabyte.Stream().distribution().shape == (256,)
    with pytest.raises(mambabyte.UsageError):
        mambabyte.Stream().logits()


def test_reset_begins_anew():
    stream = mambabyte.Stream("sensor-pico")
    first = cost(stream.feed(TEXT[:500]))
    stream.reset()
    assert stream.position == 0 and cost(stream.feed(TEXT[:500])) == first


def test_threads_share_a_model_and_a_stream():
    model = mambabyte.Model("sensor-pico", threads=1)
    expected, found = cost(mambabyte.Stream(model).feed(TEXT)), []
    threads = [threading.Thread(target=lambda: found.append(cost(mambabyte.Stream(model).feed(TEXT)))) for _ in range(4)]
    shared = mambabyte.Stream(model)
    threads += [threading.Thread(target=lambda: [shared.feed(b"line\n") for _ in range(100)]) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [expected] * 4 and shared.totals["lines"] == 400


def test_wrong_arguments():
    stream = mambabyte.Stream("sensor-pico")
    for wrong in ("str", 5, None, [1, 2]):
        with pytest.raises(TypeError):
            stream.feed(wrong)
    for keywords in ({"adapt": "3K"}, {"false_alarms": "50%"}, {"false_alarms": "3/day"}, {"threshold": -1}, {"ignore": ["("]}):
        with pytest.raises(mambabyte.UsageError):
            mambabyte.Stream("sensor-pico", **keywords)
    with pytest.raises(mambabyte.UsageError, match="give one of them"):
        mambabyte.Stream("sensor-pico", false_alarms="1%", threshold=4)
