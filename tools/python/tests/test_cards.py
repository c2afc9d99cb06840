"""Model cards: their front matter as Hugging Face's library reads it."""

import re

import mambabyte
import pytest
from conftest import MODELS, ROOT
from test_making import TINY

hub = pytest.importorskip("huggingface_hub")


def card(path):
    text = path.read_text()
    read = hub.ModelCard(text)
    assert text.startswith("---\n") and read.text.lstrip().startswith("# ")
    data = read.data
    assert data.library_name == "mambabyte" and data.pipeline_tag == "text-generation"
    assert {"mamba", "byte-level"} <= set(data.tags) and data.datasets and data.metrics == ["bits_per_byte"]
    assert data.eval_results and all(result.metric_type == "bits_per_byte" for result in data.eval_results)
    return data, read.text


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models_have_cards(name):
    data, text = card(ROOT / "models" / name / "README.md")
    assert data.license == ["mit", "apache-2.0"] and data.model_name == name
    assert (data.language == ["en"]) == (name == "prose-small")
    # Its figures are those of the text.
    rows = dict(re.findall(r"^\| (\w+) \| [\d,]+ \| ([\d.]+) \|", text, re.M))
    hold = re.search(r"built-in hold-out \([\d,]+ bytes\): f32 ([\d.]+), integer ([\d.]+)", text)
    figures = [(result.dataset_name, f"{result.metric_value:.4f}") for result in data.eval_results]
    assert figures == [("built-in hold-out", value) for value in hold.groups()] + list(rows.items())
    assert set(rows) <= set(data.datasets)


def test_train_writes_cards(command, tmp_path):
    log = (ROOT / "models/text/gnss-sample.nmea").read_bytes()
    # Names are the user's.
    name = "a: 'log' \"of\" #1, - [x] & *y ü\t\u202e.txt"
    (tmp_path / name).write_bytes(log * 2)
    trained = mambabyte.train([tmp_path / name], tmp_path / "run", steps=4, name="yes: {no}", **TINY)
    data, _ = card(trained.output / "README.md")
    assert data.license == "unknown" and data.model_name == "yes: {no}"
    assert len(data.datasets) == 1 and data.datasets[0].startswith("a: 'log' \"of\" #1, - [x] & *y ü")
    figures = [(result.metric_name, result.metric_value) for result in data.eval_results]
    expected = [("f32", trained.bits_per_byte_f32), ("integer", trained.bits_per_byte)]
    assert figures == [(f"bits per byte, {kind}", pytest.approx(bits, abs=6e-5)) for kind, bits in expected]

    options = ["--d-model", 16, "--n-layer", 1, "--window", 32, "--batch", 2, "--steps", 4, "--threads", 1]
    command("train", tmp_path / name, "-o", tmp_path / "subwords", "--tokenizer", "bpe:300", *options)
    data, _ = card(tmp_path / "subwords/README.md")
    assert "subwords" in data.tags and data.eval_results[0].metric_value > 0
