import json

import mambabyte
import numpy as np
import pytest
from conftest import ROOT

TEXTS = [(ROOT / "models/text" / name).read_bytes() for name in ("gnss-sample.nmea", "request-latency.csv", "golden-4096.txt")]


@pytest.mark.parametrize("adapt", [None, "16K"])
@pytest.mark.parametrize("window", [None, 1000])
def test_scores_are_those_of_eval(adapt, window, command, tmp_path):
    paths = [tmp_path / str(number) for number in range(len(TEXTS))]
    [path.write_bytes(text) for path, text in zip(paths, TEXTS)]
    words = ["eval", "sensor-nano", *paths, "--json", "--adapt", adapt or "off"]
    told = json.loads(command(*words, *(["--window", window] if window else [])))["texts"]
    scores = mambabyte.score("sensor-nano", TEXTS, window=window, adapt=adapt)
    assert scores.bits_per_byte.tolist() == [text["bits_per_byte"] for text in told]
    assert scores.bits_per_byte_net.tolist() == [text["bits_per_byte_net"] for text in told]
    assert scores.bytes.tolist() == [len(text) for text in TEXTS] and len(scores) == 3


def test_texts_do_not_depend_on_their_neighbours():
    model = mambabyte.Model("sensor-pico")
    chance = np.random.default_rng(5)
    texts = [TEXTS[0][a : a + n] for a, n in zip(chance.integers(0, 4000, 60), chance.integers(0, 400, 60))]
    for adapt in (None, "4K"):
        together = mambabyte.score(model, texts, adapt=adapt).bits
        alone = [mambabyte.score(model, [text], adapt=adapt).bits[0] for text in texts]
        assert together.tolist() == alone
        assert mambabyte.score(mambabyte.Model("sensor-pico", threads=1), texts, adapt=adapt).bits.tolist() == alone


def test_an_adapter_alone_and_nothing_at_all():
    scores = mambabyte.score(None, TEXTS, adapt="8K")
    assert scores.bits_net is None and np.all(scores.bits_per_byte < 8)
    assert len(mambabyte.score("sensor-pico", []).bits) == 0
    assert np.isnan(mambabyte.score("sensor-pico", [b""]).bits_per_byte[0])
    with pytest.raises(mambabyte.UsageError):
        mambabyte.score(None, TEXTS)
    with pytest.raises(mambabyte.UsageError, match="window"):
        mambabyte.score("sensor-pico", TEXTS, window=0)
    for wrong in (b"one", "one", 5, ["one"], [None]):
        with pytest.raises(TypeError):
            mambabyte.score("sensor-pico", wrong)
