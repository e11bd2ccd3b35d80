"""Which records may meet some boxes, as a filter with which Parquet statistics can skip row groups?

The comparison is that of `geo.boxes`, written as a Polars filter on a ``bbox`` column: its sides are compared with numbers.
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
    """Return a filter that is true where ``bbox`` touches any of the boxes, also across the antimeridian.

    Parameters
    ----------
    boxes
        Boxes of longitude and latitude, wrapped or unwrapped, shape (n, 4). Without boxes the filter is false.
    share, degrees
        Widening of each box before the comparison, as in `geo.boxes.widened`.
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
    """Return a filter that is true where ``bbox`` is null or is no valid box."""
    sides = [pl.col("bbox").struct.field(name) for name in ("xmin", "ymin", "xmax", "ymax")]
    missing = reduce(or_, [side.is_null() for side in sides])
    # Statistics of Parquet leave NaN out and compare no columns: asked about these, a scan skips no row group. What this
    # package writes has none.
    if "Parquet SCAN" in lf.explain(optimized=False):
        return missing
    return missing | ~pl.all_horizontal([side.is_finite() for side in sides]) | (sides[1] > sides[3])
