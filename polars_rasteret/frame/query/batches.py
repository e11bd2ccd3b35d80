"""How are the frames of an answer handed to Polars, so that memory stays bounded and a query may end early?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.plan.batches import WIDE_ROW_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

_PIECE_BYTES = 16_000_000
_FRAMES_AHEAD = 4
"""Number greater than that of the frames which Polars' streaming engine takes ahead from a source."""


def pieces(frame: pl.DataFrame, row_bytes: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    """Yield the frame of a batch, in pieces when its rows are wide: Polars keeps several frames before a sink, of any size."""
    n_rows = frame.height
    if not n_rows or int(row_bytes.sum()) < WIDE_ROW_BYTES * len(row_bytes):
        yield frame
        return
    step = max(1, int(_PIECE_BYTES // max(1.0, float(row_bytes.mean()))))
    for start in range(0, n_rows, step):
        yield frame.slice(start, step)


def with_empty_frames(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield frames so that the streaming engine can end the read after each of them.

    The engine takes some frames ahead. If it may have enough rows early, the frames ahead must be empty, not batches.

    Examples
    --------
    >>> import polars as pl
    >>> [frame.height for frame in with_empty_frames(iter([pl.DataFrame({"a": [1, 2]})]))]
    [2, 0, 0, 0, 0]
    """
    for frame in frames:
        yield frame
        nothing = frame.clear()
        del frame  # free its memory while the next batch is read
        for _ in range(_FRAMES_AHEAD):
            yield nothing
