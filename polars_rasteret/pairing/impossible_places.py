"""Are all coordinates impossible in their CRS, or swapped, or do all records lack a place?

One point at latitude 95 has no answer, like a point at sea. But when every coordinate is impossible in its CRS, or no record has
a place, the arguments are wrong. Nulls would hide that.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.geo.crs import NATIVE, is_geographic
from polars_rasteret.geo.points import Points
from polars_rasteret.hrefs import shown
from polars_rasteret.pairing.record_boxes import bbox_meets
from polars_rasteret.pairing.targets import lonlat_bounds
from polars_rasteret.pixels.rasters.raster_faults import NO_SIDECARS
from polars_rasteret.plan.pairs import covering_boxes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

_MOST_LATITUDE = 90 + 1e-6


def refuse_impossible(
    targets: Points | Areas,
    lonlat: NDArray[np.float64],
    *,
    every: Callable[[], Points | Areas] | None,
    what: str,
) -> None:
    """Raise when all coordinates are impossible in their CRS.

    Parameters
    ----------
    targets
        Targets of the caller, perhaps only those that filters left.
    lonlat
        Bounds of the targets in longitude and latitude, shape (n, 4); not finite where a target has no place.
    every
        Function that returns all targets of the caller. They are checked before an error, so that an error does not depend on
        filters. None: `targets` are all of them.
    what
        Name of the verb, for messages.

    Raises
    ------
    UsageError
        The message has the first of the coordinates.
    """
    reason = _impossible(targets, lonlat)
    if reason is None:
        return
    if every is not None and _impossible(whole := every(), lonlat_bounds(whole)) is None:
        return
    raise UsageError(f"{what}: {reason}")


def _impossible(targets: Points | Areas, lonlat: NDArray[np.float64]) -> str | None:
    own = own_bounds(targets)
    is_there = np.isfinite(own).all(axis=1)
    with np.errstate(invalid="ignore"):
        has_place = np.isfinite(lonlat).any(axis=1) & ~_is_beyond_poles(lonlat)
    return None if not is_there.any() or (is_there & has_place).any() else _told(targets, own[is_there][0])


def warn_if_impossible(targets: Points | Areas, *, what: str) -> None:
    """Warn when all longitudes and latitudes of a batch lie beyond the poles.

    This cannot be an error, because Polars decides which rows an expression gets together.
    """
    if targets.crs == NATIVE or not is_geographic(targets.crs):
        return
    own = own_bounds(targets)
    is_there = np.isfinite(own).all(axis=1)
    if is_there.any() and _is_beyond_poles(own[is_there]).all():
        warnings.warn(f"{what}: {_told(targets, own[is_there][0])}", stacklevel=2)


def warn_if_swapped(lf: pl.LazyFrame, targets: Points | Areas, *, what: str) -> None:
    """Warn when no record covers a target, and with x and y swapped some would.

    This cannot be an error, because such targets may be meant: a place without images has null pixels.

    Parameters
    ----------
    lf
        The collection, of which no record is a candidate.
    targets
        Targets of the caller.
    what
        Name of the verb.
    """
    schema = lf.collect_schema()
    if targets.crs == NATIVE or not is_geographic(targets.crs) or not isinstance(schema.get("bbox"), pl.Struct):
        return
    own = own_bounds(targets)
    own = own[np.isfinite(own).all(axis=1)]
    swapped = own[(np.abs(own[:, [0, 2]]) <= _MOST_LATITUDE).all(axis=1)][:, [1, 0, 3, 2]]
    if len(swapped) and not lf.filter(bbox_meets(covering_boxes(swapped))).head(1).select("bbox").collect().is_empty():
        x, y = own[0, :2].tolist()
        warnings.warn(
            f"{what}: no record covers any of these places, but with x and y swapped some would. x is the longitude and y the "
            f"latitude; the first place is at x={x:.10g}, y={y:.10g}",
            stacklevel=2,
        )


def refuse_unplaced(
    lf: pl.LazyFrame, found: Iterable[RasterColumn], bands: Iterable[str], *, crs: str, what: str
) -> None:
    """Raise when no record of a query has a place, because none has a transform, or none has a CRS.

    Parameters
    ----------
    lf
        The collection. It is checked only when `found` has rasters, but no raster with a place.
    found
        Raster columns of the candidate records.
    bands
        Names of these columns.
    crs
        CRS of the targets; with ``"native"`` a transform is enough for a place.

    Raises
    ------
    UsageError
        The message names a file.
    """
    example = None
    for column in found:
        if any(isinstance(fault, FileFormatError) for fault in column.faults.values()):
            return  # a damaged record is told by itself
        for reference, transform, its_crs in zip(
            column.references, column.grids.transform, column.grids.crs, strict=True
        ):
            has_grid = bool(np.isfinite(transform).all())
            if has_grid and (its_crs is not None or crs == NATIVE):
                return
            example = example or (column.name, shown(reference.href), has_grid)
    if example is None:
        return
    placed = [
        pl.col(band).struct.field("transform").is_not_null()
        & (pl.lit(value=True) if crs == NATIVE else pl.col(band).struct.field("crs").is_not_null())
        for band in bands
    ]
    if lf.filter(pl.any_horizontal(placed)).head(1).select(pl.len()).collect().item():
        return
    band, href, has_grid = example
    lacks = "CRS" if has_grid else "transform"
    advice = (
        "Pass crs='native' with coordinates in the files' own system"
        if has_grid
        else "Read them by pixels, pl.col(band).raster.read_window(window=...) (crs='native' needs a transform, too)"
    )
    raise UsageError(
        f"{what}: no record can be placed on a map: none has a {lacks}, for instance {band} of {href}. {advice}, or write the "
        f"{lacks} into the files: {NO_SIDECARS}"
    )


def own_bounds(targets: Points | Areas) -> NDArray[np.float64]:
    """Return the bounds of each target as the caller gave it, shape (n, 4)."""
    if isinstance(targets, Points):
        return np.stack([targets.x, targets.y, targets.x, targets.y], axis=1)
    return targets.bounds


def _is_beyond_poles(bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = (bounds[:, 1] > _MOST_LATITUDE) | (bounds[:, 3] < -_MOST_LATITUDE)
    return result


def _told(targets: Points | Areas, first: NDArray[np.float64]) -> str:
    x, y, *_ = first.tolist()
    noun = "point" if isinstance(targets, Points) else "area"
    beyond = "latitudes end at 90, and " if is_geographic(targets.crs) else ""
    return (
        f"no {noun} has a place in {targets.crs[:80]}: {beyond}the first is at x={x:.10g}, y={y:.10g}. Are x and y swapped, or "
        "are these coordinates in another CRS? Say which with crs="
    )
