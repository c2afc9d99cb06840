"""Byte-level Mamba models in exact integers: score, adapt, watch, compress and generate with the bits of every chip.

>>> import mambabyte
>>> stream = mambabyte.Stream("sensor-nano", adapt="16K")
>>> surprise = stream.feed(b"$GPGGA,092750.000,5321.6802,N\\r\\n")
>>> surprise.adapted.dtype, len(surprise)
(dtype('float32'), 31)

``Model`` is the weights, ``Stream`` what passes by; ``score``, ``compress``, ``decompress``, ``generate``, ``convert``,
``export`` and ``train`` do what the commands of these names do. ``AnomalyDetector`` is an estimator as scikit-learn has them.

Everything computes without the interpreter's lock, so that threads run side by side. Every error is an ``Error``, in the
words of the command. What the command would say on standard error goes to the logger ``mambabyte``.
"""

from ._errors import DataError, DeviceError, Error, FileError, UsageError
from ._mambabyte import (
    Converted,
    Event,
    Generation,
    Line,
    Lines,
    Model,
    Scores,
    Stream,
    Surprise,
    Trained,
    Worst,
    __version__,
    compress,
    convert,
    decompress,
    export,
    generate,
    score,
    train,
)
from .anomaly import AnomalyDetector

__all__ = [
    "AnomalyDetector",
    "Converted",
    "DataError",
    "DeviceError",
    "Error",
    "Event",
    "FileError",
    "Generation",
    "Line",
    "Lines",
    "Model",
    "Scores",
    "Stream",
    "Surprise",
    "Trained",
    "UsageError",
    "Worst",
    "__version__",
    "compress",
    "convert",
    "decompress",
    "export",
    "generate",
    "score",
    "train",
]
