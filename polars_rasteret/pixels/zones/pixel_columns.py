"""How do pixels of zones become columns?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.pixels.product import Answer
from polars_rasteret.pixels.reading import add_reason
from polars_rasteret.pixels.series import gathered, scalar_series

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.pixels.formulas import Formula
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask
    from polars_rasteret.pixels.zones.tile_pixels import Pixels, TilePixels

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

PIECE_PIXELS = 2**17
"""Pixels of one frame: Polars keeps several before a sink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelColumns:
    """Makes the columns of a batch."""

    bands: Mapping[str, BandRows]
    names: Sequence[str]
    """Bands or formulas whose values are needed."""
    formulas: Mapping[str, Formula]
    wanted: frozenset[str]
    """Columns, those that say where pixels are among them."""
    valid_mask: ValidMask | None
    grids: PixelGrids
    """Grid of each row."""
    faults: Mapping[int, str]
    """Reasons of rows of which a band cannot be read at all."""
    weight: Floats
    """Weight of the pixels of each row that are valid in any value; grows with each piece."""

    def pieces(self, pixels: TilePixels) -> Iterator[Answer]:
        """Yield the columns of some pixels."""
        for start in range(0, max(len(pixels.row), 1), PIECE_PIXELS):
            yield self._answer(pixels.taken(np.arange(start, min(start + PIECE_PIXELS, len(pixels.row)))))

    def _answer(self, pixels: TilePixels) -> Answer:
        is_pixel = pixels.pixel_row >= 0
        columns = self._places(pixels, is_pixel)
        row = pixels.row
        some: Booleans = np.zeros(len(row), np.bool_)
        accepted = self._accepted(pixels, is_pixel)
        for name in self.names:
            values, valid = self._values(name, pixels)
            valid = valid & accepted
            some |= valid
            columns[name] = scalar_series(name, values, valid)
        weight = self.weight
        weight += np.bincount(row[some], weights=pixels.weight[some], minlength=len(weight))
        errors = dict(pixels.errors())
        if self.faults:
            for at in np.flatnonzero(np.isin(row, list(self.faults))).tolist():
                add_reason(errors, at, self.faults[int(row[at])])
        return Answer(columns=columns, errors=errors, row=row)

    def _places(self, pixels: TilePixels, is_pixel: Booleans) -> dict[str, pl.Series]:
        """Return the wanted columns that say where pixels are."""
        row, wanted, grids = pixels.row, self.wanted, self.grids
        columns = {}
        if "raster_crs" in wanted:
            names = pl.Series(grids.crs.tolist(), dtype=pl.String)
            columns["raster_crs"] = gathered(names, pl.Series(row)).alias("raster_crs")
        transform = grids.transform[row]
        down, across = pixels.pixel_row + 0.5, pixels.pixel_col + 0.5
        for name, at in (("x", 0), ("y", 3)):
            if name in wanted:
                values = transform[:, at] * across + transform[:, at + 1] * down + transform[:, at + 2]
                columns[name] = scalar_series(name, values, is_pixel & np.isfinite(values))
        for name, place in (("row", pixels.pixel_row), ("col", pixels.pixel_col), ("coverage", pixels.weight)):
            if name in wanted:
                columns[name] = scalar_series(name, place, is_pixel)
        return columns

    def _values(self, name: str, pixels: TilePixels) -> Pixels:
        """Return values and valid mask of one band or formula."""
        formula = self.formulas.get(name)
        if formula is None:
            return self._unscaled(name, pixels)
        return formula.of_pixels({band: self._unscaled(band, pixels) for band in formula.bands})

    def _unscaled(self, name: str, pixels: TilePixels) -> Pixels:
        values, valid = pixels.values[name]
        band = self.bands[name]
        if band.unscale:
            scale, offset = band.scale_and_offset()
            values = values * scale[pixels.row] + offset[pixels.row]
        return values, valid

    def _accepted(self, pixels: TilePixels, is_pixel: Booleans) -> Booleans:
        """Return which pixels the valid mask accepts."""
        mask = self.valid_mask
        if mask is None:
            return is_pixel
        return is_pixel & mask.of_pixels(pixels.row, {name: pixels.values[name] for name in mask.bands})
