"""Which rows may meet these boxes, said so that Parquet statistics can rule out row groups?

The question is that of `geo.boxes`, asked of a ``bbox`` column in Polars' words: comparisons of its sides with numbers.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.geo.boxes import cut_boxes, widened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def bbox_meets(boxes: NDArray[np.float64], *, share: float = 0.0, degrees: float = 0.0) -> pl.Expr:
    """Return whether ``bbox`` touches one of some boxes of longitude and latitude, the antimeridian included.

    Parameters
    ----------
    boxes
        Wrapped or unwrapped, shape (n, 4); without any, no row meets.
    share, degrees
        By how much each box is widened before, as in `geo.boxes.widened`.
    """
    pieces, _ = cut_boxes(widened(boxes, share=share, degrees=degrees))
    if not len(pieces):
        return pl.lit(value=False)
    return reduce(or_, (_meets_piece(*piece) for piece in pieces.tolist()))


def _meets_piece(west: float, south: float, east: float, north: float) -> pl.Expr:
    xmin, ymin, xmax, ymax = (pl.col("bbox").struct.field(side) for side in ("xmin", "ymin", "xmax", "ymax"))
    # Lower bounds are said with is_between: a NaN is above every number, so Polars lets statistics rule out nothing for a
    # bare >= on floats.
    in_x = (xmin <= east) & xmax.is_between(west, math.inf)
    # A row across the antimeridian has its xmin in the east and its xmax in the west. Said this way (and not as xmin > xmax)
    # statistics can rule it out.
    if east >= 0:
        in_x |= xmin.is_between(0, east) & (xmax <= 0)
    if west <= 0:
        in_x |= xmax.is_between(west, 0) & xmin.is_between(0, math.inf)
    return in_x & (ymin <= north) & ymax.is_between(south, math.inf)


def has_no_box(lf: pl.LazyFrame) -> pl.Expr:
    """Return a filter that is true where ``bbox`` says nothing, or nothing that can be meant."""
    sides = [pl.col("bbox").struct.field(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    missing = reduce(or_, [side.is_null() for side in sides])
    # Statistics of Parquet leave NaN out and compare no columns: asked about these, a scan skips no row group. What this
    # package writes has none.
    if "Parquet SCAN" in lf.explain(optimized=False):
        return missing
    return missing | ~pl.all_horizontal([side.is_finite() for side in sides]) | (sides[1] > sides[3])
