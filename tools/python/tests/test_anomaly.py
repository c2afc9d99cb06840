import pickle

import mambabyte
import numpy as np
import pytest
from conftest import ROOT

TEXT = (ROOT / "models/text/request-latency.csv").read_text().splitlines()
USUAL, NEW = TEXT[:500], TEXT[500:700]
ODD = {30: "2024-03-01 00:00:00,get,9\x01!?", 90: "Traceback (most recent call last):", 150: NEW[150][:5] + "\x7f" + NEW[150][6:]}
LINES = [ODD.get(number, line) for number, line in enumerate(NEW)]
LABELS = np.array([-1 if number in ODD else 1 for number in range(len(NEW))])


def detector(**parameters):
    return mambabyte.AnomalyDetector("sensor-pico", **parameters)


def test_odd_lines_are_found():
    fitted = detector().fit(USUAL)
    found = fitted.predict(LINES)
    assert found.dtype == np.int64 and set(np.unique(found)) == {-1, 1}
    assert all(found[number] == -1 for number in ODD) and np.mean(found == 1) > 0.9
    scores, decisions = fitted.score_samples(LINES), fitted.decision_function(LINES)
    assert np.array_equal(decisions < 0, found == -1) and np.all(scores <= 0)
    # Each call begins where fit has ended; bytes, str and arrays are the same lines.
    for lines in (LINES, [line.encode() for line in LINES], np.array(LINES), [line + "\n" for line in LINES]):
        assert np.array_equal(fitted.predict(lines), found)
    assert fitted.score(LINES, LABELS) > 0.95 and fitted.score(NEW) > -4
    assert detector().fit_predict(USUAL).shape == (len(USUAL),)


def test_long_lines_and_wrong_ones():
    fitted = detector().fit(USUAL)
    assert fitted.predict(["x" * 10_000, *LINES[:3]]).shape == (4,)
    for wrong, error in (([5], TypeError), ([None], TypeError), (["a\nb"], ValueError)):
        with pytest.raises(error):
            fitted.predict(wrong)
    with pytest.raises(mambabyte.UsageError, match="no lines"):
        detector().fit([])
    with pytest.raises(mambabyte.UsageError, match="not fitted"):
        detector().predict(LINES)
    with pytest.raises(ValueError, match="no parameter"):
        detector().set_params(gamma=1)


def test_pickle():
    fitted = detector(false_alarms=0.005).fit(USUAL)
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.score_samples(LINES), fitted.score_samples(LINES))
    assert again.get_params() == fitted.get_params()


def test_clone():
    base = pytest.importorskip("sklearn.base")
    original = detector(adapt="8K", false_alarms="0.1%")
    copy = base.clone(original)
    assert copy is not original and copy.get_params() == original.get_params() and not hasattr(copy, "stream_")
    assert base.is_outlier_detector(copy)


def test_pipeline():
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    upper = preprocessing.FunctionTransformer(lambda lines: [line.upper() for line in lines])
    made = pipeline.make_pipeline(upper, detector())
    found = made.fit(USUAL).predict(LINES)
    expected = detector().fit([line.upper() for line in USUAL]).predict([line.upper() for line in LINES])
    assert np.array_equal(found, expected)
    made.set_params(anomalydetector__adapt="4K")
    assert made.get_params()["anomalydetector__adapt"] == "4K"


def test_grid_search():
    selection = pytest.importorskip("sklearn.model_selection")
    search = selection.GridSearchCV(
        detector(), {"adapt": ["4K", "16K", None]}, cv=selection.KFold(2), error_score="raise"
    ).fit(USUAL[:200])
    assert search.best_params_["adapt"] in ("4K", "16K", None) and np.all(search.cv_results_["mean_test_score"] < 0)
    # An adapter knows such lines better than the model alone, which has not learned any of their kind.
    scores = dict(zip([p["adapt"] for p in search.cv_results_["params"]], search.cv_results_["mean_test_score"]))
    assert scores["16K"] > scores[None]
    assert search.predict(LINES).shape == (len(LINES),)
