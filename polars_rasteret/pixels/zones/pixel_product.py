"""What does ``pixels`` give for its rows? One row per pixel that a zone covers, with its place, its weight and its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import check_answer_size
from polars_rasteret.pixels.formulas import bands_of
from polars_rasteret.pixels.product import LEAST_ENTRY_BYTES, Answer
from polars_rasteret.pixels.reading import n_rows_of
from polars_rasteret.pixels.zones.pixel_rows import PixelRowReads
from polars_rasteret.pixels.zones.zone_statistics import value_dtypes
from polars_rasteret.pixels.zones.zone_windows import zone_windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.formulas import Formula
    from polars_rasteret.pixels.product import Bands, ReadCall, Reads, Targets
    from polars_rasteret.pixels.valid_mask import ValidMask

PLACES: dict[str, pl.DataType] = {
    "raster_crs": pl.String(),
    "x": pl.Float64(),
    "y": pl.Float64(),
    "row": pl.Int64(),
    "col": pl.Int64(),
    "coverage": pl.Float64(),
}
"""Columns that say where a pixel is and how much of it the zone covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelProduct:
    """The pixels of all bands in a zone, one row each."""

    bands: Mapping[str, pl.DataType]
    unscale: frozenset[str] = frozenset()
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    """What the values are, by name; empty where they are the bands themselves."""
    coverage: str = "exact"
    grid: str = "finest"
    resampling: str | Mapping[str, str] = "nearest"
    min_valid_fraction: float | None = None
    keeps_empty: bool = False
    """Whether a zone without a pixel in a record has one row of nulls."""
    as_points: bool = False
    costs_vary: bool = False
    many_rows: bool = True
    is_planned: bool = True
    free_outputs: frozenset[str] = frozenset(PLACES)

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Where each pixel is, and its values."""
        return {**PLACES, **value_dtypes(self.bands, self.unscale, self.formulas)}

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return the pixels around each zone."""
        return zone_windows("pixels", grids, targets, target)

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> NDArray[np.int64]:
        """Return the bytes of the pixels around each zone while they are put in order: row, place, weight and values, twice."""
        n_pixels = np.max([band.windows.height * band.windows.width for band in bands.values()], axis=0)
        read = {*bands_of(self._chosen(wanted), self.formulas), *mask_bands}
        n_bytes = sum(2 * (bands[name].column.dtype.itemsize + 1) for name in read)
        return np.asarray((n_pixels + 1) * (LEAST_ENTRY_BYTES + n_bytes), np.int64)

    def certain_reads(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> Reads:
        """Return nothing: windows around zones name tiles that no zone touches; see `is_planned`."""
        del bands, wanted, mask_bands
        return []

    def read(
        self,
        bands: Bands,
        wanted: AbstractSet[str],
        call: ReadCall,
        *,
        valid_mask: ValidMask | None = None,
        must_count: bool = False,
    ) -> Answer:
        """Return the wanted columns of all pixels at once."""
        n_bytes = float(self.row_bytes(bands, wanted, () if valid_mask is None else valid_mask.bands).sum())
        check_answer_size(n_bytes, call.options.max_answer_bytes, n_rows=n_rows_of(bands), advice=call.advice)
        reads = self._reads(bands, wanted, valid_mask, must_count=must_count)
        parts = list(reads.parts(call))
        columns = {name: pl.concat([part.columns[name] for part in parts]) for name in parts[0].columns}
        errors, before = {}, 0
        for part in parts:
            assert part.row is not None
            errors.update({before + at: reason for at, reason in part.errors.items()})
            before += len(part.row)
        row = np.concatenate([part.row for part in parts if part.row is not None])
        counts = reads.counts(self.min_valid_fraction) if must_count else None
        return Answer(columns=columns, errors=errors, counts=counts, row=row)

    def parts(
        self, bands: Bands, wanted: AbstractSet[str], call: ReadCall, *, valid_mask: ValidMask | None = None
    ) -> Iterator[Answer]:
        """Yield the wanted columns of all pixels, some at a time, in order of rows, raster rows and raster columns."""
        yield from self._reads(bands, wanted, valid_mask, must_count=False).parts(call)

    def _reads(
        self, bands: Bands, wanted: AbstractSet[str], valid_mask: ValidMask | None, *, must_count: bool
    ) -> PixelRowReads:
        names = list(self.formulas or self.bands) if must_count else self._chosen(wanted)
        return PixelRowReads(
            bands={name: replace(band, unscale=name in self.unscale) for name, band in bands.items()},
            names=names,
            formulas=self.formulas,
            wanted=frozenset(wanted),
            coverage=self.coverage,
            grid=self.grid,
            resampling=self.resampling,
            asked=list(self.bands),
            valid_mask=valid_mask if names else None,
            keeps_empty=self.keeps_empty,
            needs_whole=must_count and self.min_valid_fraction is not None,
        )

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        """Return the values that are wanted."""
        return [name for name in (self.formulas or self.bands) if name in wanted]
