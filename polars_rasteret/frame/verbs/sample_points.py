"""What does ``sample_points`` give for paired rows?

A picklable value that carries names, dtypes and options only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.engine import Cost, cost_of
from polars_rasteret.frame.columns.answers import point_column, sampled_columns
from polars_rasteret.frame.query.batches import TOO_LARGE
from polars_rasteret.frame.query.question import READ_ERROR
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import windows_of_points
from polars_rasteret.pairing.paired_rows import band_rows
from polars_rasteret.pairing.reader import ReadAnswer
from polars_rasteret.pixels.points import PointSampler
from polars_rasteret.pixels.reading import BandRows, read_bands
from polars_rasteret.schema import numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pixels.sampling import Sampling
    from polars_rasteret.pixels.valid_mask import Judge


@dataclass(frozen=True, kw_only=True)
class PointReader:
    """``sample_points``: one value per band, perhaps its distance and its neighbourhood."""

    bands: Mapping[str, pl.DataType]
    unscale: frozenset[str]
    tells_errors: bool
    sampling: Sampling
    as_points: bool = True

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Per band its value, ``{band}_distance`` and ``{band}_neighbourhood``; ``read_error`` where it was asked for."""
        sampling = self.sampling
        outputs: dict[str, pl.DataType] = {band: self._value_dtype(band) for band in self.bands}
        if sampling.max_distance:
            outputs.update({f"{band}_distance": pl.Float32() for band in self.bands})
        if sampling.neighbourhood != "off":
            shape = (sampling.size, sampling.size)
            outputs.update({f"{band}_neighbourhood": pl.Array(self._value_dtype(band), shape) for band in self.bands})
        return {**outputs, **({READ_ERROR: pl.String()} if self.tells_errors else {})}

    def _value_dtype(self, band: str) -> pl.DataType:
        is_float = band in self.unscale or self.sampling.method != "nearest"
        return pl.Float64() if is_float else pixel_dtype(self.bands[band])

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Give the pixel that holds each point."""
        assert isinstance(targets, Points)
        return windows_of_points(
            grids,
            targets,
            target,
            exactly=self.sampling.max_distance > 0 or self.sampling.method != "nearest",
        )

    def row_bytes(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        judging: Sequence[str] = (),  # noqa: ARG002
    ) -> NDArray[np.int64]:
        """Give the size of a row: a value and its validity per band, and of each pixel of its neighbourhood."""
        n_bytes = 0
        n_around = 0 if self.sampling.neighbourhood == "off" else self.sampling.size**2
        for band in self._chosen(wanted):
            itemsize = numpy_dtype(self._value_dtype(band)).itemsize
            n_bytes += (itemsize + 2) * (1 + n_around) + 4
        return np.full(len(rows), n_bytes, np.int64)

    @property
    def costs_vary(self) -> bool:
        """Whether surroundings are read only where a pixel is null."""
        return self.sampling.costs_vary

    def read(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judge: Judge | None,
        spending: Spending | None,
        must_count: bool,
    ) -> ReadAnswer:
        """Read the pixels of the bands wanted."""
        chosen = self._chosen(wanted)
        if self.sampling.is_plain and judge is None and not must_count:
            asked = list(self._asked(rows, chosen).values())
            answers, errors = read_bands(asked, options, want_valid=True, advice=TOO_LARGE, spending=spending)
            columns = {one.rows.column.name: point_column(one, one.rows.column.name) for one in answers}
            return ReadAnswer(columns=columns, errors=errors)
        judging = [band for band in judge.bands if band not in self.bands] if judge is not None else []
        bands = self._asked(rows, [*self.bands, *judging])
        sampler = PointSampler(bands, self.sampling, options, judge=judge, spending=spending)
        answer = sampler.sample(chosen, list(self.bands), must_count=must_count)
        columns = {}
        for band in chosen:
            columns.update(sampled_columns(bands[band], answer.bands[band], self.sampling))
        return ReadAnswer(
            columns={name: columns[name] for name in self.outputs if name in wanted and name in columns},
            errors=answer.errors,
            counts=answer.counts,
        )

    def _chosen(self, wanted: AbstractSet[str]) -> list[str]:
        return [
            band
            for band in self.bands
            if READ_ERROR in wanted or not wanted.isdisjoint({band, f"{band}_distance", f"{band}_neighbourhood"})
        ]

    def _asked(self, rows: PairedRows, bands: list[str]) -> dict[str, BandRows]:
        return dict(zip(bands, band_rows(rows, bands, self.unscale), strict=True))

    def cost(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judging: Sequence[str] = (),
    ) -> Cost:
        """Give what `read` would surely fetch with an empty cache: pixels without surroundings, or what says they are valid."""
        names = list(judging) or self._chosen(wanted) or list(self.bands)[:1]
        bands = self._asked(rows, list(dict.fromkeys([*self.bands, *judging])))
        return cost_of(PointSampler(bands, self.sampling, options).reads(names), options)

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether any of the columns is read."""
        return bool(names)
