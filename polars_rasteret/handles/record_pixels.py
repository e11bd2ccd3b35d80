"""Which pixels has one record at some places, on its own grid or in another CRS?

All bands of an answer are on one pixel grid. Where the caller asks, and what becomes of the arrays, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.arguments import check_choice, check_fill, checked_resolution, checked_shape, checked_unscale
from polars_rasteret.engine import Spending
from polars_rasteret.engine.interruption import running
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import NATIVE, normalize_crs
from polars_rasteret.grids.answer_grids import answer_grids
from polars_rasteret.grids.choosing import FINEST, check_grid, grid_bands
from polars_rasteret.grids.default_grid import default_grid
from polars_rasteret.hrefs import shown
from polars_rasteret.options import current_options
from polars_rasteret.pixels.answer_columns import unscaled_windows
from polars_rasteret.pixels.rasters.own_tables import columns_with_own_tables
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of
from polars_rasteret.pixels.reading import BandRows
from polars_rasteret.pixels.stacks import stack_dtype
from polars_rasteret.pixels.windows.aligned_bands import bands_on_grids
from polars_rasteret.pixels.windows.covered import blank_uncovered
from polars_rasteret.pixels.windows.resampled import begin_onto_grids
from polars_rasteret.pixels.windows.resampling import check_resampling, methods_by_band

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.grids.answer_grids import AnswerGrids
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.handles.places import AskedPlaces
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn
    from polars_rasteret.pixels.reading import BandAnswer

ADVICE = "ask for a smaller window or a coarser shape=, or raise pr.options(max_answer_bytes=...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadWords:
    """Words of a caller that say how pixels are read, checked."""

    target_crs: str | None = None
    shape: tuple[int, int] | None = None
    resolution: tuple[float, float] | None = None
    grid: str = FINEST
    resampling: Any = "nearest"
    coverage: str | None = None
    masked: bool = False
    fill_value: float | None = None
    unscale: frozenset[str] = frozenset()


def checked_words(what: str, bands: Sequence[str], **words: Any) -> ReadWords:
    """Return the words of a caller.

    Raises
    ------
    UsageError
        For words that are wrong, or do not go together.
    """
    check_choice(what, "coverage", words.get("coverage"), (None, "center", "all_touched"))
    check_choice(what, "masked", words.get("masked", False), (False, True))
    check_fill(what, words.get("fill_value"))
    check_resampling(what, words.get("resampling", "nearest"), bands)
    check_grid(what, words.get("grid", FINEST), bands)
    target_crs = words.get("target_crs")
    shape = checked_shape(what, words.get("shape"))
    return ReadWords(
        **{
            **words,
            "target_crs": None if target_crs is None else normalize_crs(target_crs),
            "shape": shape,
            "resolution": checked_resolution(what, words.get("resolution"), shape),
            "unscale": checked_unscale(what, words.get("unscale", False), bands),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPixels:
    """Pixels of one record, one answer per place."""

    bands: Sequence[BandAnswer]
    grids: AnswerGrids
    is_stacked: bool
    """Whether the bands of each answer lie side by side in one array."""
    flat: Sequence[NDArray[Any]]
    """Pixels of each band in all answers, unscaled where the caller wants that."""

    def values(self, row: int) -> NDArray[Any]:
        """Return the pixels of one answer, shape (bands, height, width)."""
        height, width = int(self.grids.height[row]), int(self.grids.width[row])
        n_bands = len(self.bands)
        if self.is_stacked:
            n = n_bands * height * width
            return self.flat[0][row * n : (row + 1) * n].reshape(n_bands, height, width)
        dtypes = {one.rows.name: flat.dtype for one, flat in zip(self.bands, self.flat, strict=True)}
        dtype = stack_dtype(dtypes, what="read", instead=_ONE_BY_ONE)
        stacked: NDArray[Any] = np.stack([self.band_values(row, at) for at in range(n_bands)], dtype=dtype)
        return stacked

    def band_values(self, row: int, band: int) -> NDArray[Any]:
        """Return the pixels of one band in its own dtype, shape (height, width)."""
        if self.is_stacked:
            of_band: NDArray[Any] = self.values(row)[band]
            return of_band
        values: NDArray[Any] = self.flat[band][_pixels(self.bands[band], row)]
        return values.reshape(int(self.grids.height[row]), int(self.grids.width[row]))

    def valid(self, row: int) -> NDArray[np.bool_]:
        """Return which pixels of one answer are valid, shape (bands, height, width)."""
        height, width = int(self.grids.height[row]), int(self.grids.width[row])
        n, n_bands = height * width, len(self.bands)
        arrays = [one.answer.valid for one in self.bands]
        assert all(one is not None for one in arrays)
        if self.is_stacked:
            whole: NDArray[np.bool_] = arrays[0][row * n * n_bands : (row + 1) * n * n_bands]  # type: ignore[index]
            return whole.reshape(n_bands, height, width)
        parts = [one.answer.valid[_pixels(one, row)] for one in self.bands]  # type: ignore[index]
        return np.stack([one.reshape(height, width) for one in parts])


_ONE_BY_ONE = "read these bands one by one"


def _pixels(band: BandAnswer, row: int) -> slice:
    return slice(int(band.answer.offset[row]), int(band.answer.offset[row + 1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """Image whose pixels the answers have: that of a band, or what it would be in another CRS."""

    name: str
    grids: PixelGrids
    windows: Windows
    reference_id: NDArray[np.int64]

    @property
    def is_read(self) -> NDArray[np.bool_]:
        return self.windows.is_met

    def level_sizes(self, reference: int) -> list[tuple[int, int]]:
        del reference
        return [(int(self.grids.height[0]), int(self.grids.width[0]))]

    def label(self, row: int) -> str:
        del row
        return self.name


def read_record(
    rasters: Sequence[pl.Series], places: AskedPlaces, words: ReadWords, *, want_stack: bool
) -> RecordPixels:
    """Read the pixels of one record at each place.

    Parameters
    ----------
    rasters
        Raster column of each band, with one row.
    places
        Places of the answers.
    words
        How pixels are read.
    want_stack
        Whether the bands of an answer become one array, which needs a dtype that holds all of them.

    Raises
    ------
    UsageError
        When bands have no common dtype, or a place or CRS does not suit the record.
    FileFormatError, FetchError
        When a file cannot be read.
    """
    options = current_options(on_error="raise").begun()
    with running():
        places_in = places.crs or (NATIVE if words.target_crs is not None else None)
        spending = Spending.of(options)
        columns = raster_columns_of(rasters, targets_in=places_in)
        columns = columns_with_own_tables(columns, [one.reference_id for one in columns], options, spending)
        for column in columns:
            for fault in column.faults.values():
                raise fault
        image = _image(columns, places, words)
        own_resolution = words.resolution if words.target_crs is None else None
        answers = answer_grids([image], image.name, shape=words.shape, resolution=own_resolution)
        bands = [_rows(column, image, places.n, words) for column in columns]
        onto = bands_on_grids(
            bands, [answers] * len(bands), methods_by_band(words.resampling, [one.name for one in bands])
        )
        sizes = set(zip(answers.height.tolist(), answers.width.tolist(), strict=True))
        shape = sizes.pop() if len(sizes) == 1 else None
        is_stacked = want_stack and shape is not None and not words.unscale
        dtypes = None
        if is_stacked:
            common = stack_dtype({one.name: one.dtype for one in columns}, what="read", instead=_ONE_BY_ONE)
            dtypes = {one.name: common for one in columns}
        found, _ = begin_onto_grids(
            onto,
            options,
            dtypes=dtypes,
            fill_value=words.fill_value,
            want_valid=words.masked,
            advice=ADVICE,
            shape=shape,
            stack=is_stacked,
            spending=spending,
        ).answers()
        if words.coverage is not None:
            stride = None if shape is None else shape[0] * shape[1] * (len(bands) if is_stacked else 1)
            blank_uncovered(found, words.coverage, words.fill_value, pixels_per_row=stride)
    return RecordPixels(
        bands=found, grids=answers, is_stacked=is_stacked, flat=[unscaled_windows(one) for one in found]
    )


def _image(columns: Sequence[RasterColumn], places: AskedPlaces, words: ReadWords) -> _Image:
    """Return the image that gives the answers their pixels."""
    own = [column.grids.taken(column.reference_id) for column in columns]
    chosen = int(grid_bands(own, [column.name for column in columns], words.grid)[0])
    name, grid = columns[chosen].name, own[chosen].grid(0)
    if words.target_crs is not None:
        label = f"{name} of {shown(columns[chosen].references[0].href)}"
        grid = default_grid(grid, words.target_crs, words.resolution, label=label)
        if places.crs == NATIVE:
            raise UsageError(
                "crs='native' with target_crs: coordinates are in the CRS of the record, the pixels in another one; pass the "
                "crs of the coordinates by name"
            )
    size = np.array([grid.width], np.int64), np.array([grid.height], np.int64)
    table = columns[0].grids.table
    images = table.add([grid.crs], np.array([grid.transform]), *size).taken(np.zeros(places.n, np.int64))
    has_own_grid = words.shape is not None or (words.resolution is not None and words.target_crs is None)
    windows = places.windows(images, shape=words.shape, has_own_grid=has_own_grid)
    return _Image(name=name, grids=images, windows=windows, reference_id=np.zeros(places.n, np.int64))


def _rows(column: RasterColumn, image: _Image, n: int, words: ReadWords) -> BandRows:
    """Return the rows of one band: its only raster, at every place."""
    return BandRows(
        column=column,
        reference_id=np.repeat(column.reference_id, n),
        row=np.zeros(n, np.int64),
        windows=image.windows,
        unscale=column.name in words.unscale,
    )
