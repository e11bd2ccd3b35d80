"""Which tiles of which images may each of the caller's rows need, before anything is read?

Pairs are found as the query itself finds them. What is read of overviews or for a resampling is not looked into: these boxes only
order the rows, and weigh them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.distribute.cutting.tile_order import TilesOfPairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.records import Records
    from polars_rasteret.pixels.rasters.raster_column import RasterColumn
    from polars_rasteret.tiff.band_tiles import Image

    Ints = NDArray[np.int64]

_COLUMNS = ("target", "lattice", "image", "row_start", "row_stop", "col_start", "col_stop", "tile_bytes", "record")


def tiles_of_pairs(runs: Iterable[tuple[PairedRows, range]], records: Records) -> TilesOfPairs:
    """Return the tiles at full resolution that pairs touch, with an entry per pair and band that has a raster."""
    tables: dict[int, Image] = {}
    layouts = _layouts(records, tables)
    found: dict[str, list[Ints]] = {name: [] for name in _COLUMNS}
    for rows, _ in runs:
        for band, windows in rows.windows.items():
            layout = layouts[band]
            reference = rows.reference_id(records.rasters[band])
            at = np.flatnonzero((reference >= 0) & windows.is_met & (windows.height > 0) & (windows.width > 0))
            one = reference[at]
            height, width = layout.tile_height[one], layout.tile_width[one]
            start = (np.maximum(windows.row_start[at], 0), np.maximum(windows.col_start[at], 0))
            stop = (
                np.minimum(windows.row_start[at] + windows.height[at], layout.height[one]),
                np.minimum(windows.col_start[at] + windows.width[at], layout.width[one]),
            )
            columns = (
                rows.target[at],
                layout.lattice[one],
                layout.image[one],
                start[0] // height,
                np.maximum(-(-stop[0] // height), start[0] // height + 1),
                start[1] // width,
                np.maximum(-(-stop[1] // width), start[1] // width + 1),
                layout.tile_bytes[one],
                rows.record[at],
            )
            for name, column in zip(_COLUMNS, columns, strict=True):
                found[name].append(column)
    whole = {name: np.concatenate(parts) if parts else np.zeros(0, np.int64) for name, parts in found.items()}
    return TilesOfPairs(**whole, tables=tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """How the images of one band are tiled; columns of int64, one entry per reference."""

    lattice: Ints
    image: Ints
    height: Ints
    width: Ints
    tile_height: Ints
    tile_width: Ints
    tile_bytes: Ints


def _layouts(records: Records, tables: dict[int, Image]) -> dict[str, _Layout]:
    """Return the layout of each band, and add the images of all to `tables`, by number."""
    lattices: dict[tuple[int, int, int], int] = {}
    images: dict[tuple[str, int], int] = {}
    return {band: _layout(column, lattices, images, tables) for band, column in records.rasters.items()}


def _layout(
    column: RasterColumn,
    lattices: dict[tuple[int, int, int], int],
    images: dict[tuple[str, int], int],
    tables: dict[int, Image],
) -> _Layout:
    tiled = [one.tiles.images[0] for one in column.references]
    lattice = column.grids.table.columns.lattice_id[column.grids.grid_id]
    keys = [(int(number), image.tile_height, image.tile_width) for number, image in zip(lattice, tiled, strict=True)]
    # Bands that are interleaved share the tiles of their file, and so its first byte.
    files = [
        (one.href, int(image.byte_start[0]) if len(image.byte_start) else 0)
        for one, image in zip(column.references, tiled, strict=True)
    ]

    numbers = [images.setdefault(file, len(images)) for file in files]
    tables.update(zip(numbers, tiled, strict=True))

    def ints(values: Iterable[int]) -> Ints:
        return np.array(list(values), np.int64)

    return _Layout(
        lattice=ints(lattices.setdefault(key, len(lattices)) for key in keys),
        image=ints(numbers),
        height=ints(image.height for image in tiled),
        width=ints(image.width for image in tiled),
        tile_height=ints(max(image.tile_height, 1) for image in tiled),
        tile_width=ints(max(image.tile_width, 1) for image in tiled),
        tile_bytes=ints(int(image.byte_count.mean()) if len(image.byte_count) else 0 for image in tiled),
    )
