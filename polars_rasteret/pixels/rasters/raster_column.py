"""Which distinct references do the rows of a raster column have?

Thousands of rows share a few references. A column becomes its distinct references, unpacked once per process, and the index of
each row's reference. Both are NumPy, so no later step needs Polars.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from polars_rasteret.bundles import bundle
from polars_rasteret.grids.pixel_grid import GridTable
from polars_rasteret.pixels.rasters.distinct_values import distinct_rows
from polars_rasteret.pixels.rasters.raster_faults import (
    RasterValue,
    check_fields,
    placing_fault,
    reference_of,
    spans_pixels,
)
from polars_rasteret.schema import numpy_dtype, pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import PixelReference
    from polars_rasteret.errors import RasteretError
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows


@bundle
class RasterColumn:
    """One raster column as distinct references."""

    name: str
    dtype: np.dtype[np.generic]
    """Pixel dtype of the result."""
    reference_id: NDArray[np.int64]
    """Reference of each row, shape (n_rows,); -1 for a null raster."""
    references: Sequence[PixelReference]
    grids: PixelGrids
    """Grid of each reference, shape (n_references,). The raster columns of one question share the table of grids."""
    series: pl.Series
    """The column itself."""
    faults: Mapping[int, RasteretError] = field(default_factory=dict)
    """Faults of references that must not be read, by index of the reference."""
    unplaced: frozenset[int] = frozenset()
    """Indices of faulty references in which the targets of the question cannot be placed."""

    has_borrowed: bool = False
    """Whether a reference has a borrowed tile table, or had one."""
    own_scales: Mapping[int, tuple[float | None, float | None]] = field(default_factory=dict)
    """Scale and offset by the header of a reference's file, where the collection did not read it; by index of the reference."""

    def grids_of(self, reference_id: NDArray[np.int64]) -> PixelGrids:
        """Return the grid of each row; no grid without a raster, and for a raster without a place."""
        if self.unplaced:
            reference_id = np.where(self.is_unplaced(reference_id), -1, reference_id)
        return self.grids.taken(reference_id)

    def scale_and_offset(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return scale and offset of each row, shape (n_rows,); null means 1 and 0."""
        fields = self.series.struct.unnest()
        scale, offset = fields["scale"].cast(pl.Float64), fields["offset"].cast(pl.Float64)
        if self.own_scales:
            told = [self.own_scales.get(one, (None, None)) for one in self.reference_id.tolist()]
            scale = scale.fill_null(pl.Series([one for one, _ in told], dtype=pl.Float64))
            offset = offset.fill_null(pl.Series([one for _, one in told], dtype=pl.Float64))
        return scale.fill_null(1.0).to_numpy(), offset.fill_null(0.0).to_numpy()

    def is_unplaced(self, reference_id: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which rows have a raster without a place."""
        return np.isin(reference_id, list(self.unplaced))

    def readable(
        self, reference_id: NDArray[np.int64], windows: Windows
    ) -> tuple[NDArray[np.int64], dict[int, RasteretError]]:
        """Return the reference of each row (-1 for a faulty one), and the faults of rows with a faulty reference."""
        if not self.faults:
            return reference_id, {}
        is_faulty = np.isin(reference_id, list(self.faults))
        asked = np.flatnonzero(is_faulty & (windows.is_met | self.is_unplaced(reference_id))).tolist()
        return np.where(is_faulty, -1, reference_id), {row: self.faults[int(reference_id[row])] for row in asked}


def raster_columns_of(columns: Iterable[pl.Series], *, targets_in: str | None = None) -> list[RasterColumn]:
    """Return the raster columns of one question, which share a table of grids; each as by `raster_column`."""
    table = GridTable()
    return [raster_column(series, targets_in=targets_in, table=table) for series in columns]


def raster_column(series: pl.Series, *, targets_in: str | None = None, table: GridTable | None = None) -> RasterColumn:
    """Return a raster column as distinct references.

    Parameters
    ----------
    series
        Raster column.
    targets_in
        CRS, or ``"native"``, of the coordinates that will be placed in the rasters; None: no coordinates.
    table
        Table of the question's grids; None: a new table.

    Raises
    ------
    UsageError
        When `series` is not a raster column. A value that cannot be read is a fault of its reference.
    """
    name = series.name
    check_fields(name, series.dtype)
    dtype = numpy_dtype(pixel_dtype(series.dtype))
    # Scale and offset belong to the row; everything else that shapes a read tells references apart.
    fields = series.struct.unnest()
    columns = [_plain(fields[one]) for one in RasterValue._fields]
    first, number = distinct_rows(columns, len(series))
    # Column by column: a gather of the frame waits for Polars' threads, which costs more than a few rows do.
    at_first = pl.Series(first.tolist(), dtype=pl.UInt32)  # made an index once, not once per column
    rows = [RasterValue(*row) for row in zip(*(column[at_first].to_list() for column in columns), strict=True)]
    has_raster = np.array([any(one is not None for one in row) for row in rows], np.bool_)
    dense = np.where(has_raster, np.cumsum(has_raster) - 1, -1)
    values = [row for row, is_there in zip(rows, has_raster, strict=True) if is_there]
    references: list[PixelReference] = []
    faults: dict[int, RasteretError] = {}
    unplaced: set[int] = set()
    transform = np.full((len(values), 6), np.nan)
    for at, value in enumerate(values):
        reference, fault = reference_of(value, dtype, name)
        references.append(reference)
        if value.transform is not None and spans_pixels(value.transform):
            transform[at] = value.transform
        if targets_in is not None:
            nowhere = placing_fault(name, reference.href, value.crs, transform[at], targets_in)
            if nowhere is not None or not (reference.tiles.images[0].width and reference.tiles.images[0].height):
                unplaced.add(at)
                fault = fault or nowhere
        if fault is not None:
            faults[at] = fault
    return RasterColumn(
        name=name,
        dtype=dtype,
        reference_id=dense[number],
        references=tuple(references),
        grids=(GridTable() if table is None else table).add(
            [None if at in unplaced else value.crs for at, value in enumerate(values)],
            transform,
            np.array([reference.tiles.images[0].width for reference in references], np.int64),
            np.array([reference.tiles.images[0].height for reference in references], np.int64),
        ),
        series=series,
        faults=faults,
        unplaced=frozenset(unplaced),
        has_borrowed=any(reference.tiles.is_borrowed for reference in references),
    )


def _plain(field: pl.Series) -> pl.Series:
    """Return a field in the dtype in which its values are checked; a value that does not fit is null, or NaN in a transform."""
    if field.name == "crs" and field.dtype == pl.Null:
        return field.cast(pl.String)
    if field.name != "transform" or field.dtype == pl.Array(pl.Float64, 6):
        return field
    if isinstance(field.dtype, pl.Array) and field.dtype.size == 6:
        return field.cast(pl.Array(pl.Float64, 6))
    lists = [one if one is None or len(one) == 6 else [np.nan] * 6 for one in field.to_list()]
    return pl.Series(field.name, lists, dtype=pl.Array(pl.Float64, 6))
