"""The step as an ONNX model: checked by onnx, run by ONNX Runtime, compared with the f32 model of the command."""


import mambabyte
import numpy as np
import pytest
from checkpoints import write
from conftest import ROOT

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

# Largest difference of a logit, of 1,000 steps. Logits reach 30; both are sums in f32, in another order. Found: 7e-5.
BOUND = 5e-4


class Step:
    """Runs a file as docs/CHECKPOINTS.md says."""

    def __init__(self, path, batch=1):
        onnx.checker.check_model(str(path), full_check=True)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        shapes = {given.name: given.shape for given in self.session.get_inputs()}
        assert shapes["byte"] == ["batch"]
        self.state = {
            name: np.zeros([batch if n == "batch" else n for n in shapes[name]], np.float32) for name in ("conv", "ssm")
        }

    def read(self, byte):
        logits, conv, ssm = self.session.run(["logits", "conv_out", "ssm_out"], {"byte": np.array(byte, np.int64), **self.state})
        self.state = {"conv": conv, "ssm": ssm}
        return logits


def npy(data: bytes) -> np.ndarray:
    return np.frombuffer(data[128:], "<f4").reshape(-1, 256)


@pytest.mark.parametrize("name, steps", [("sensor-pico", 1000), ("sensor-nano", 1000), ("prose-small", 1000)])
def test_a_thousand_steps_are_those_of_the_f32_model(name, steps, command, golden_text, tmp_path):
    folder, path, text = ROOT / "models" / name, tmp_path / "model.onnx", golden_text[:steps]
    said = command("export", folder, "--onnx", path)
    assert b"opset 17" in said
    step = Step(path)
    found = np.concatenate([step.read([byte]) for byte in text])
    expected = npy(command("logits", folder, "-", "--npy", "-", text=text))
    worst = np.abs(found - expected).max()
    print(f"{name}: {worst:.2e} of {np.abs(expected).max():.1f}")
    assert expected.shape == (steps, 256) and worst < BOUND
    # The package writes the same file.
    assert mambabyte.export(folder, tmp_path / "again.onnx") == path.stat().st_size
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


# Norm, head, decays, taps, states, rank, width, rows before the bytes.
FORMS = [
    dict(norm="rms", tied=True, d_conv=4, d_state=16, dt_rank=2, d_inner=64, rows=0),
    dict(norm="layer", tied=False, d_conv=4, d_state=16, dt_rank=2, d_inner=64, rows=0),
    dict(norm="layer", tied=True, d_conv=2, d_state=1, dt_rank=1, d_inner=48, rows=0),
    dict(norm="rms", tied=False, d_conv=3, d_state=5, dt_rank=7, d_inner=33, rows=3),
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_exported(form, command, golden_text, tmp_path):
    write(tmp_path, d_model=32, n_layer=2, **form)
    options = ["--byte-offset", form["rows"]] if form["rows"] else []
    command("export", tmp_path, "--onnx", tmp_path / "model.onnx", *options)
    # Three streams at a time, each on its own text.
    texts = [golden_text[:60], golden_text[100:160], bytes(range(196, 256))]
    step = Step(tmp_path / "model.onnx", batch=3)
    found = np.stack([step.read(bytes) for bytes in zip(*texts)], axis=1)
    for of, text in zip(found, texts):
        expected = npy(command("logits", tmp_path, "-", "--npy", "-", *options, text=text))
        assert np.abs(expected).max() > 0.5 and np.abs(of - expected).max() < 2e-4


def test_a_blob_gives_the_numbers_of_its_integers(golden_text, tmp_path):
    path = tmp_path / "model.onnx"
    mambabyte.export("sensor-nano", path)
    model, stream = onnx.load(str(path)), mambabyte.Stream("sensor-nano", adapt=None)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["fingerprint"] == mambabyte.Model("sensor-nano").fingerprint and about["name"] == "sensor-nano"
    step, difference, norm = Step(path), 0.0, 0.0
    # A stream begins with a byte that nobody sees.
    step.read([0])
    for byte in golden_text[:300]:
        stream.feed(bytes([byte]))
        expected = stream.logits() * (np.log(2) / 65536)
        difference += ((step.read([byte])[0] - expected) ** 2).sum()
        norm += (expected**2).sum()
    assert (difference / norm) ** 0.5 < 0.03


def test_files_are_written_whole_and_never_over_the_model(tmp_path, monkeypatch):
    write(tmp_path / "model", d_model=32, n_layer=1, **FORMS[0])
    for file in ("model.safetensors", "config.json"):
        before = (tmp_path / "model" / file).read_bytes()
        with pytest.raises(mambabyte.FileError, match="input|reads"):
            mambabyte.export(tmp_path / "model", tmp_path / "model" / file)
        assert (tmp_path / "model" / file).read_bytes() == before
    blob = tmp_path / "some.mbb"
    blob.write_bytes(mambabyte.Model("sensor-pico").to_bytes())
    with pytest.raises(mambabyte.FileError):
        mambabyte.export(mambabyte.Model(blob), blob)
    assert mambabyte.Model(blob).info["name"] == "sensor-pico"
    with pytest.raises(mambabyte.FileError):
        mambabyte.export("sensor-pico", tmp_path / "none" / "model.onnx")
    with pytest.raises(mambabyte.UsageError, match="standard output"):
        mambabyte.export("sensor-pico", "-")
    with pytest.raises(TypeError):
        mambabyte.export("sensor-pico", None)
    # Names that begin with a hyphen.
    monkeypatch.chdir(tmp_path)
    assert mambabyte.export("sensor-pico", "--model.onnx") == (tmp_path / "--model.onnx").stat().st_size


def test_what_cannot_be_exported_says_why(tmp_path):
    for index, tensor in enumerate(["backbone.layers.0.mixer.in_proj.weight", "backbone.layers.0.mixer.A_log", "backbone.norm_f.weight"]):
        folder = tmp_path / str(index)
        write(folder, d_model=32, n_layer=1, spoiled=tensor, **FORMS[0])
        with pytest.raises(mambabyte.Error, match=tensor):
            mambabyte.export(folder, folder / "model.onnx")
        assert not (folder / "model.onnx").exists()
