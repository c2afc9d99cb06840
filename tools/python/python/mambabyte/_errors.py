"""The exceptions of the package. Their words are those of the command."""


class Error(Exception):
    """Anything that goes wrong here."""


class UsageError(Error, ValueError):
    """An argument that makes no sense."""


class FileError(Error, OSError):
    """A file that cannot be read or written."""


class DataError(Error, ValueError):
    """Bytes that are damaged, or that are something else.

    Of ``decompress``: ``kept`` is the text before the damage.
    """

    kept: bytes = b""


class DeviceError(Error, RuntimeError):
    """A machine that is not there or does not work: a GPU, or a process that was forked while threads ran."""
