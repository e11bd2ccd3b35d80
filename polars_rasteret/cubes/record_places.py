"""Where are the records of a cube, in which CRS, and how large are their pixels?

All is known from raster columns; nothing is read here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import shapely

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.areas import Areas
from polars_rasteret.grids.extents import bounds_of_grids

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

_PER_SIDE = 32
"""Edges into which a side of an image is cut before its bounds are taken in another CRS."""


def only_crs(what: str, frame: pl.DataFrame, bands: Sequence[str]) -> str | None:
    """Return the CRS that all images of some records share; None when no image has one.

    Raises
    ------
    UsageError
        When there are several: each is listed with its number of records.
    """
    found: Counter[str] = Counter()
    names = [frame[band].struct.field("crs").to_list() for band in bands]
    has_image = [frame[band].struct.field("width").fill_null(0).to_numpy() > 0 for band in bands]
    for row in range(frame.height):
        found.update({each[row] or "no CRS" for each, has in zip(names, has_image, strict=True) if has[row]})
    if len(found) > 1:
        told = ", ".join(f"{name} ({number} records)" for name, number in found.most_common())
        raise UsageError(f"{what}: the images are in several CRSs: {told}; pass target_crs=, the CRS of all pixels")
    name = next(iter(found), "no CRS")
    return None if name == "no CRS" else name


def bounds_of_records(frame: pl.DataFrame, bands: Sequence[str], crs: str | None) -> NDArray[np.float64]:
    """Return the bounds of each record in a CRS, shape (n, 4); NaN for a record without a place there.

    Parameters
    ----------
    frame, bands
        Records, and the raster columns whose images count.
    crs
        Normalized CRS; None: images without a CRS, in their own coordinates.
    """
    bounds = np.full((frame.height, 4), np.nan)
    for band in bands:
        names = frame[band].struct.field("crs").to_list()
        box = boxes_in_crs(names, bounds_of_grids(frame[band], native=True), crs)
        bounds = np.concatenate([np.fmin(bounds[:, :2], box[:, :2]), np.fmax(bounds[:, 2:], box[:, 2:])], axis=1)
    return bounds


def boxes_in_crs(names: Sequence[str | None], native: NDArray[np.float64], crs: str | None) -> NDArray[np.float64]:
    """Return boxes, each in a CRS of its own, as bounds in one CRS; NaN where there are none."""
    bounds = np.full(native.shape, np.nan)
    for name in dict.fromkeys(names):
        rows = np.array([at for at, one in enumerate(names) if one == name and np.isfinite(native[at]).all()], np.int64)
        if name == crs or not len(rows):
            bounds[rows] = native[rows]
        elif name is not None and crs is not None:
            bounds[rows] = densified_areas(native[rows], name).bounds_in(crs)
    return bounds


def densified_areas(boxes: NDArray[np.float64], crs: str) -> Areas:
    """Return boxes ``minx, miny, maxx, maxy`` as areas whose sides have vertices enough to follow them into another CRS."""
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    wkb = np.empty(len(boxes), object)
    wkb[:] = list(shapely.to_wkb(shapely.segmentize(shapely.box(*boxes.T), np.maximum(sides, 1e-300) / _PER_SIDE)))
    return Areas(wkb, crs)
