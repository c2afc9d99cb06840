import copy
import pickle

import mambabyte
import pytest
from conftest import MODELS, PRESETS, ROOT, model_path


def golden(name: str) -> int:
    return int((ROOT / "models" / name / "golden.crc32").read_text().split()[0], 16)


def adapter_golden() -> dict[tuple[str, str], int]:
    rows = [row.split("\t") for row in (ROOT / "models/text/adapter.crc32").read_text().splitlines() if row[:1] != "#"]
    return {(row[0], name): int(crc, 16) for row in rows[1:] for name, crc in zip(rows[0][1:], row[1:])}


@pytest.mark.parametrize("name", MODELS)
def test_golden_checksums(name, golden_text):
    model = mambabyte.Model(model_path(name))
    assert model.checksum(golden_text) == golden(name)


@pytest.mark.parametrize("name", MODELS[:2])
def test_golden_checksums_with_adapters(name, golden_text):
    model, values = mambabyte.Model(model_path(name)), adapter_golden()
    assert {preset: model.checksum(golden_text, adapt=preset) for preset in PRESETS} == {
        preset: values[preset, name] for preset in PRESETS
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS[2:])
def test_golden_checksums_with_adapters_of_large_models(name, golden_text):
    test_golden_checksums_with_adapters(name, golden_text)


def test_shipped_models_are_in_the_package(tmp_path, monkeypatch, golden_text):
    monkeypatch.chdir(tmp_path)
    assert mambabyte.Model.names() == ["sensor-pico", "sensor-nano", "sensor-micro"]
    for name in mambabyte.Model.names():
        model = mambabyte.Model.shipped(name)
        assert model.to_bytes() == model_path(name).read_bytes()
    with pytest.raises(mambabyte.UsageError, match="no such model"):
        mambabyte.Model.shipped("sensor-huge")


def test_info():
    model = mambabyte.Model.shipped("sensor-nano")
    info = model.info
    assert info["kind"] == "blob" and info["name"] == "sensor-nano" and info["precision"] == "exact"
    assert info["bytes"] == model_path("sensor-nano").stat().st_size
    assert info["fingerprint"] == model.fingerprint and len(bytes.fromhex(model.fingerprint)) == 16
    assert info["parameters"] > 100_000 and info["n_layer"] >= 1
    assert "sensor-nano" in repr(model)


def test_bytes_paths_names_and_pickles_are_one_model(golden_text):
    path = model_path("sensor-pico")
    models = [
        mambabyte.Model(path),
        mambabyte.Model(str(path)),
        mambabyte.Model(path.read_bytes()),
        mambabyte.Model(bytearray(path.read_bytes()), threads=1),
        mambabyte.Model("sensor-pico", mmap=True),
        mambabyte.Model(path, mmap=True, backend="scalar"),
    ]
    models += [pickle.loads(pickle.dumps(model)) for model in models] + [copy.copy(models[0]), copy.deepcopy(models[2])]
    assert len({model.fingerprint for model in models}) == 1
    assert len({model.checksum(golden_text[:512]) for model in models}) == 1
    # A shipped model is its name.
    assert len(pickle.dumps(models[4])) < 1000


def test_checkpoints_run_in_floats():
    model = mambabyte.Model(ROOT / "models/sensor-pico")
    assert model.info["kind"] == "checkpoint" and model.info["precision"] == "f32" and model.fingerprint is None
    blob = mambabyte.Model("sensor-pico")
    text = b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M,55.2,M,,*76\r\n" * 4
    bits = [mambabyte.score(m, [text]).bits_per_byte[0] for m in (model, blob)]
    assert abs(bits[0] - bits[1]) < 0.1
    assert pickle.loads(pickle.dumps(model)).info == model.info
    with pytest.raises(mambabyte.UsageError, match="integers|blob"):
        model.checksum(text)
    with pytest.raises(mambabyte.UsageError, match="convert"):
        model.to_bytes()


def test_errors_are_in_the_words_of_the_command(tmp_path):
    blob = model_path("sensor-pico").read_bytes()
    damaged = bytearray(blob)
    damaged[len(blob) // 2] ^= 1
    cases = [
        ("no-such-model", mambabyte.UsageError, "no file, no folder and no model has this name"),
        (bytes(damaged), mambabyte.DataError, "bytes: "),
        (blob[:-1], mambabyte.DataError, "bytes: "),
        (b"", mambabyte.DataError, "bytes: "),
        (b"not a blob at all", mambabyte.DataError, "bytes: "),
        (tmp_path, mambabyte.DataError, "config.json"),
    ]
    for source, error, words in cases:
        with pytest.raises(error, match=words) as raised:
            mambabyte.Model(source)
        assert isinstance(raised.value, mambabyte.Error) and "\n" not in str(raised.value)
    for wrong in (None, 7, 1.5, [], object()):
        with pytest.raises(TypeError, match="path, a name or bytes"):
            mambabyte.Model(wrong)
    for keywords in ({"device": "tpu"}, {"threads": 0}, {"backend": "none"}, {"precision": "f8"}):
        with pytest.raises(mambabyte.UsageError, match=next(iter(keywords))):
            mambabyte.Model("sensor-pico", **keywords)


def test_a_gpu_is_used_or_its_absence_is_said():
    try:
        model = mambabyte.Model("sensor-pico", device="cuda")
    except mambabyte.DeviceError as error:
        assert "GPU" in str(error)
    else:
        assert model.info["device"] == "cuda"
    assert mambabyte.Model("sensor-pico", device="auto").info["kind"] == "blob"
