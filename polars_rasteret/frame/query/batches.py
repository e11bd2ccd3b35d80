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
"""More than the frames that Polars' streaming engine takes from a source before it looks at the first of them."""


def pieces(frame: pl.DataFrame, row_bytes: NDArray[np.int64]) -> Iterator[pl.DataFrame]:
    """Cut the frame of a unit of wide rows: Polars holds a number of frames before a sink, whatever their size."""
    n_rows = frame.height
    if not n_rows or int(row_bytes.sum()) < WIDE_ROW_BYTES * len(row_bytes):
        yield frame
        return
    step = max(1, int(_PIECE_BYTES // max(1.0, float(row_bytes.mean()))))
    for start in range(0, n_rows, step):
        yield frame.slice(start, step)


def with_turns(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Return frames so that the streaming engine can end the read after each of them.

    It asks for some frames ahead. Where it may have its rows early, what it asks for ahead is empty, not a unit.

    Examples
    --------
    >>> import polars as pl
    >>> [frame.height for frame in with_turns(iter([pl.DataFrame({"a": [1, 2]})]))]
    [2, 0, 0, 0, 0]
    """
    for frame in frames:
        yield frame
        nothing = frame.clear()
        del frame  # it is not held while the next unit is read
        for _ in range(_FRAMES_AHEAD):
            yield nothing
