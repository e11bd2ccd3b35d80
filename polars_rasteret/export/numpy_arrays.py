"""How do the windows that a verb or an expression gave become one NumPy array?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.arguments import check_fill, checked_bands
from polars_rasteret.errors import UsageError
from polars_rasteret.export.window_values import (
    element_dtype,
    is_stack,
    is_windows,
    stacked,
    unpacked_bands,
    window_values,
)
from polars_rasteret.pixels.reading import check_fill_fits
from polars_rasteret.pixels.stacks import STACK, stack_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.export.window_values import WindowValues


def to_numpy(
    frame: pl.DataFrame | pl.LazyFrame, bands: str | Sequence[str] | None = None, *, fill_value: float | None = None
) -> tuple[NDArray[Any], pl.DataFrame]:
    """Return windows as one array, and the other columns as a frame with a row per window.

    Parameters
    ----------
    frame
        What ``read_windows``, ``read_window`` or ``pr.read_window`` gave, in any of their forms; a LazyFrame is collected.
    bands
        Names of bands, in the order wanted; None: all windows of the frame. Of a stack, the names of all its bands.
    fill_value
        Value of null pixels, and of rows that are null because nothing was read. None: an array with nulls is masked.

    Returns
    -------
    array : ndarray, shape (n_rows, n_bands, height, width)
        In the dtype that holds all bands; a `numpy.ma.MaskedArray` where anything is null and `fill_value` is None. Where
        nothing is null, a stack and a single band are not copied, so the array may be read-only.
    frame : polars.DataFrame
        The columns that are no windows, in the same order of rows.

    Raises
    ------
    UsageError
        When windows differ in size, when bands have no common dtype, or when there are no windows.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"plot": ["a", "b"], "x": [500_015.0, 500_105.0], "y": [4_999_985.0, 4_999_885.0]})
    >>> chips = pr.testing.example_scenes().raster.read_windows(plots, shape=(4, 4), crs=32632)
    >>> pixels, rows = pr.to_numpy(chips, ["nir", "red"])
    >>> pixels.shape
    (4, 2, 4, 4)
    >>> rows.select("plot", "record_id").rows()
    [('a', 'first'), ('a', 'second'), ('b', 'first'), ('b', 'second')]
    """
    if not isinstance(frame, pl.DataFrame | pl.LazyFrame):
        raise UsageError(f"to_numpy: got a {type(frame).__name__}; expected the frame that a verb gave")
    check_fill("to_numpy", fill_value)
    frame = unpacked_bands(frame.lazy().collect())
    if STACK in frame.columns and is_stack(frame.schema[STACK]):
        found, used = _of_stack(frame, bands), [STACK]
    else:
        found, used = _of_bands(frame, bands)
    array: NDArray[Any] = found.values
    if found.valid is not None:
        if fill_value is None:
            array = np.ma.MaskedArray(array, ~found.valid)
        else:
            check_fill_fits(fill_value, array.dtype, used[0])
            array = np.where(found.valid, array, array.dtype.type(fill_value))
    return array, frame.drop(used)


def _of_stack(frame: pl.DataFrame, bands: str | Sequence[str] | None) -> WindowValues:
    found = window_values(frame[STACK])
    if bands is not None and len(names := checked_bands("to_numpy", bands)) != found.values.shape[1]:
        raise UsageError(
            f"to_numpy: the stack has {found.values.shape[1]} bands, and bands names {len(names)}: {', '.join(names)}; a stack "
            "does not know the names of its bands, so choose some of them by array[:, [0, 2]]"
        )
    return found


def _of_bands(frame: pl.DataFrame, bands: str | Sequence[str] | None) -> tuple[WindowValues, list[str]]:
    windows = [name for name, dtype in frame.schema.items() if is_windows(dtype)]
    names = windows if bands is None else list(checked_bands("to_numpy", bands))
    if unknown := [name for name in names if name not in windows]:
        raise UsageError(
            f"to_numpy: {', '.join(unknown)} is no column of windows; those of the frame are {', '.join(windows) or 'none'}"
        )
    if not names:
        raise UsageError(
            f"to_numpy: no column holds windows; the frame has {', '.join(frame.columns)}. Read them with "
            "lf.raster.read_windows(aois, bands, shape=(height, width))"
        )
    dtype = stack_dtype(
        {name: element_dtype(frame.schema[name]) for name in names}, what="to_numpy", instead="convert them one by one"
    )
    columns = [window_values(frame[name]) for name in names]
    sizes = {name: one.values.shape[1:] for name, one in zip(names, columns, strict=True)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {height} x {width}" for name, (height, width) in sizes.items())
        raise UsageError(
            f"to_numpy: bands have windows of several sizes ({told}), so they do not fit into one array; read them with "
            "shape=(height, width), which brings them onto one grid"
        )
    return stacked(columns, dtype), names
