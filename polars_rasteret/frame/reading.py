"""How do bands of one batch of rows become columns?

This is the one place where the faces meet the engine: all bands of a batch are read in one call, so that a tile they share is
fetched and decoded once. It knows windows and columns, and nothing of pairs, predicates or expressions.
"""

from __future__ import annotations

import mmap
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.engine import Out, WindowRead, read_windows
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import lossless_supertype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending, WindowAnswer
    from polars_rasteret.frame.references import RasterColumn
    from polars_rasteret.frame.windows import Windows
    from polars_rasteret.options import ReadOptions


_OWN_PAGES_BYTES = 8_000_000
"""From here on the C library keeps what was freed, as long as anything younger lies behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandRows:
    """What one band is asked in one batch."""

    column: RasterColumn
    reference_id: NDArray[np.int64]
    """Reference of each row; -1 reads nothing."""
    row: NDArray[np.int64] | None
    """Row of the raster column for each row of the batch (scale and offset are looked up there); None: the same."""
    windows: Windows
    unscale: bool = False

    @property
    def is_read(self) -> NDArray[np.bool_]:
        """Rows that have a raster and meet it."""
        return (self.reference_id >= 0) & self.windows.is_met

    def scale_and_offset(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give scale and offset of each row of the batch."""
        scale, offset = self.column.scale_and_offset()
        if not len(scale):  # no record at all
            return np.ones(len(self.reference_id)), np.zeros(len(self.reference_id))
        return (scale, offset) if self.row is None else (scale[self.row], offset[self.row])


@dataclass(frozen=True, slots=True, kw_only=True)
class BandAnswer:
    """What one band answered."""

    rows: BandRows
    answer: WindowAnswer
    is_read: NDArray[np.bool_]
    """Rows that were read without an error."""


def window_reads(
    bands: Sequence[BandRows],
    outs: Sequence[Out | None],
    *,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    fill_value: float | None = None,
    want_valid: bool = False,
) -> list[WindowRead]:
    """Say what the engine is to read for all bands."""
    reads = []
    # Bands on the same grid are given the same arrays, so that the engine plans their tiles once.
    shared: dict[tuple[int, bytes], tuple[NDArray[np.int64], ...]] = {}
    for band, out in zip(bands, outs, strict=True):
        is_read = band.is_read
        key = (id(band.windows), np.packbits(is_read).tobytes())
        if key not in shared:
            windows = band.windows
            if is_read.all():
                shared[key] = (windows.row_start, windows.col_start, windows.height, windows.width)
            else:
                shared[key] = tuple(
                    np.where(is_read, part, 0)
                    for part in (windows.row_start, windows.col_start, windows.height, windows.width)
                )
        row_start, col_start, height, width = shared[key]
        dtype = (dtypes or {}).get(band.column.name, band.column.dtype)
        _check_fill(fill_value, dtype, band.column.name)
        reads.append(
            WindowRead(
                label=band.column.name,
                references=band.column.references,
                reference_id=np.where(is_read, band.reference_id, -1),
                row_start=row_start,
                col_start=col_start,
                height=height,
                width=width,
                dtype=dtype,
                fill=None if fill_value is None else dtype.type(fill_value),
                want_valid=want_valid,
                out=out,
            )
        )
    return reads


def read_bands(
    bands: Sequence[BandRows],
    options: ReadOptions,
    *,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    fill_value: float | None = None,
    want_valid: bool,
    advice: str,
    shape: tuple[int, int] | None = None,
    stack: bool = False,
    spending: Spending | None = None,
) -> tuple[list[BandAnswer], dict[int, str]]:
    """Read windows of all bands together.

    Parameters
    ----------
    bands
        One per column; rows are the same in all.
    options
        Captured when the verb or expression was written.
    dtypes
        Result dtype by band where it is not the band's own pixel dtype (``stack=True``).
    fill_value
        For pixels outside of the image.
    want_valid
        Whether the validity of every pixel is needed.
    advice
        What to do when the answer would be too large.
    shape
        Of every window, where they all have one: each row then has a place in the answer, read or not.
    stack
        With `shape`: all bands of a row lie side by side in one array, which is the answer of each band.
    spending
        What the batches of an expression may fetch together.

    Returns
    -------
    answers
        One per band.
    errors
        Reasons by row, with ``on_error="null"``.
    """
    outs = _outs(bands, dtypes or {}, shape, stack=stack, want_valid=want_valid, options=options, advice=advice)
    reads = window_reads(bands, outs, dtypes=dtypes, fill_value=fill_value, want_valid=want_valid)
    answers = read_windows(reads, options, advice=advice, spending=spending)
    errors: dict[int, str] = {}
    results = []
    for band, answer in zip(bands, answers, strict=True):
        is_read = band.is_read
        for row, reason in answer.errors.items():
            is_read[row] = False
            errors[row] = f"{errors[row]}; {reason}" if row in errors else reason
        results.append(BandAnswer(rows=band, answer=answer, is_read=is_read))
    return results, errors


def _outs(
    bands: Sequence[BandRows],
    dtypes: Mapping[str, np.dtype[Any]],
    shape: tuple[int, int] | None,
    *,
    stack: bool,
    want_valid: bool,
    options: ReadOptions,
    advice: str,
) -> list[Out | None]:
    """Make the arrays that windows of one shape are written into; 0 where nothing is read."""
    if shape is None:
        return [None] * len(bands)
    n_rows, n_pixels = len(bands[0].reference_id), shape[0] * shape[1]
    wanted = [dtypes.get(band.column.name, band.column.dtype) for band in bands]
    n_bytes = n_rows * n_pixels * sum(dtype.itemsize + want_valid for dtype in wanted)
    if n_bytes > options.max_answer_bytes:
        raise UsageError(
            f"the answer would take {n_bytes / 1e6:,.1f} MB, more than max_answer_bytes "
            f"({options.max_answer_bytes / 1e6:,.1f} MB) allows at once; {advice}"
        )
    side_by_side = len(bands) if stack else 1
    outs: list[Out | None] = []
    values = valid = None
    for at, dtype in enumerate(wanted):
        if values is None or not stack:
            values = _zeros(n_rows * n_pixels * side_by_side, dtype)
            valid = np.zeros(len(values), np.bool_) if want_valid else None
        first = at * n_pixels if stack else 0
        outs.append(
            Out(
                values=values[first:],
                valid=None if valid is None else valid[first:],
                stride=n_pixels * side_by_side,
            )
        )
    return outs


def _zeros(n_values: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Give zeros; large ones in pages of their own, which go back to the system whatever lies around them."""
    if n_values * dtype.itemsize < _OWN_PAGES_BYTES:
        return np.zeros(n_values, dtype)
    pages = mmap.mmap(-1, n_values * dtype.itemsize)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # as NumPy does for its own
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype)


def warn_of_errors(errors: Mapping[int, str], what: str) -> None:
    """Tell once per batch that values became null, for faces that cannot add a column."""
    if errors:
        first = next(iter(errors.values()))
        warnings.warn(
            f"{what}: {len(errors)} values are null because their read failed (on_error='null'); the first: {first}. "
            "All reasons are in the errors of pr.profile().",
            RuntimeWarning,
            stacklevel=2,
        )


def check_same_grids(bands: Sequence[BandRows]) -> None:
    """Refuse bands whose pixels do not line up where they would be given as one window.

    Raises
    ------
    UsageError
        When bands of one row lie on different grids.
    """
    first = bands[0]
    for other in bands[1:]:
        if other.windows is first.windows:
            continue  # shared because the grids are the same
        both = first.is_read & other.is_read
        ours, theirs = first.reference_id[both], other.reference_id[both]
        pairs = np.unique(np.stack([ours, theirs], axis=1), axis=0).tolist() if len(ours) else []
        for one, two in pairs:
            same_crs = first.column.crs[one] == other.column.crs[two]
            if not (
                same_crs and np.array_equal(first.column.transform[one], other.column.transform[two], equal_nan=True)
            ):
                raise UsageError(
                    f"{first.column.name} and {other.column.name} of {first.column.references[one].href} lie on different pixel "
                    "grids, and bringing one onto the other is not available yet in this version; read them in separate calls"
                )


def stack_dtype(columns: Sequence[RasterColumn]) -> np.dtype[np.generic]:
    """Give the dtype that holds every band of a stack.

    Raises
    ------
    UsageError
        When no dtype holds all values of all bands.
    """
    dtype = lossless_supertype([column.dtype for column in columns])
    if dtype is None:
        raise UsageError(
            f"stack=True: no dtype holds every value of {', '.join(f'{one.name} ({one.dtype})' for one in columns)}; "
            "read these bands without stack"
        )
    return dtype


def _check_fill(fill_value: float | None, dtype: np.dtype[Any], name: str) -> None:
    if fill_value is None:
        return
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            fits = not np.isfinite(fill_value) or bool(np.isfinite(dtype.type(fill_value)))
    else:
        fits = float(fill_value).is_integer() and np.iinfo(dtype).min <= fill_value <= np.iinfo(dtype).max
    if not fits:
        raise UsageError(
            f"fill_value={fill_value} does not fit band {name}, whose pixels are {dtype}; choose one that does"
        )
