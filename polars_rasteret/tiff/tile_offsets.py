"""At which bytes of the file are the tiles of one image?

The tables of offsets and byte counts are checked against the image. Missing byte counts are filled in as in libtiff. A byte count
of 0 is a sparse tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff import tags
from polars_rasteret.tiff.band_tiles import MAX_BYTE_STOP, Image
from polars_rasteret.tiff.codecs.inflate import NONE
from polars_rasteret.tiff.layout import ImageLayout, chopped_rows, is_chopped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOffsets:
    """One image of a file, with the offsets and byte counts of the tiles of all its planes."""

    layout: ImageLayout
    tile_height: int
    """Rows of the tiles here; less than in `layout` where one tall strip is read as many low ones."""
    byte_start: NDArray[np.int64]
    """First byte of each tile, shape (n_planes, n_tiles); 0 for a sparse tile."""
    byte_count: NDArray[np.int64]
    """Bytes of each tile, shape (n_planes, n_tiles); -1: to the end of the file, 0: a sparse tile."""
    href: str

    def plane(self, plane: int, file_size: int | None) -> Image:
        """Return the image of one plane; `file_size` gives the end of tiles that reach to the end of the file.

        Raises
        ------
        FileFormatError
            When a tile reaches to the end of the file and `file_size` is None.
        """
        byte_start, byte_count = self.byte_start[plane], self.byte_count[plane]
        if (byte_count < 0).any():
            if file_size is None:
                raise FileFormatError(
                    f"{self.href}: byte counts of strips are missing and the size of the file is unknown, so "
                    "their end is too. "
                    "Write the file again with complete tables."
                )
            byte_count = np.where(byte_count < 0, np.maximum(file_size - byte_start, 0), byte_count)
        return Image(
            width=self.layout.width,
            height=self.layout.height,
            tile_width=self.layout.tile_width,
            tile_height=self.tile_height,
            byte_start=byte_start,
            byte_count=byte_count,
            compression=self.layout.compression,
            predictor=self.layout.predictor,
            jpeg_tables=self.layout.jpeg_tables,
            is_ycbcr=self.layout.is_ycbcr,
        )


def tile_offsets(layout: ImageLayout, tables: Mapping[int, np.ndarray[Any, Any]], href: str, where: str) -> TileOffsets:
    """Return the checked and completed tile tables of an image.

    Raises
    ------
    FileFormatError
        When a table is missing, too short, or points beyond any file.
    """
    # libtiff takes the tags for tiles and for strips as one tag: where a file has both, the later one counts.
    names = {tags.TILE_OFFSETS, tags.STRIP_OFFSETS}, {tags.TILE_BYTE_COUNTS, tags.STRIP_BYTE_COUNTS}
    start_table, count_table = (
        next((table for tag, table in reversed(list(tables.items())) if tag in pair), None) for pair in names
    )
    n_planes, n_tiles = layout.samples.n_planes, layout.n_tiles
    n_all = n_planes * n_tiles
    if start_table is None or len(start_table) < n_all:
        n_found = 0 if start_table is None else len(start_table)
        raise FileFormatError(
            f"{href}: the table of {'tile' if layout.is_tiled else 'strip'} offsets of {where} has {n_found} entries; "
            f"expected {n_all} for {layout.width} x {layout.height} pixels in pieces of {layout.tile_width} x "
            f"{layout.tile_height} "
            f"and {n_planes} plane(s). The header is damaged: get or write the file again."
        )
    byte_start = _as_offsets(start_table[:n_all], href, where)
    if count_table is None:
        byte_count = _estimate_counts(layout, byte_start)
    else:
        # As in GDAL, tiles behind the end of a short table are sparse.
        byte_count = np.zeros(n_all, np.int64)
        byte_count[: len(count_table)] = _as_offsets(count_table[:n_all], href, where)
        if n_all == 1 and not layout.is_tiled and not byte_count[0]:
            # A single strip is not sparse: libtiff takes the count for missing.
            byte_count = _estimate_counts(layout, byte_start)
    byte_start = byte_start.reshape(n_planes, n_tiles)
    byte_count = byte_count.reshape(n_planes, n_tiles)
    tile_height = layout.tile_height
    if layout.compression == NONE:
        raw = _raw_counts(layout)
        # For a single strip libtiff trusts the size of the image more than the count. For others, bytes behind a tile are unused.
        is_wrong = (byte_count > raw) | ((byte_count < raw) & (n_all == 1) & (not layout.is_tiled) & (byte_start > 0))
        byte_count = np.where(is_wrong, raw, byte_count)
        if is_chopped(layout) and ((byte_count == raw) | (byte_count == 0)).all():
            tile_height = chopped_rows(layout)
            byte_start, byte_count = _chop(layout, tile_height, byte_start, byte_count)
    return TileOffsets(
        layout=layout,
        tile_height=tile_height,
        byte_start=np.where(byte_count == 0, 0, byte_start),
        byte_count=byte_count,
        href=href,
    )


def _as_offsets(table: np.ndarray[Any, Any], href: str, where: str) -> NDArray[np.int64]:
    if table.dtype.kind not in "ui" or (len(table) and not 0 <= int(table.min()) <= int(table.max()) < MAX_BYTE_STOP):
        raise FileFormatError(
            f"{href}: the tile tables of {where} hold {table.dtype} values from {table.min()} to {table.max()}; "
            f"expected byte positions below {MAX_BYTE_STOP}. The header is damaged: get or write the file again."
        )
    return table.astype(np.int64)


def _raw_counts(layout: ImageLayout) -> NDArray[np.int64]:
    """Return the bytes of each uncompressed tile of a plane, shape (n_tiles,); the last strip has only the remaining rows."""
    counts = np.full(layout.n_tiles, layout.raw_tile_bytes, np.int64)
    if not layout.is_tiled:
        rows_left = layout.height - (layout.n_tiles - 1) * layout.tile_height
        counts[-1] = rows_left * layout.samples.row_bytes(layout.width)
    return counts


def _estimate_counts(layout: ImageLayout, byte_start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return estimated byte counts: uncompressed sizes, else up to the next tile, else -1 (up to the end of the file)."""
    if layout.compression == NONE:
        counts = np.tile(_raw_counts(layout), layout.samples.n_planes)
    else:
        order = np.unique(byte_start)
        following = np.searchsorted(order, byte_start, side="right")
        counts = np.where(following < len(order), np.append(order, 0)[following] - byte_start, -1)
    counts[byte_start == 0] = 0
    return counts


def _chop(
    layout: ImageLayout, rows: int, byte_start: NDArray[np.int64], byte_count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return offsets and byte counts of strips of `rows` rows, shape (n_planes, n_strips); sparse strips stay sparse."""
    row_bytes = layout.samples.row_bytes(layout.width)
    first_row = np.arange(0, layout.height, rows, dtype=np.int64)
    tall, row_in_tall = np.divmod(first_row, layout.tile_height)
    counts = np.minimum(rows, layout.height - first_row) * row_bytes
    return byte_start[:, tall] + row_in_tall * row_bytes, np.where(byte_count[:, tall] == 0, 0, counts)
