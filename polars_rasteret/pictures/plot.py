"""What does ``.raster.plot`` draw: outlines on a map, a picture of each record, or pictures on the map?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.arguments import check_choice, checked_bands, is_number
from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.queries.spatial import intersects, lonlat_geometry
from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import normalize_crs
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.pictures.axes import check_axes, frame_map, map_axes, panels, pyplot
from polars_rasteret.pictures.colours import Limits, checked_limits, checked_percentiles, rgba, stretch_limits
from polars_rasteret.pictures.lonlat_map import on_lonlat
from polars_rasteret.pictures.quicklooks import Area, Quicklook, quicklooks
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from polars_rasteret.options import OnError

_OUTLINE = "#1f5fa8"
_NO_PIXEL = "no valid pixel"
_TINY = 0.01
"""Share of the map below which an outline is marked by a dot too, so that it is seen."""
_MOST_LABELS = 12
"""More labels than these would hide the outlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How pictures look."""

    limits: Limits | None
    percentiles: Limits
    each: bool
    cmap: Any


def plot(
    lf: pl.LazyFrame,
    bands: Any,
    *,
    on_map: bool,
    bounds: Any,
    crs: Any,
    pixels: int,
    percentiles: Any,
    limits: Any,
    stretch: str | None,
    cmap: Any,
    resampling: str,
    label: str | None,
    columns: int,
    max_pictures: int,
    unscale: bool,
    on_error: OnError | None,
    ax: Any,
) -> Any:
    """Return the axes of the picture; see ``.raster.plot``."""
    names = _checked_names(lf, bands)
    look = _Look(
        limits=checked_limits(limits),
        percentiles=checked_percentiles(percentiles),
        each=_is_each(stretch, len(names)),
        cmap=cmap,
    )
    for word, number in (("pixels", pixels), ("columns", columns), ("max_pictures", max_pictures)):
        if not is_number(number) or number < 1 or number != int(number):
            raise UsageError(f"plot: {word}={number!r}; expected a whole number, 1 or more")
    if label is not None and label not in lf.collect_schema():
        raise UsageError(
            f"plot: label={label!r} is no column of the collection; expected a column, or None for no titles"
        )
    check_axes(ax)
    pyplot()  # a missing matplotlib is told before anything is read
    area = _area(bounds, crs)
    if area is not None:
        lf = intersects(lf, area.bounds, area.crs)
    told = [name for name in dict.fromkeys((label, "geometry")) if name is not None and name in lf.collect_schema()]
    if not names:
        return _map(lf.select(*told, *_places(lf)).collect(), [], [], look, area=area, label=label, ax=ax)
    records = lf.select(*dict.fromkeys((*told, *names))).head(max_pictures + 1).collect()
    if records.height > max_pictures:
        raise UsageError(
            f"plot: there are more than {max_pictures} records, and each is read and drawn. Filter the collection, take "
            f".head({max_pictures}), or raise max_pictures"
        )
    found = quicklooks(
        records, names, area=area, pixels=int(pixels), resampling=resampling, unscale=unscale, on_error=on_error
    )
    if not found:
        raise UsageError(
            f"plot: no record has {' or '.join(names)} {'here' if area is None else 'within the bounds'}; "
            "look at the outlines with .raster.plot()"
        )
    if on_map:
        return _map(records, names, found, look, area=area, label=label, ax=ax)
    if ax is not None and len(found) > 1:
        raise UsageError(f"plot: ax is one Axes, but there are {len(found)} pictures; pass on_map=True, or no ax")
    return _panels(records, found, look, label=label, columns=int(columns), ax=ax)


def _map(
    records: pl.DataFrame,
    names: Sequence[str],
    found: Sequence[Quicklook],
    look: _Look,
    *,
    area: Area | None,
    label: str | None,
    ax: Axes | None,
) -> Axes:
    """Draw the outlines of records, and their pictures below, in longitude and latitude; with `area`, this part of the map."""
    from matplotlib.collections import PolyCollection

    placed = records if records.schema.get("geometry") == pl.Binary else with_places(records)
    shapes = parsed(placed["geometry"].to_list())
    if not (~shapely.is_missing(shapes) & ~shapely.is_empty(shapes)).any():
        raise UsageError("plot: no record has a place on the map: there are none, or none is georeferenced")
    is_own, ax = ax is None, map_axes(ax)
    shown = shapes if area is None else shapely.intersection(shapes, lonlat_geometry(area.bounds, area.crs))
    laid = []
    for one in found:
        for part in [] if one.crs is None else _polygons(shown[one.row]):
            box = shapely.bounds(part)
            laid.append((on_lonlat(one, box), (box[0], box[2], box[1], box[3])))
    limits = _limits([values for values, _ in laid], look) if laid else []
    image = None
    for (values, extent), its in zip(laid, limits, strict=True):
        image = _drawn(ax, values, its, look, extent=extent)
    if is_own and image is not None and len(names) == 1 and not look.each:
        ax.figure.colorbar(image, ax=ax, label=names[0], shrink=0.8)
    rings = [shapely.get_coordinates(shapely.get_exterior_ring(part)) for part in _polygons(shapes)]
    # Many outlines over each other stay readable when they are thin and nearly transparent.
    fill = (0.12, 0.37, 0.66, 0.0 if found else max(0.02, 0.2 / max(len(rings), 1) ** 0.5))
    ax.add_collection(PolyCollection(rings, facecolors=[fill], edgecolors=_OUTLINE, linewidths=0.8))
    total = np.asarray(shapely.total_bounds(shown))
    frame_map(ax, total)
    sides = shapely.bounds(shown)
    is_tiny = np.maximum(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1]) < _TINY * max(total[2:] - total[:2])
    ax.plot(*(sides[is_tiny][:, [0, 1]].T), ".", color=_OUTLINE, markersize=4)
    if label is not None and len(shapes) <= _MOST_LABELS:
        _name_outlines(ax, shown, [str(value) for value in records[label]], middle=(total[0] + total[2]) / 2)
    return ax


def _polygons(shapes: Any) -> NDArray[np.object_]:
    """Return all polygons of some outlines."""
    parts = shapely.get_parts(shapes)
    polygons: NDArray[np.object_] = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return polygons


def _name_outlines(ax: Axes, shapes: NDArray[np.object_], labels: Sequence[str], *, middle: float) -> None:
    """Write labels above outlines, towards the middle of the map; records in the same place have a line of text each."""
    places: dict[tuple[float, float], list[str]] = {}
    for shape, text in zip(shapes, labels, strict=True):
        if shape is not None and not shape.is_empty:
            xmin, _, _, ymax = (round(float(side), 3) for side in shape.bounds)
            places.setdefault((xmin, ymax), []).append(text)
    for (x, y), texts in places.items():
        shown = texts if len(texts) <= 3 else [*texts[:2], f"and {len(texts) - 2} more"]
        ax.annotate(
            "\n".join(shown),
            (x, y),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7,
            va="bottom",
            ha="left" if x <= middle else "right",
        )


def _panels(
    records: pl.DataFrame,
    found: Sequence[Quicklook],
    look: _Look,
    *,
    label: str | None,
    columns: int,
    ax: Axes | None,
) -> NDArray[np.object_]:
    """Draw each picture on axes of its own, in the CRS of its record."""
    aspect = float(np.median([one.values.shape[1] / one.values.shape[2] for one in found]))
    axes = panels(len(found), columns, min(max(aspect, 0.3), 3.0)) if ax is None else np.array([ax], dtype=object)
    image = None
    for one, its, panel in zip(found, _limits([one.values for one in found], look), axes, strict=True):
        image = _drawn(panel, one.values, its, look, transform=one.transform)
        panel.set_xticks([])
        panel.set_yticks([])
        if label is not None:
            panel.set_title(_shortened(str(records[label][one.row])), fontsize=8)
        if np.isnan(one.values).any(axis=0).all():
            panel.text(0.5, 0.5, _NO_PIXEL, transform=panel.transAxes, ha="center", va="center", color="0.4")
    if ax is None and image is not None and found[0].values.shape[0] == 1 and not (look.each and len(found) > 1):
        axes[0].figure.colorbar(image, ax=list(axes), shrink=0.8)
    return axes


def _drawn(
    ax: Axes,
    values: NDArray[np.float32],
    limits: Sequence[Limits],
    look: _Look,
    *,
    extent: tuple[float, float, float, float] | None = None,
    transform: NDArray[np.float64] | None = None,
) -> Any:
    """Draw one picture, north up, in map coordinates; return the image of matplotlib."""
    colours: dict[str, Any] = {}
    if values.shape[0] == 1:
        shown: Any = np.ma.masked_invalid(values[0])
        colours = {"cmap": look.cmap, "vmin": limits[0][0], "vmax": limits[0][1]}
    else:
        shown = rgba(values, limits)
    if transform is None:
        return ax.imshow(shown, extent=extent, interpolation="nearest", **colours)
    from matplotlib.transforms import Affine2D

    height, width = values.shape[1:]
    a, b, c, d, e, f = (float(number) for number in transform)
    # The affine of the record itself places its pixels, whichever way its rows and columns run.
    place = Affine2D(np.array([[a, b, c], [d, e, f], [0, 0, 1]]))
    image = ax.imshow(
        shown, extent=(0, width, height, 0), interpolation="nearest", transform=place + ax.transData, **colours
    )
    corners = place.transform([(0, 0), (width, 0), (0, height), (width, height)])
    ax.set_xlim(corners[:, 0].min(), corners[:, 0].max())
    ax.set_ylim(corners[:, 1].min(), corners[:, 1].max())
    return image


def _limits(values: Sequence[NDArray[np.float32]], look: _Look) -> list[list[Limits]]:
    """Return the limits of each band of each picture."""
    n_bands = values[0].shape[0]
    if look.limits is not None:
        return [[look.limits] * n_bands] * len(values)
    groups = [[one] for one in values] if look.each else [list(values)]
    found = [
        [stretch_limits([one[band] for one in group], look.percentiles) for band in range(n_bands)] for group in groups
    ]
    return found if look.each else found * len(values)


def _checked_names(lf: pl.LazyFrame, bands: Any) -> tuple[str, ...]:
    if bands is None:
        return ()
    names = checked_bands("plot", bands)
    known = raster_columns(lf.collect_schema())
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"plot: no band is named {', '.join(unknown)}; the collection has {', '.join(known) or 'none'}"
        )
    if len(names) not in (1, 3):
        raise UsageError(
            f"plot: {len(names)} bands are given ({', '.join(names)}); expected one, drawn with a colour map, or three as "
            "red, green and blue"
        )
    return names


def _is_each(stretch: Any, n_bands: int) -> bool:
    check_choice("plot", "stretch", stretch, (None, "together", "each"))
    return n_bands == 3 if stretch is None else bool(stretch == "each")


def _area(bounds: Any, crs: Any) -> Area | None:
    if bounds is None:
        return None
    if crs is None:
        raise UsageError("plot: bounds are given without crs; pass the CRS of the bounds, such as crs=4326")
    sides = tuple(bounds) if isinstance(bounds, Sequence) and not isinstance(bounds, str) else ()
    if len(sides) != 4 or not all(is_number(side) and np.isfinite(side) for side in sides):
        raise UsageError(f"plot: bounds={bounds!r}; expected four numbers, (minx, miny, maxx, maxy)")
    if sides[0] >= sides[2] or sides[1] >= sides[3]:
        raise UsageError(f"plot: bounds={bounds!r} are empty; expected minx < maxx and miny < maxy")
    return Area(bounds=sides, crs=normalize_crs(crs))


def _places(lf: pl.LazyFrame) -> list[str]:
    """Return the columns that place records where they have no geometry."""
    schema = lf.collect_schema()
    return [] if schema.get("geometry") == pl.Binary else raster_columns(schema)


def _shortened(text: str, most: int = 34) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
