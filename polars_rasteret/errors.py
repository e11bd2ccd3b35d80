"""Which errors does the package raise, and who can act on each of them?

::

    RasteretError
    ├── UsageError        the caller can correct the call         (also ValueError)
    │   ├── BudgetError          the read would cost more than allowed
    │   └── AnswerTooLargeError  the answer would take more memory than ``max_answer_bytes``
    ├── FileFormatError   the file is broken or uses an unsupported feature
    └── FetchError        the network or the store failed         (also OSError)
        ├── StaleIndexError    the file changed after it was indexed
        └── QueryTimeoutError  a whole query took longer than the caller allows  (also TimeoutError)

Polars rebuilds an exception that leaves an expression callback as ``type(error)(message)``, so every class here must be
constructible from one string, and that string says everything: what, where, expected, got, next step. No logic
belongs here.
"""

from __future__ import annotations

__all__ = [
    "AnswerTooLargeError",
    "BudgetError",
    "FetchError",
    "FileFormatError",
    "QueryTimeoutError",
    "RasteretError",
    "StaleIndexError",
    "UsageError",
]


class RasteretError(Exception):
    """Base class of all errors that this package raises on purpose."""


class UsageError(RasteretError, ValueError):
    """The call is wrong; the caller can correct it."""


class BudgetError(UsageError):
    """The read would exceed, or has reached, the budget the caller set."""


class AnswerTooLargeError(UsageError):
    """The answer would take more memory at once than ``max_answer_bytes`` allows."""


class FileFormatError(RasteretError):
    """The file is damaged, or uses an unsupported feature, which the message names."""


class FetchError(RasteretError, OSError):
    """The network, the store or the file system did not deliver the bytes."""


class StaleIndexError(FetchError):
    """The file changed after it was indexed: its ETag, size or modification time is another."""


class QueryTimeoutError(FetchError, TimeoutError):
    """The reads of a query took longer than ``query_timeout_s``."""


def missing_extra(what: str, library: str, extra: str) -> UsageError:
    """Return the error of something that needs a library which is not installed.

    Parameters
    ----------
    what
        What needs the library, as in ``"to_torch"``.
    library
        Its name, as people know it.
    extra
        The extra of this package that installs it.

    Examples
    --------
    >>> print(missing_extra("to_torch", "PyTorch", "torch"))
    to_torch needs PyTorch, which is not installed; install it: pip install "polars-rasteret[torch]"
    """
    return UsageError(
        f'{what} needs {library}, which is not installed; install it: pip install "polars-rasteret[{extra}]"'
    )
