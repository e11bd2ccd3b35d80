"""Which columns does ``sample_points`` return? The value of each band, and if asked for its distance and neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.grids.windows import windows_of_points
from polars_rasteret.pixels.answer_columns import point_column, point_dtype, sampled_columns
from polars_rasteret.pixels.points.point_groups import PointGroups
from polars_rasteret.pixels.points.point_sampler import PointSampler
from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.reading import BandRows, begin_bands, n_rows_of
from polars_rasteret.schema import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.pixels.points.sampling import Sampling
    from polars_rasteret.pixels.product import Bands, ReadCall, Reads, Targets
    from polars_rasteret.pixels.valid_mask import ValidMask


@dataclass(frozen=True, slots=True, kw_only=True)
class PointProduct:
    """Product of `sample_points`: one value per band, and if asked for its distance and neighbourhood."""

    bands: Mapping[str, pl.DataType] = field(default_factory=dict)
    """Bands with their dtypes; in an expression they are empty until a batch arrives."""
    unscale: frozenset[str] = frozenset()
    sampling: Sampling
    as_points: bool = True
    many_rows: bool = False
    is_planned: bool = False
    free_outputs: frozenset[str] = frozenset()

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns of each band: its value, and if asked for ``{band}_distance`` and ``{band}_neighbourhood``."""
        sampling = self.sampling
        outputs: dict[str, pl.DataType] = {band: self._value_dtype(band) for band in self.bands}
        if sampling.max_distance:
            outputs.update({f"{band}_distance": pl.Float32() for band in self.bands})
        if sampling.neighbourhood != "off":
            shape = (sampling.size, sampling.size)
            outputs.update({f"{band}_neighbourhood": pl.Array(self._value_dtype(band), shape) for band in self.bands})
        return outputs

    @property
    def costs_vary(self) -> bool:
        """Whether neighbourhoods are read only where a pixel is null."""
        return self.sampling.costs_vary

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return the pixel that holds each point."""
        is_exact = self.sampling.max_distance > 0 or self.sampling.method != "nearest"
        return windows_of_points(grids, targets, target, exactly=is_exact)  # type: ignore[arg-type]  # as_points

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> NDArray[np.int64]:
        """Return the bytes of each row: per band a value, its valid flag, and those of each pixel of its neighbourhood."""
        del mask_bands  # chunks bound the pixels of a mask
        n_bytes = 0
        n_around = 0 if self.sampling.neighbourhood == "off" else self.sampling.size**2
        for band in self._chosen(wanted):
            itemsize = numpy_dtype(self._value_dtype(band)).itemsize
            n_bytes += (itemsize + 2) * (1 + n_around) + 4
        return np.full(n_rows_of(bands), n_bytes, np.int64)

    def certain_reads(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> Reads:
        """Return the reads of pixels without neighbourhoods; with a ``valid=`` expression only those of its bands."""
        names = list(mask_bands) or self._chosen(wanted) or list(self.bands)[:1]
        return PointGroups(self._asked(bands, mask_bands), self.sampling).reads(names)

    def read(
        self,
        bands: Bands,
        wanted: AbstractSet[str],
        call: ReadCall,
        *,
        valid_mask: ValidMask | None = None,
        must_count: bool = False,
    ) -> Answer:
        """Return the values of the bands wanted."""
        chosen = self._chosen(wanted)
        if self.sampling.is_plain and valid_mask is None and not must_count:
            asked = [self._scaled(bands[name]) for name in chosen]
            answers, errors = begin_bands(
                asked, call.options, want_valid=True, advice=call.advice, spending=call.spending
            ).answers()
            values = {one.rows.column.name: point_column(one, one.rows.column.name) for one in answers}
            return Answer(columns=values, errors=errors)
        of_all = self._asked(bands, () if valid_mask is None else valid_mask.bands)
        sampler = PointSampler(of_all, self.sampling, call, valid_mask=valid_mask)
        found = sampler.sample(chosen, list(self.bands), must_count=must_count)
        columns = {}
        for band in chosen:
            columns.update(sampled_columns(of_all[band], found[band], self.sampling))
        return Answer(
            columns={name: columns[name] for name in self.outputs if name in wanted and name in columns},
            errors=sampler.errors,
            counts=sampler.counts,
        )

    def _value_dtype(self, band: str) -> pl.DataType:
        return point_dtype(self.bands[band], is_float=band in self.unscale or self.sampling.method != "nearest")

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        """Return the bands that the wanted columns need."""
        return [
            band for band in self.bands if not wanted.isdisjoint({band, f"{band}_distance", f"{band}_neighbourhood"})
        ]

    def _asked(self, bands: Bands, mask_bands: Iterable[str]) -> dict[str, BandRows]:
        return {name: self._scaled(bands[name]) for name in dict.fromkeys([*self.bands, *mask_bands])}

    def _scaled(self, band: BandRows) -> BandRows:
        return replace(band, unscale=True) if band.column.name in self.unscale else band
