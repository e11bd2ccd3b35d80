"""What is the value of a formula over bands, pixel by pixel?

Names and results of formulas are checked where a verb is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.pixels.series import scalar_series

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    Pixels = tuple[NDArray[Any], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A row-wise expression over bands."""

    expr: pl.Expr
    bands: tuple[str, ...]
    """Bands that it names."""
    dtype: pl.DataType

    def of_pixels(self, bands: Mapping[str, Pixels]) -> Pixels:
        """Return values and valid mask of the formula, in the shape of the bands.

        A pixel is null where it is null in any band of the formula, whatever the expression makes of nulls: else nodata would
        count as a value in ``pl.when``.

        Parameters
        ----------
        bands
            Values and valid mask of all pixels, for each band that the formula names; all of one shape.
        """
        import polars as pl

        shape = bands[self.bands[0]][0].shape
        valid = np.logical_and.reduce([bands[name][1] for name in self.bands]).reshape(-1)
        frame = pl.DataFrame([scalar_series(name, bands[name][0].reshape(-1), valid) for name in self.bands])
        result = frame.lazy().select(self.expr.alias("value")).collect()["value"]
        if len(result) != len(valid):
            raise UsageError(
                f"formula {str(self.expr)[:200]} gave {len(result)} values for {len(valid)} pixels; expected an elementwise "
                "expression"
            )
        valid &= result.is_not_null().to_numpy()
        values = result.fill_null(0).to_numpy()
        if values.dtype.kind == "f":
            valid &= ~np.isnan(values)
        return values.reshape(shape), valid.reshape(shape)


def bands_of(names: list[str], formulas: Mapping[str, Formula]) -> list[str]:
    """Return the bands that some values need, each once; a value without a formula is the band of its name."""
    needed = [band for name in names for band in (formulas[name].bands if name in formulas else (name,))]
    return list(dict.fromkeys(needed))
