"""Which pixels are valid by the caller's ``valid=`` expression?

The expression uses raw pixel values by the names of bands, and columns of the record and of the caller. Where it is false or
null, the pixel is null in every band.
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

    from polars_rasteret.pixels.points.neighbourhoods import Patch

CONTEXT = "\0context "
"""Prefix of record columns that only the expression needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidExpr:
    """A ``valid=`` expression, and the bands and columns that it names."""

    expr: pl.Expr
    bands: tuple[str, ...]
    targets: tuple[str, ...]
    """Columns of the caller's frame."""
    records: Mapping[str, str]
    """Name in the expression to the column of the collection."""


class ValidMask:
    """A `ValidExpr` with the columns of the rows on which it is evaluated."""

    def __init__(self, valid: ValidExpr, context: pl.DataFrame) -> None:
        self.bands = valid.bands
        self._expr = valid.expr
        self._context = context

    def of(self, rows: NDArray[np.int64], patches: Mapping[str, Patch], size: int) -> NDArray[np.bool_]:
        """Return which pixels of patches are valid, shape ``(n, size, size)``.

        Parameters
        ----------
        rows
            Rows of the batch, one per patch.
        patches
            Patches of the bands that the expression names.
        size
            Pixels per side of the patches.
        """
        bands = {name: (patches[name].values.reshape(-1), patches[name].valid.reshape(-1)) for name in self.bands}
        return self.of_pixels(np.repeat(rows, size * size), bands).reshape(-1, size, size)

    def of_pixels(
        self, rows: NDArray[np.int64], bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
    ) -> NDArray[np.bool_]:
        """Return which pixels are valid.

        Parameters
        ----------
        rows
            Row of the batch of each pixel.
        bands
            Values and valid mask of all pixels, for each band that the expression names.
        """
        frame = self._context[rows].with_columns([scalar_series(name, *bands[name]) for name in self.bands])
        result = frame.lazy().select(self._expr.alias("valid")).collect()["valid"].fill_null(value=False)
        if len(result) not in (1, len(rows)):
            raise UsageError(
                f"valid={str(self._expr)[:200]} gave {len(result)} values for {len(rows)} pixels; expected an elementwise "
                "expression"
            )
        return np.array(np.broadcast_to(result.to_numpy(), len(rows)))
