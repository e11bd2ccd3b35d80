"""How are the windows of all bands of one batch of rows read together?

Verbs and expressions call the engine here. All bands of a batch are read in one call, so that a tile they share is fetched and
decoded once. Pairs, predicates and expressions do not belong here.
"""

from __future__ import annotations

import warnings
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.engine import StartedRead, WindowRead, begin_windows, used_references
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.pixel_grid import first_equal
from polars_rasteret.grids.windows import taken_windows
from polars_rasteret.hrefs import shown
from polars_rasteret.pixels.answer_arrays import answer_outs
from polars_rasteret.pixels.rasters.raster_faults import tell_faults

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import Out, Spending, WindowAnswer
    from polars_rasteret.errors import RasteretError
    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn


@bundle
class BandRows:
    """Windows of one band in one batch of rows."""

    column: RasterColumn
    reference_id: NDArray[np.int64]
    """Reference of each row; -1 reads nothing."""
    row: NDArray[np.int64] | None
    """Row of the raster column for each row of the batch, -1 where it has none; None: the same row."""
    windows: Windows
    level: NDArray[np.int64] | int = 0
    """Level whose pixels the windows count: 0 is full resolution, then the overviews."""
    unscale: bool = False
    faults: Mapping[int, RasteretError] = field(default_factory=dict)
    """Rows that ask for a raster value that cannot be read, and why; nothing is read there."""

    @property
    def name(self) -> str:
        """Name of the band."""
        return self.column.name

    def label(self, row: int) -> str:
        """Return the words that name the band and the file of a row in a message."""
        return f"{self.name} of {shown(self.column.references[int(self.reference_id[row])].href)}"

    def level_sizes(self, reference: int) -> list[tuple[int, int]]:
        """Return ``(height, width)`` of the images of a raster: full resolution, then the overviews."""
        return [(image.height, image.width) for image in self.column.references[reference].tiles.images]

    @property
    def grids(self) -> PixelGrids:
        """Grid of each row that has a raster to read."""
        return self.column.grids.taken(self.reference_id)

    @property
    def is_read(self) -> NDArray[np.bool_]:
        """Rows that have a raster and meet it."""
        return (self.reference_id >= 0) & self.windows.is_met

    def scale_and_offset(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale and offset of each row of the batch."""
        scale, offset = self.column.scale_and_offset()
        if not len(scale):  # no record at all
            return np.ones(len(self.reference_id)), np.zeros(len(self.reference_id))
        return (scale, offset) if self.row is None else (scale[self.row], offset[self.row])


def n_rows_of(bands: Mapping[str, BandRows]) -> int:
    """Return the number of rows, which is the same in all bands."""
    return len(next(iter(bands.values())).reference_id)


def taken_bands(bands: Mapping[str, BandRows], rows: NDArray[np.int64]) -> dict[str, BandRows]:
    """Return all bands with only some of the rows; bands on the same grid still share their windows."""
    windows = taken_windows([band.windows for band in bands.values()], rows)
    place = {int(row): at for at, row in enumerate(rows)} if any(band.faults for band in bands.values()) else {}
    taken = {}
    for (name, band), its_windows in zip(bands.items(), windows, strict=True):
        taken[name] = replace(
            band,
            reference_id=band.reference_id[rows],
            row=rows if band.row is None else band.row[rows],
            windows=its_windows,
            faults={place[row]: fault for row, fault in band.faults.items() if row in place},
        )
    return taken


@bundle
class BandAnswer:
    """Pixels of one band in one batch of rows."""

    rows: BandRows
    answer: WindowAnswer
    is_read: NDArray[np.bool_]
    """Rows that were read without an error."""
    grids: AnswerGrids | None = None
    """Grids of the answers; None: the answers are the windows themselves."""
    outside: NDArray[np.bool_] | None = None
    """Like the values: pixels that get `fill` once the values are unscaled."""
    fill: float | None = None


def window_reads(
    bands: Sequence[BandRows],
    outs: Sequence[Out | None],
    *,
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
    fill_value: float | None = None,
    want_valid: bool = False,
) -> list[WindowRead]:
    """Return the reads of all bands, as the engine takes them."""
    reads: list[WindowRead] = []
    are_read = [band.is_read for band in bands]
    grids = [band.windows.grids.where(is_read) for band, is_read in zip(bands, are_read, strict=True)]
    # Bands on the same grid are given the same arrays, so that the engine plans their tiles once.
    shared: dict[int, tuple[NDArray[np.int64], ...]] = {}
    each = zip(bands, outs, are_read, answer_dtypes(bands, dtypes), first_equal(grids), strict=True)
    for band, out, is_read, dtype, first in each:
        if first not in shared:
            windows = band.windows
            parts = windows.row_start, windows.col_start, windows.height, windows.width
            shared[first] = parts if is_read.all() else tuple(np.where(is_read, part, 0) for part in parts)
        row_start, col_start, height, width = shared[first]
        # The fill of an unscaled answer is in its units: it comes when the values are unscaled.
        fill = None if band.unscale else fill_value
        check_fill_fits(fill, dtype, band.column.name)
        references, reference_id = used_references(band.column.references, np.where(is_read, band.reference_id, -1))
        reads.append(
            WindowRead(
                label=band.column.name,
                references=references,
                reference_id=reference_id,
                row_start=row_start,
                col_start=col_start,
                height=height,
                width=width,
                level=band.level if isinstance(band.level, int) else np.where(is_read, band.level, 0),
                dtype=dtype,
                fill=None if fill is None else dtype.type(fill),
                want_valid=want_valid,
                out=out,
            )
        )
    return reads


def begin_bands(
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
) -> StartedBands:
    """Begin to read windows of all bands together, and return while bytes arrive and are decoded.

    Parameters
    ----------
    bands
        Bands of the batch, with the same rows.
    options
        Options of the verb or expression.
    dtypes
        Result dtype by band where it is not the band's own pixel dtype (``stack=True``).
    fill_value
        Value of pixels outside the image; in unscaled units for a band that is unscaled.
    want_valid
        Whether a valid mask is needed.
    advice
        Next step for the message when the answer would be too large.
    shape
        Height and width of every window, when all have the same: each row then has a place in the answer, read or not.
    stack
        With `shape`: all bands of a row lie side by side in one array, which is the answer of each band.
    spending
        Budget that the batches of an expression share.

    Returns
    -------
    StartedBands
        Its ``answers()`` returns the pixels of each band, and reasons by row, with ``on_error="null"``.
    """
    errors = faults_of(bands, options)
    outs: list[Out | None] = [None] * len(bands)
    if shape is not None:
        sizes = [np.full(len(band.reference_id), shape[0] * shape[1]) for band in bands]
        how = {"stack": stack, "want_valid": want_valid, "options": options, "advice": advice}
        outs = [one.part(0) for one in answer_outs(answer_dtypes(bands, dtypes), sizes, is_regular=True, **how)]  # type: ignore[arg-type]
    reads = window_reads(bands, outs, dtypes=dtypes, fill_value=fill_value, want_valid=want_valid)
    read = begin_windows(reads, options, advice=advice, spending=spending)
    return StartedBands(bands=bands, read=read, errors=errors, shape=shape, fill_value=fill_value)


@bundle
class StartedBands:
    """Windows of bands whose bytes are on their way; made by `begin_bands`."""

    bands: Sequence[BandRows]
    read: StartedRead
    errors: dict[int, str]
    shape: tuple[int, int] | None
    fill_value: float | None

    def abandon(self) -> None:
        """Stop reading; nothing happens where all is read."""
        self.read.abandon()

    def answers(self) -> tuple[list[BandAnswer], dict[int, str]]:
        """Return the pixels of each band, and reasons by row, once they are there."""
        import numpy.ma  # noqa: F401 - Polars needs it to make columns of arrays; the bytes are on their way meanwhile

        errors, fill_value, results = self.errors, self.fill_value, []
        for band, answer in zip(self.bands, self.read.answers(), strict=True):
            is_read = band.is_read
            is_read[list(answer.errors)] = False
            add_reasons(errors, answer.errors)
            outside = _outside(band, self.shape) if band.unscale and fill_value is not None else None
            results.append(BandAnswer(rows=band, answer=answer, is_read=is_read, outside=outside, fill=fill_value))
        return results, errors


def answer_dtypes(bands: Sequence[BandRows], dtypes: Mapping[str, np.dtype[Any]] | None) -> list[np.dtype[Any]]:
    """Return the dtype of each band's answer: of the pixels, where `dtypes` names no other."""
    return [(dtypes or {}).get(band.name, band.column.dtype) for band in bands]


def faults_of(bands: Sequence[BandRows], options: ReadOptions, *more: Mapping[int, RasteretError]) -> dict[int, str]:
    """Return the reasons of rows that cannot be read; raise the first fault with ``on_error="raise"``.

    Parameters
    ----------
    bands
        Bands, of which some raster values may be faulty.
    options
        Options of the verb or expression.
    more
        Other faults by row.
    """
    reasons: dict[int, str] = {}
    for faults in (*(band.faults for band in bands), *more):
        if faults:
            add_reasons(reasons, tell_faults(faults, on_error=options.on_error))
    return reasons


def add_reason(errors: dict[int, str], row: int, reason: str) -> None:
    """Add why a row failed; the same reason is told once."""
    told = errors.get(row)
    if told is None:
        errors[row] = reason
    elif reason not in told:
        errors[row] = f"{told}; {reason}"


def add_reasons(errors: dict[int, str], more: Mapping[int, str]) -> None:
    """Add the reasons of one band to those of all bands, row by row."""
    for row, reason in more.items():
        add_reason(errors, row, reason)


def _outside(band: BandRows, shape: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Return which pixels of the answers lie outside the image. With `shape`, rows that are not read have pixels, too."""
    windows, is_read = band.windows, band.is_read
    parts = [np.zeros(0, np.bool_)]
    for row in range(len(is_read)):
        if not is_read[row]:
            parts.append(np.zeros(0 if shape is None else shape[0] * shape[1], np.bool_))
            continue
        rows = np.arange(windows.height[row]) + windows.row_start[row]
        cols = np.arange(windows.width[row]) + windows.col_start[row]
        inside_rows = (rows >= 0) & (rows < windows.grids.height[row])
        inside_cols = (cols >= 0) & (cols < windows.grids.width[row])
        parts.append(~(inside_rows[:, None] & inside_cols).reshape(-1))
    return np.concatenate(parts)


def warn_of_errors(errors: Mapping[int, str], what: str) -> None:
    """Warn once per batch that values became null, in expressions, which cannot add a column of reasons."""
    if errors:
        first = next(iter(errors.values()))
        warnings.warn(
            f"{what}: {len(errors)} values are null because their read failed (on_error='null'); the first: {first}. "
            "All reasons are in the errors of pr.profile().",
            RuntimeWarning,
            stacklevel=2,
        )


def check_fill_fits(fill_value: float | None, dtype: np.dtype[Any], name: str) -> None:
    """Raise `UsageError` when a fill is not a value of the dtype."""
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
