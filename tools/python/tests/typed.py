"""What mypy takes, and what it does not: a line marked so has one error."""

import io
from typing import Optional

import mambabyte
import numpy as np
from numpy.typing import NDArray

model: mambabyte.Model = mambabyte.Model("sensor-nano", threads=1)
stream = mambabyte.Stream(model, adapt=None, false_alarms=0.01)
surprise: mambabyte.Surprise = stream.feed(b"bytes")
bits: NDArray[np.float32] = surprise.bits
net: Optional[NDArray[np.uint32]] = surprise.net_q16
rarities: list[Optional[float]] = [line.rarity for line in stream.lines(io.BytesIO(b"a line\n"))]
archive: bytes = mambabyte.compress(b"text", model)
count: int = mambabyte.compress(io.BytesIO(b"text"), output=io.BytesIO())
text: bytes = b"".join(mambabyte.generate(model, b"prompt", stop=[b"x"]))
scores: NDArray[np.float64] = mambabyte.score(model, [b"one", b"two"]).bits_per_byte
found: NDArray[np.int64] = mambabyte.AnomalyDetector().fit(["a line"]).predict(["another"])
stream.feed("text")  # wrong
surprise.nothing  # wrong
mambabyte.score(model, ["text"])  # wrong
number: int = mambabyte.compress(b"text")  # wrong
