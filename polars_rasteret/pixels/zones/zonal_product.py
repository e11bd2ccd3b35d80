"""What does ``zonal_stats`` give for its rows? Statistics of the pixels of each band in a zone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.pixels.formulas import bands_of
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.reading import n_rows_of
from polars_rasteret.pixels.zones.zone_reads import ZoneReads
from polars_rasteret.pixels.zones.zone_statistics import ZoneSums, statistic_columns, value_dtypes
from polars_rasteret.pixels.zones.zone_windows import zone_windows
from polars_rasteret.schema import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.formulas import Formula
    from polars_rasteret.pixels.product import Bands, ReadCall, Reads, Targets
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.zones.zone_statistics import Statistic

_STATISTIC_BYTES = 9
_VALUES_BYTES = 512
"""Of the counts of values of one row, a guess: they depend on the pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonalProduct:
    """Statistics of each band in a zone."""

    bands: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Empty in an expression until a batch names them."""
    unscale: frozenset[str] = frozenset()
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    """What statistics are of, by name; empty where they are of the bands themselves."""
    statistics: tuple[Statistic, ...]
    coverage: str = "exact"
    grid: str = "finest"
    resampling: str | Mapping[str, str] = "nearest"
    min_valid_fraction: float | None = None
    approx: int | None = None
    """Least number of pixels of a zone on the overview that answers for it; None: full resolution answers."""
    as_points: bool = False
    costs_vary: bool = False
    many_rows: bool = False
    is_planned: bool = True
    free_outputs: frozenset[str] = frozenset()

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Per band or formula and statistic ``{name}_{statistic}``."""
        return {
            f"{name}_{one.suffix}": one.dtype(dtype)
            for name, dtype in value_dtypes(self.bands, self.unscale, self.formulas).items()
            for one in self.statistics
        }

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return the pixels around each zone."""
        return zone_windows("zonal_stats", grids, targets, target)

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> NDArray[np.int64]:
        """Return the bytes of the statistics of each row; units of work bound its pixels."""
        del mask_bands
        n_bytes = 0
        for statistics in self._chosen(wanted).values():
            n_bytes += 64 + _STATISTIC_BYTES * len(statistics)
            n_bytes += _VALUES_BYTES * any(one.needs_values for one in statistics)
        return np.full(n_rows_of(bands), n_bytes, np.int64)

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
        """Return the statistics wanted."""
        chosen = self._chosen(wanted)
        dtypes = value_dtypes(self.bands, self.unscale, self.formulas)
        names = list(dtypes) if must_count else list(chosen)
        if not names:
            return Answer(columns={})
        scaled = {name: replace(band, unscale=name in self.unscale) for name, band in bands.items()}
        n_rows = n_rows_of(bands)
        needs_whole = self.min_valid_fraction is not None and must_count
        needs_whole |= any(one.name == "valid_fraction" for some in chosen.values() for one in some)
        sums = {
            name: ZoneSums.nothing(
                n_rows,
                numpy_dtype(dtypes[name]),
                chosen.get(name, ()),
                has_whole=needs_whole,
            )
            for name in names
        }
        found = ZoneReads(
            bands=scaled,
            names=names,
            formulas=self.formulas,
            coverage=self.coverage,
            grid=self.grid,
            resampling=self.resampling,
            asked=list(self.bands),
            valid_mask=valid_mask,
            whole=needs_whole,
            counts=must_count,
            approx=self.approx,
        ).read(sums, call)
        columns: dict[str, pl.Series] = {}
        for name, statistics in chosen.items():
            is_read = np.logical_and.reduce([bands[band].is_read for band in bands_of([name], self.formulas)])
            is_answered = is_read & ~sums[name].is_failed[found.first]
            columns.update(statistic_columns(name, sums[name], statistics, is_answered=is_answered, first=found.first))
        counts = None
        if must_count:
            whole = np.max([one.whole for one in sums.values()], axis=0) if needs_whole else np.ones(n_rows)
            share = found.weight / np.where(whole > 0, whole, 1)
            counts = ((found.weight > 0) & (share >= (self.min_valid_fraction or 0)))[found.first]
        return Answer(columns=columns, errors=found.errors, counts=counts)

    def _chosen(self, wanted: AbstractSet[str]) -> dict[str, tuple[Statistic, ...]]:
        """Return the statistics that are wanted, by band or formula."""
        chosen = {}
        for name in self.formulas or self.bands:
            statistics = tuple(one for one in self.statistics if f"{name}_{one.suffix}" in wanted)
            if statistics:
                chosen[name] = statistics
        return chosen
