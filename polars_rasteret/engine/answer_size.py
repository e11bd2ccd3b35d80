"""Does an answer fit the memory that it may take?"""

from __future__ import annotations

from polars_rasteret.errors import AnswerTooLargeError

ONE_ROW = (
    "a single row of it is larger than that. Ask for smaller windows or a coarser resolution=, or raise "
    "pr.options(max_answer_bytes=...)"
)
_SMALL_BYTES = 100_000


def check_answer_size(n_bytes: float, max_bytes: int, *, n_rows: int, label: str = "", advice: str) -> None:
    """Refuse an answer that is larger than allowed.

    Parameters
    ----------
    n_bytes, max_bytes
        Size of the answer, and the size that is allowed.
    n_rows
        Rows of the answer.
    label
        Names of the bands, for the message.
    advice
        The next step where the answer has several rows.

    Raises
    ------
    AnswerTooLargeError
        When the answer is larger; the message names both sizes.

    Examples
    --------
    >>> check_answer_size(2_500_000, 1_000_000, n_rows=2, label="red", advice="ask for fewer rows")
    Traceback (most recent call last):
    ...
    polars_rasteret.errors.AnswerTooLargeError: red: the answer would take 2.5 MB, ...; ask for fewer rows
    """
    if n_bytes > max_bytes:
        raise AnswerTooLargeError(
            f"{label}{': ' if label else ''}the answer would take {_told(n_bytes)}, more than max_answer_bytes "
            f"({_told(max_bytes)}) allows at once; {ONE_ROW if n_rows == 1 else advice}"
        )


def _told(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= _SMALL_BYTES else f"{n_bytes:,.0f} bytes"
