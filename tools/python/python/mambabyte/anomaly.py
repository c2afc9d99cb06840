"""Odd lines, as an estimator: what scikit-learn expects of one, without needing it."""

from __future__ import annotations

import os
from typing import Any, Iterable, Union

import numpy as np

from ._errors import UsageError
from ._mambabyte import Line, Model, Stream

#: A line: bytes, or text, which is read as UTF-8. An end of line may be there or not.
Text = Union[str, bytes]
#: What `Model` takes, or None for an adapter alone.
Source = Union[Model, str, bytes, "os.PathLike[str]", None]

_NAMES = ("model", "adapt", "false_alarms", "device", "threads")


def _bytes(line: Text, number: int) -> bytes:
    """One line with its end."""
    if isinstance(line, str):  # NumPy's strings are of this kind too.
        line = line.encode("utf-8", "surrogateescape")
    elif not isinstance(line, bytes):
        raise TypeError(f"line {number}: str or bytes are needed, not {type(line).__name__}")
    line = line[:-1] if line.endswith(b"\n") else line
    if b"\n" in line:
        raise ValueError(f"line {number}: an end of line within it; give one line for each sample")
    return line + b"\n"


class AnomalyDetector:
    """Finds odd lines of a log, with a promised share of false alarms.

    AnomalyDetector(model="sensor-nano", *, adapt="16K", false_alarms="1%", device="cpu", threads=None)

    ``fit`` reads lines that are usual, one after the other, as the beginning of a stream: an adapter learns their words, the
    detector which rarity is usual. The first 64 lines are learned from before anything can be odd. ``predict`` goes on from
    there: each call reads its lines in their order, as what comes next, and begins where ``fit`` has ended, so that equal
    calls have equal results.

    ``model`` is what ``Model`` takes, None for an adapter alone; ``false_alarms`` the share of usual lines that may be odd.
    The other parameters are those of ``Stream`` and ``Model``. Samples are lines, ``str`` or ``bytes``, in a list or an
    array of one dimension.

    Attributes after ``fit``: ``stream_`` (the stream where it has ended), ``n_lines_``.
    """

    _estimator_type = "outlier_detector"

    def __init__(
        self,
        model: Source = "sensor-nano",
        *,
        adapt: str | None = "16K",
        false_alarms: str | float = "1%",
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self.model = model
        self.adapt = adapt
        self.false_alarms = false_alarms
        self.device = device
        self.threads = threads

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters, by name."""
        return {name: getattr(self, name) for name in _NAMES}

    def set_params(self, **parameters: Any) -> AnomalyDetector:
        """Sets parameters, by name."""
        for name, value in parameters.items():
            if name not in _NAMES:
                raise ValueError(f"{name} is no parameter of AnomalyDetector; there are {', '.join(_NAMES)}")
            setattr(self, name, value)
        return self

    def fit(self, X: Iterable[Text], y: object = None) -> AnomalyDetector:
        """Learns from usual lines; ``y`` is not looked at.

        Raises ``UsageError`` for no lines at all.
        """
        model = self.model
        if model is not None and not isinstance(model, Model) and model != "none":
            model = Model(model, device=self.device, threads=self.threads)
        stream = Stream(model, adapt=self.adapt, false_alarms=self.false_alarms)
        lines = [_bytes(line, number) for number, line in enumerate(X)]
        if not lines:
            raise UsageError("no lines to learn from")
        stream.feed(b"".join(lines))
        self.stream_ = stream
        self.n_lines_ = len(lines)
        return self

    def lines(self, X: Iterable[Text]) -> list[list[Line]]:
        """The records of each line as what comes after those of ``fit``; several of a line that is scored in pieces."""
        if not hasattr(self, "stream_"):
            raise UsageError("not fitted yet: call fit with usual lines")
        text = [_bytes(line, number) for number, line in enumerate(X)]
        found: list[list[Line]] = [[] for _ in text]
        for record in self.stream_.fork().lines(b"".join(text)):
            found[record.line - 1 - self.n_lines_].append(record)
        return found

    def score_samples(self, X: Iterable[Text]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """How usual each line is: minus its rarity in bits, float64. ``2**score`` of usual lines are as odd."""
        return np.array([-max(record.rarity or 0.0 for record in records) for records in self.lines(X)], dtype=np.float64)

    def decision_function(self, X: Iterable[Text]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """As ``score_samples``, moved so that odd lines are below 0 and all others not."""
        return self._decided(self.lines(X))[0]

    def predict(self, X: Iterable[Text]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """-1 for each line that is odd, 1 for all others, int64."""
        return self._decided(self.lines(X))[1]

    def fit_predict(self, X: Iterable[Text], y: object = None) -> np.ndarray[Any, np.dtype[np.int64]]:
        """``fit`` and ``predict`` of the same lines."""
        lines = list(X)
        return self.fit(lines).predict(lines)

    def score(self, X: Iterable[Text], y: Iterable[int] | None = None) -> float:
        """How well the lines are known: minus their mean bits per byte; with labels (-1 odd, 1 usual) the mean of the shares
        of both kinds that are found, from 0 to 1. So that larger is better."""
        records = self.lines(X)
        if y is None:
            bits = sum(record.bits_per_byte * record.bytes for one in records for record in one)
            return -bits / max(1, sum(record.bytes for one in records for record in one))
        labels, found = np.asarray(list(y)), self._decided(records)[1]
        shares = [float(np.mean(found[labels == label] == label)) for label in (-1, 1) if np.any(labels == label)]
        return float(np.mean(shares)) if shares else 0.0

    @staticmethod
    def _decided(lines: list[list[Line]]) -> tuple[Any, Any]:
        odd = np.array([any(record.odd for record in records) for records in lines], dtype=bool)
        usual = np.array([-max(record.rarity or 0.0 for record in records) for records in lines], dtype=np.float64)
        # Between the most usual of the odd lines and 0, where every rarity ends: what is odd is decided exactly, by the stream.
        decision = np.where(odd, np.minimum(usual, -1e-3), np.maximum(25.0 + usual, 0.0))
        return decision, np.where(odd, -1, 1).astype(np.int64)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "stream_")

    def __sklearn_tags__(self) -> Any:
        # Asked for by scikit-learn only, which is there then.
        from sklearn.utils import InputTags, Tags, TargetTags

        tags = Tags(estimator_type="outlier_detector", target_tags=TargetTags(required=False))
        tags.input_tags = InputTags(one_d_array=True, two_d_array=False, string=True)
        return tags

    def __repr__(self) -> str:
        return f"AnomalyDetector({', '.join(f'{name}={getattr(self, name)!r}' for name in _NAMES)})"
