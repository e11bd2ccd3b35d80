"""What do borrowed references refer to, by the headers of their files?

Products are given bands whose references have tables of their own, because overviews, masks and nodata decide what they read.
Which headers are known, and how they are read, belongs to ``engine.borrowed_tables``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.values import check_lossless
from polars_rasteret.engine.borrowed_tables import OwnTable, own_tables
from polars_rasteret.errors import RasteretError, StaleIndexError, UsageError
from polars_rasteret.geo.affine import map_coordinates
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import PixelReference, Spending
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn

_TOLERANCE_PX = 0.01
"""How far a corner by the collection may lie from that by the header: programs round differently."""


def columns_with_own_tables(
    columns: Sequence[RasterColumn],
    asked: Sequence[NDArray[np.int64]],
    options: ReadOptions,
    spending: Spending | None = None,
) -> list[RasterColumn]:
    """Return raster columns in which the references asked for have tables of their own.

    Headers that this process does not know are read, those of all columns together. In a dry run none is read.

    Parameters
    ----------
    columns
        Raster columns of one question.
    asked
        For each column, the references whose pixels are wanted; -1 is none.
    options, spending
        Of the read.

    Returns
    -------
    list of RasterColumn
        A reference whose header cannot be read, or is not that of the image that the collection speaks of, is a fault.
    """
    wanted = [_borrowed(column, one) for column, one in zip(columns, asked, strict=True)]
    if not any(wanted):
        return list(columns)
    tables = iter(
        own_tables(
            [column.references[at] for column, ids in zip(columns, wanted, strict=True) for at in ids],
            options,
            spending=spending,
        )
    )
    return [_exchanged(column, {at: next(tables) for at in ids}) for column, ids in zip(columns, wanted, strict=True)]


def _borrowed(column: RasterColumn, asked: NDArray[np.int64]) -> list[int]:
    if not column.has_borrowed:
        return []
    ids: list[int] = np.unique(asked[asked >= 0]).tolist()
    return [at for at in ids if column.references[at].tiles.is_borrowed and at not in column.faults]


def _exchanged(column: RasterColumn, tables: Mapping[int, OwnTable | RasteretError | None]) -> RasterColumn:
    if not tables:
        return column
    references, faults, scales = list(column.references), dict(column.faults), dict(column.own_scales)
    for at, table in tables.items():
        if table is None:
            continue
        reference = references[at]
        fault = table if not isinstance(table, OwnTable) else _fault(column, at, reference, table)
        if fault is not None:
            told, where = str(fault), shown(reference.href)
            faults[at] = type(fault)(f"{column.name}: {told if where in told else f'{where}: {told}'}")
        elif isinstance(table, OwnTable):
            references[at] = replace(reference, tiles=table.tiles)
            scales[at] = (table.scale, table.offset)
    return replace(column, references=tuple(references), faults=faults, own_scales=scales)


def _fault(column: RasterColumn, at: int, reference: PixelReference, table: OwnTable) -> RasteretError | None:
    """Return why the file is not the image that the collection speaks of; None where it is."""
    if table.tiles.dtype != column.dtype:
        try:
            check_lossless(table.tiles.dtype, column.dtype, label=column.name, href=reference.href)
        except UsageError as error:
            return type(error)(str(error).removeprefix(f"{column.name}: "))
    told = column.grids.transform[at]
    if table.transform is None or not np.isfinite(told).all():
        return None
    full = table.tiles.images[0]
    row, col = np.array([0, 0, full.height, full.height]), np.array([0, full.width, 0, full.width])
    own = np.array(table.transform)
    x, y = map_coordinates(told, row, col)
    its_x, its_y = map_coordinates(own, row, col)
    size = max(np.hypot(own[0], own[3]), np.hypot(own[1], own[4]))
    if max(np.abs(x - its_x).max(), np.abs(y - its_y).max()) <= _TOLERANCE_PX * size:
        return None
    return StaleIndexError(
        f"the collection says that its transform is {told.tolist()}, the file says {own.tolist()}. The file was probably "
        "replaced since the collection was made: make the collection anew."
    )
