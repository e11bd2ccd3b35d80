"""How large are the pixels of a collection?"""

from __future__ import annotations

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import is_geographic, is_known, metres_per_unit
from polars_rasteret.schema import raster_columns


def native_resolution(lf: pl.LazyFrame, band: str | None = None) -> tuple[float, float]:
    """Return the size ``(x, y)`` of the smallest pixels, in units of the CRS of the rasters.

    Raises
    ------
    UsageError
        When there is no such band, no raster is georeferenced, or the CRSs have different units.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> native_resolution(pr.testing.example_scenes(), "red")
    (10.0, 10.0)
    """
    bands = raster_columns(lf.collect_schema())
    if band is not None and band not in bands:
        raise UsageError(
            f"native_resolution: there is no band {band!r}; the collection has {', '.join(bands) or 'none'}"
        )
    names = bands if band is None else [band]
    fields = [pl.struct(pl.col(name).struct.field("crs"), pl.col(name).struct.field("transform")) for name in names]
    distinct = (
        pl.concat([lf.select(one.alias("grid")) for one in fields]).select(pl.col("grid").unique()).unnest("grid")
    )
    found = distinct.drop_nulls("transform").collect()
    if not found.height:
        raise UsageError("native_resolution: no raster is georeferenced, so no pixel has a size in units of a CRS")
    units = {name: _unit(name) for name in found["crs"].unique().to_list()}
    if len(set(units.values())) > 1:
        told = ", ".join(str(name)[:60] for name in units)
        raise UsageError(
            f"native_resolution: the CRSs have different units ({told}); filter the collection to one of them"
        )
    a, b, _, d, e, _ = found["transform"].to_numpy().T
    sizes = np.stack([np.hypot(a, d), np.hypot(b, e)], axis=1)
    x, y = sizes[np.argmin(sizes.prod(axis=1))].tolist()
    return x, y


def _unit(crs: str | None) -> tuple[bool, float] | None:
    """Return whether a CRS counts in degrees, and the metres of its unit; None for a CRS that is not known."""
    if crs is None or not is_known(crs):
        return None
    return is_geographic(crs), metres_per_unit(crs)
