import os
import signal
import threading
import time

import mambabyte
import pytest
from conftest import ROOT

TINY = {"d_model": 16, "n_layer": 1, "batch": 2, "window": 64, "refine": 0, "threads": 1}


def test_convert(command, tmp_path):
    heard, sample = [], tmp_path / "sample"
    sample.write_bytes((ROOT / "models/text/gnss-sample.nmea").read_bytes()[:3000])
    converted = mambabyte.convert(ROOT / "models/sensor-pico", refine=0, calibrate=[sample], progress=heard.append)
    model = mambabyte.Model(converted.blob)
    assert model.info["kind"] == "blob" and converted.parameters == model.info["parameters"]
    assert abs(converted.bits_per_byte - converted.bits_per_byte_f32) < 0.1
    assert heard[-1]["bytes"] == heard[-1]["of"] > 0
    # The same as the command's, and written whole.
    written = mambabyte.convert(ROOT / "models/sensor-pico", tmp_path / "a.mbb", refine="0", calibrate=sample)
    command("convert", ROOT / "models/sensor-pico", "-o", tmp_path / "b.mbb", "--refine", "0", "--calibrate", sample)
    assert (tmp_path / "a.mbb").read_bytes() == (tmp_path / "b.mbb").read_bytes() == converted.blob == written.blob
    with pytest.raises(mambabyte.Error, match="nothing was written"):
        mambabyte.convert(ROOT / "models/sensor-pico", tmp_path / "c.mbb", refine=0, calibrate=sample, max_delta=-1)
    assert not (tmp_path / "c.mbb").exists()


def test_names_may_begin_with_a_hyphen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = ROOT / "models/text/request-latency.csv"
    (tmp_path / "-some.log").write_bytes(sample.read_bytes())
    made = mambabyte.convert(ROOT / "models/sensor-pico", "-x.mbb", refine=0, calibrate="-some.log", report="--report.html", name="-n")
    assert (tmp_path / "-x.mbb").read_bytes() == made.blob and (tmp_path / "--report.html").is_file()
    assert mambabyte.Model(tmp_path / "-x.mbb").info["name"] == "-n"
    trained = mambabyte.train(["-some.log"], "-run", steps=2, **TINY)
    assert mambabyte.Model(tmp_path / "-run/model.mbb").info["d_model"] == 16 and trained.steps == 2


def test_convert_refuses(tmp_path):
    cases = [
        ({"mixture": "nothing"}, mambabyte.UsageError, "mixture"),
        ({"no_such_option": 1}, mambabyte.UsageError, "no-such-option"),
        ({"report": tmp_path / "r.html"}, mambabyte.UsageError, "output"),
    ]
    for options, error, words in cases:
        with pytest.raises(error, match=words):
            mambabyte.convert(ROOT / "models/sensor-pico", **options)
    with pytest.raises(mambabyte.Error):
        mambabyte.convert(tmp_path)


def text(tmp_path):
    path = tmp_path / "some.log"
    path.write_bytes((ROOT / "models/text/gnss-sample.nmea").read_bytes() * 3)
    return path


def test_train(tmp_path):
    heard = []
    trained = mambabyte.train([text(tmp_path)], tmp_path / "run", steps=12, seed=3, progress=heard.append, **TINY)
    assert [said["step"] for said in heard if "steps" in said] == list(range(1, 13)) and trained.steps == 12
    looks = [said for said in heard if "holdout" in said]
    assert looks and {"best", "sample"} <= looks[0].keys()
    model = mambabyte.Model(trained.output / "model.mbb")
    assert model.info["d_model"] == 16 and trained.bits_per_byte < 8
    with pytest.raises(mambabyte.UsageError, match="another folder"):
        mambabyte.train([text(tmp_path)], tmp_path / "run", steps=12, **TINY)
    with pytest.raises(mambabyte.UsageError, match="steps"):
        mambabyte.train([text(tmp_path)], tmp_path / "other", steps=0)
    with pytest.raises(mambabyte.UsageError, match="tokenizer"):
        mambabyte.train([text(tmp_path)], tmp_path / "other", steps=1, tokenizer="bpe:300")
    with pytest.raises(mambabyte.FileError):
        mambabyte.train([tmp_path / "none.log"], tmp_path / "other", steps=1, **TINY)


def test_ctrl_c_saves_and_resume_goes_on(tmp_path):
    log = text(tmp_path)
    whole = mambabyte.train([log], tmp_path / "whole", steps=16, **TINY)
    # Ctrl-C while it runs.
    def interrupt(said):
        if said["step"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        mambabyte.train([log], tmp_path / "broken", steps=16, progress=interrupt, **TINY)
    assert not (tmp_path / "broken/model.mbb").exists()

    # What progress raises does the same.
    def raises(said):
        if said["step"] == 9:
            raise LookupError("mine")

    with pytest.raises((LookupError, mambabyte.Error), match="mine"):
        mambabyte.train([], tmp_path / "broken", resume=True, progress=raises, threads=1)
    resumed = mambabyte.train([], tmp_path / "broken", resume=True, threads=1)
    assert resumed.steps == 16
    blobs = [(tmp_path / run / "model.mbb").read_bytes() for run in ("whole", "broken")]
    assert blobs[0] == blobs[1] and whole.bits_per_byte == resumed.bits_per_byte


def test_other_threads_run_while_it_computes():
    model, done, turns = mambabyte.Model("sensor-nano", threads=1), threading.Event(), 0
    worker = threading.Thread(target=lambda: (mambabyte.score(model, [b"some text " * 10_000]), done.set()))
    worker.start()
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    worker.join()
    assert turns > 20
