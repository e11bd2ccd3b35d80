"""Which pixels does a small picture of each record show?

Each record is read at the size of its picture, so from the overview that GDAL would choose. What is drawn from the pixels is not
decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.frame.expressions.elementwise import band_expressions
from polars_rasteret.frame.expressions.read_window import read_window
from polars_rasteret.geo.affine import pixel_coordinates
from polars_rasteret.geo.crs import densified_box, transform_xy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.options import OnError

_WINDOW = ("row_start", "row_stop", "col_start", "col_stop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quicklook:
    """The small picture of one record."""

    row: int
    """Row of the record in the frame that was read."""
    values: NDArray[np.float32]
    """Shape (bands, height, width); NaN where a pixel is null."""
    transform: NDArray[np.float64]
    """Affine transform of the picture's pixels."""
    crs: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The box that pictures show."""

    bounds: tuple[float, float, float, float]
    crs: str


def quicklooks(
    records: pl.DataFrame,
    bands: Sequence[str],
    *,
    area: Area | None,
    pixels: int,
    resampling: str,
    unscale: bool,
    on_error: OnError | None,
) -> list[Quicklook]:
    """Return the pictures of the records that have one of the bands and, with `area`, meet it.

    Parameters
    ----------
    area
        Box to show; None: whole images.
    pixels
        Most pixels of a picture along its longer side. A smaller image keeps its own pixels.
    """
    asked = [
        (row, *found)
        for row, record in enumerate(_grids(records, bands))
        if (found := _window(record, area)) is not None
    ]
    groups: dict[tuple[str, int, int], list[tuple[int, Mapping[str, Any], tuple[int, ...]]]] = {}
    for row, band, grid, window in asked:
        height, width = window[1] - window[0], window[3] - window[2]
        shrink = max(1.0, max(height, width) / pixels)
        shape = max(1, round(height / shrink)), max(1, round(width / shrink))
        groups.setdefault((band, *shape), []).append((row, grid, window))
    result = []
    for (band, rows, cols), members in groups.items():
        shape = rows, cols
        columns = {name: [window[at] for _, _, window in members] for at, name in enumerate(_WINDOW)}
        chosen = records[[row for row, _, _ in members]].select(bands)
        expression = read_window(
            band_expressions("plot", bands),
            None,
            window=tuple(pl.col(name) for name in _WINDOW),
            crs=None,
            shape=shape,
            resolution=None,
            resampling=resampling,
            masked=True,
            fill_value=None,
            unscale=unscale,
            on_error=on_error,
            form="stack",
            grid=band,
        )
        read = chosen.with_columns(pl.Series(name, column) for name, column in columns.items()).select(expression)
        size = (len(bands), *shape)
        for (row, grid, shown), pixels_of in zip(members, read.to_series(), strict=True):
            result.append(
                Quicklook(
                    row=row, values=_floats(pixels_of, size), transform=_shrunk(grid, shown, shape), crs=grid["crs"]
                )
            )
    return sorted(result, key=lambda one: one.row)


def _grids(records: pl.DataFrame, bands: Sequence[str]) -> list[dict[str, Any]]:
    fields = [
        pl.col(band).struct.field("crs", "transform", "width", "height").name.prefix(f"{band}:") for band in bands
    ]
    return [
        {
            band: {field: row[f"{band}:{field}"] for field in ("crs", "transform", "width", "height")}
            for band in bands
            if row[f"{band}:width"] is not None
        }
        for row in records.select(fields).iter_rows(named=True)
    ]


def _window(
    grids: Mapping[str, Mapping[str, Any]], area: Area | None
) -> tuple[str, Mapping[str, Any], tuple[int, int, int, int]] | None:
    """Return the band with most pixels, its grid and the window to show; None without a band, or beside the area."""
    if not grids:
        return None
    band = max(grids, key=lambda name: grids[name]["width"] * grids[name]["height"])
    grid = grids[band]
    height, width = grid["height"], grid["width"]
    if area is None:
        return band, grid, (0, height, 0, width)
    if grid["crs"] is None or grid["transform"] is None:
        return None
    x, y = densified_box(np.array([area.bounds], np.float64))
    x, y = transform_xy(area.crs, grid["crs"], x.ravel(), y.ravel())
    row, col = pixel_coordinates(np.array(grid["transform"], np.float64), x, y)
    if not (np.isfinite(row).all() and np.isfinite(col).all()):
        return None
    rows = max(0, int(np.floor(row.min()))), min(height, int(np.ceil(row.max())))
    cols = max(0, int(np.floor(col.min()))), min(width, int(np.ceil(col.max())))
    return (band, grid, (*rows, *cols)) if rows[0] < rows[1] and cols[0] < cols[1] else None


def _floats(pixels: pl.Series | None, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the pixels of one record, NaN where null; NaN everywhere where its read failed."""
    if pixels is None:
        return np.full(size, np.nan, np.float32)
    flat = pixels
    while isinstance(flat.dtype, pl.Array):
        flat = flat.explode()
    return flat.cast(pl.Float32).to_numpy().reshape(size)


def _shrunk(grid: Mapping[str, Any], window: Sequence[int], shape: Sequence[int]) -> NDArray[np.float64]:
    """Return the transform of a picture of `shape` that shows a window of a grid; an image without one counts pixels."""
    given = grid["transform"]
    a, b, c, d, e, f = (1.0, 0.0, 0.0, 0.0, -1.0, float(grid["height"])) if given is None else map(float, given)
    row_start, row_stop, col_start, col_stop = window
    down, across = (row_stop - row_start) / shape[0], (col_stop - col_start) / shape[1]
    return np.array(
        [
            a * across,
            b * down,
            c + a * col_start + b * row_start,
            d * across,
            e * down,
            f + d * col_start + e * row_start,
        ]
    )
