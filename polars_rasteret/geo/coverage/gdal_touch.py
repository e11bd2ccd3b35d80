"""Which pixels does an outline pass through, by GDAL's rules?

As GDALdllImageLineAllTouched (alg/llrasterize.cpp). GDAL writes some pixels right of the grid into the next row;
here they are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.geo.coverage.scanlines import spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.geo.coverage.gdal_edges import Edges

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    _Runs = tuple[Ints, Ints, Ints, Ints]

_ON_BORDER = 1e-4
"""Pixels. Vertices this near to a border are on it; an edge along a border touches neither side."""
_STEEP = 0.01
"""Pixels. An edge that spans less than this is upright, or level, even where it crosses a border."""
_LEAST_STEP = 1e-9
"""Rows by which a step to the next row goes on at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edges:
    """Edges in pixel coordinates, from their left end to their right end; `x` counts columns, `y` rows."""

    x: Floats
    y: Floats
    x_end: Floats
    y_end: Floats
    part: Ints
    height: Floats
    width: Floats
    """Of the grid of each edge."""

    def picked(self, keep: Booleans) -> _Edges:
        """Return some of the edges."""
        return _Edges(
            x=self.x[keep],
            y=self.y[keep],
            x_end=self.x_end[keep],
            y_end=self.y_end[keep],
            part=self.part[keep],
            height=self.height[keep],
            width=self.width[keep],
        )


def touched(edges: Edges, height: Ints, width: Ints) -> _Runs:
    """Return runs of pixels that edges pass through: part, row, first column and stop column; they may overlap.

    Parameters
    ----------
    edges
        Of rings and other lines.
    height, width
        Size of the grid of each part.
    """
    is_leftward = edges.col_a > edges.col_b
    rightward = _Edges(
        x=np.where(is_leftward, edges.col_b, edges.col_a),
        y=np.where(is_leftward, edges.row_b, edges.row_a),
        x_end=np.where(is_leftward, edges.col_a, edges.col_b),
        y_end=np.where(is_leftward, edges.row_a, edges.row_b),
        part=edges.part,
        height=height[edges.part].astype(np.float64),
        width=width[edges.part].astype(np.float64),
    )
    met = rightward.picked(~_is_off_grid(rightward))
    is_upright = (np.floor(met.x) == np.floor(met.x_end)) | (np.abs(met.x - met.x_end) < _STEEP)
    is_level = ~is_upright & ((np.floor(met.y) == np.floor(met.y_end)) | (np.abs(met.y - met.y_end) < _STEEP))
    upright = met.picked(is_upright & ~(_is_on_border(met.x) & _is_on_border(met.x_end)))
    level = met.picked(is_level & ~(_is_on_border(met.y) & _is_on_border(met.y_end)))
    runs = _upright(upright), _level(level), _sloped(met.picked(~is_upright & ~is_level))
    part, row, col_start, col_stop = (np.concatenate(column) for column in zip(*runs, strict=True))
    return part, row, col_start, col_stop


def _is_off_grid(edges: _Edges) -> Booleans:
    result: Booleans = (edges.x_end < 0) | (edges.x > edges.width)
    result |= ((edges.y < 0) & (edges.y_end < 0)) | ((edges.y > edges.height) & (edges.y_end > edges.height))
    return result


def _is_on_border(position: Floats) -> Booleans:
    result: Booleans = np.abs(position - np.floor(position + 0.5)) < _ON_BORDER
    return result


def _upright(edges: _Edges) -> _Runs:
    """Return one pixel in each row that edges within one column pass."""
    col = np.floor(edges.x_end)
    first = np.maximum(np.floor(np.minimum(edges.y, edges.y_end)), 0)
    stop = np.minimum(np.floor(np.maximum(edges.y, edges.y_end) - _ON_BORDER), edges.height - 1) + 1
    stop = np.where((col >= 0) & (col < edges.width), stop, first)
    edge, row = spread(first.astype(np.int64), stop.astype(np.int64))
    cols = col[edge].astype(np.int64)
    return edges.part[edge], row, cols, cols + 1


def _level(edges: _Edges) -> _Runs:
    """Return one run for each edge within one row."""
    row = np.floor(edges.y)
    first = np.maximum(np.floor(edges.x), 0)
    stop = np.minimum(np.floor(edges.x_end - _ON_BORDER), edges.width - 1) + 1
    keep = (row >= 0) & (row < edges.height) & (stop > first)
    row, first, stop = row[keep], first[keep], stop[keep]
    return edges.part[keep], row.astype(np.int64), first.astype(np.int64), stop.astype(np.int64)


def _sloped(edges: _Edges) -> _Runs:
    """Return the pixels that other edges pass, clipped to the grid: all edges go one pixel further in each turn."""
    slope = (edges.y_end - edges.y) / (edges.x_end - edges.x)
    x, y, x_end = _clipped(edges, slope)
    height, part = edges.height, edges.part
    parts, rows, cols = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while True:
        # GDAL goes on above and below the grid, for as many rows as a steep edge has there, and burns none of them.
        goes_on = (x >= 0) & (x < x_end) & np.where(slope < 0, y >= 0, y < height)
        if not goes_on.all():
            x, y, x_end, slope, height = (one[goes_on] for one in (x, y, x_end, slope, height))
            part = part[goes_on]
        if not len(x):
            break
        col, row = np.floor(x), np.floor(y)
        is_inside = (row >= 0) & (row < height)
        parts.append(part[is_inside])
        rows.append(row[is_inside].astype(np.int64))
        cols.append(col[is_inside].astype(np.int64))
        step_x = np.floor(x + 1) - x
        step_y = step_x * slope
        stays = np.floor(y + step_y) == row
        to_row = np.where(slope < 0, np.minimum(row - y, -_LEAST_STEP), np.maximum(row + 1 - y, _LEAST_STEP))
        with np.errstate(divide="ignore", invalid="ignore"):
            x = x + np.where(stays, step_x, to_row / slope)
        y = y + np.where(stays, step_y, to_row)
    all_cols = np.concatenate(cols)
    return np.concatenate(parts), np.concatenate(rows), all_cols, all_cols + 1


def _clipped(edges: _Edges, slope: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the start of edges and the column where they end, clipped to the grid in GDAL's order."""
    x, y, x_end, y_end = edges.x, edges.y, edges.x_end, edges.y_end
    beyond = x_end > edges.width
    y_end = np.where(beyond, y_end - (x_end - edges.width) * slope, y_end)
    x_end = np.where(beyond, edges.width, x_end)
    before = x < 0
    y, x = np.where(before, y + (0 - x) * slope, y), np.where(before, 0.0, x)
    with np.errstate(divide="ignore", invalid="ignore"):
        is_down = y_end > y
        above = is_down & (y < 0)
        x, y = np.where(above, x + (0 - y) / slope, x), np.where(above, 0.0, y)
        x_end = np.where(is_down & (y_end >= edges.height), x_end + (y_end - edges.height) / slope, x_end)
        below = ~is_down & (y >= edges.height)
        x, y = np.where(below, x + (edges.height - y) / slope, x), np.where(below, edges.height, y)
        x_end = np.where(~is_down & (y_end < 0), x_end - y_end / slope, x_end)
    # GDAL goes on to the right of the grid here, and writes into the next row.
    return x, y, np.minimum(x_end, edges.width)
