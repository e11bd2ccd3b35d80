"""Which distinct tiles must be read for all windows of a call, and which reads use each tile?

A *tile read* is one distinct tile: a byte range of a file that is fetched and decoded once. A *use* is the part of a tile that
one band or level needs: the bands of a pixel-interleaved file are several uses of one tile. Columns are sorted by file and byte,
ready to be fetched.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.plan.tiles import DistinctRows, Pieces, TileGrids, distinct_rows, pieces_of_windows, runs
from polars_rasteret.plan.windows import PixelReference, WindowRead, pixel_offsets
from polars_rasteret.tiff.codecs.tile_codec import TileCodec

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import BandTiles, Image

    Ints = NDArray[np.int64]

_PEEK = 32
"""Entries of each column that go into a fingerprint."""


@bundle
class ReadPlan:
    """One read and the tiles that its windows need."""

    read: WindowRead
    offset: Ints
    """Index in the flat answer where each window begins, and the end of the answer; shape (n + 1,)."""
    references: Sequence[PixelReference]
    """Reference of each grid."""
    images: Sequence[Image]
    """Image of each grid."""
    pieces: Pieces
    rows: DistinctRows | None
    """Distinct rows that the windows need of each tile. None unless every window is one pixel, or empty."""
    grid: Ints
    """Index of the grid of each distinct tile of `pieces`."""
    tile: Ints
    """Number of each distinct tile of `pieces` inside its image, row-major."""


@bundle
class TileReads:
    """Distinct tiles of some reads, sorted by file and byte, and the uses of each tile."""

    plans: Sequence[ReadPlan]
    files: Sequence[BandTiles]
    """Tile table of each distinct file, for the file's size, ETag and modification time."""
    hrefs: Sequence[str]
    """Href of each distinct file."""
    file_id: Ints
    """Index of the file of each tile."""
    byte_start: Ints
    """First byte of each tile in its file."""
    byte_stop: Ints
    """Byte behind each tile in its file."""
    first_use: Ints
    """Index of the first use of each tile, and the number of uses: tile ``i`` has ``first_use[i]:first_use[i + 1]``."""
    use_read: Ints
    """Index of the read (of `plans`) of each use."""
    use_tile: Ints
    """Index of the tile among the distinct tiles of that read, for each use."""
    use_codec: Ints
    """Index of the codec of each use."""
    use_tile_rows: Ints
    """Rows that the tile really has, for each use; a last strip is shorter than the others."""
    codecs: Sequence[TileCodec]
    sparse: Sequence[tuple[int, int]]
    """Tiles without bytes in the file: (read, index among the distinct tiles of that read)."""
    broken: Sequence[tuple[int, int, FileFormatError]]
    """Tiles that cannot be decoded: (read, index among the distinct tiles of that read, error)."""


def plan_reads(reads: Sequence[WindowRead]) -> list[ReadPlan]:
    """Return the plan of each read. Reads of the same windows on the same grids are planned once.

    Raises
    ------
    UsageError
        When a level does not exist.
    """
    plans: list[ReadPlan] = []
    shared: dict[Hashable, list[tuple[TileGrids, ReadPlan]]] = {}  # by a fingerprint: comparing long columns takes time
    for read in reads:
        references, images, grid_id = _grids_of(read)
        grids = TileGrids.of(images)
        columns = (grid_id, *_window_columns(read))
        fingerprint = (len(grid_id), len(references), *(column[:_PEEK].tobytes() for column in columns))
        twins = shared.setdefault(fingerprint, [])
        twin = next((plan for other, plan in twins if other == grids and _same_windows(plan.read, read)), None)
        if twin is None:
            offset = pixel_offsets(read)
            pieces = pieces_of_windows(grids, *columns, offset[:-1])
            rows = distinct_rows(pieces) if pieces.height is None else None
            grid = np.searchsorted(grids.first_tile, pieces.tile, side="right") - 1
            tile = pieces.tile - grids.first_tile[grid]
        else:
            offset, pieces, rows, grid, tile = twin.offset, twin.pieces, twin.rows, twin.grid, twin.tile
        plan = ReadPlan(
            read=read,
            offset=offset,
            references=references,
            images=images,
            pieces=pieces,
            rows=rows,
            grid=grid,
            tile=tile,
        )
        if twin is None:
            twins.append((grids, plan))
        plans.append(plan)
    return plans


def tile_reads_of(plans: Sequence[ReadPlan], *, max_tile_bytes: int) -> TileReads:
    """Return the distinct tiles of planned reads. Tiles that decode to more than `max_tile_bytes` are among the broken tiles."""
    file_ids: dict[Hashable, int] = {}
    files: list[BandTiles] = []
    hrefs: list[str] = []
    codec_ids: dict[TileCodec, int] = {}
    codec_of_image: dict[int, int] = {}
    parts: list[tuple[Ints, ...]] = []
    broken: list[tuple[int, int, FileFormatError]] = []
    for index, plan in enumerate(plans):
        n_tiles = len(plan.tile)
        file_id, codec_id = np.empty(n_tiles, np.int64), np.empty(n_tiles, np.int64)
        byte_start, byte_count, tile_rows = (np.empty(n_tiles, np.int64) for _ in range(3))
        # Tiles are sorted by grid, so each grid is one slice.
        grids, bounds = runs(plan.grid)
        for grid, (start, stop) in zip(grids.tolist(), pairwise(bounds.tolist()), strict=True):
            reference, image = plan.references[grid], plan.images[grid]
            tiles = reference.tiles
            key = (reference.href, tiles.etag, tiles.file_size, tiles.last_modified, tiles.provenance)
            one = file_ids.setdefault(key, len(files))
            if one == len(files):
                files.append(tiles)
                hrefs.append(reference.href)
            file_id[start:stop] = one
            codec = codec_of_image.get(id(image))
            if codec is None:
                try:
                    codec = codec_ids.setdefault(
                        TileCodec.for_image(tiles, image, max_bytes=max_tile_bytes), len(codec_ids)
                    )
                except FileFormatError as error:
                    broken += [(index, one, error) for one in range(start, stop)]
                    codec_id[start:stop] = -1
                    byte_start[start:stop] = byte_count[start:stop] = 0
                    continue
                codec_of_image[id(image)] = codec
            codec_id[start:stop] = codec
            tile = plan.tile[start:stop]
            tile_rows[start:stop] = _rows_present(image, tile)
            byte_start[start:stop] = image.byte_start[tile]
            byte_count[start:stop] = image.byte_count[tile]
        own = (np.full(n_tiles, index), np.arange(n_tiles))
        parts.append((file_id, byte_start, byte_start + byte_count, codec_id, *own, tile_rows))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.empty(0, np.int64)] * 7
    # A byte count of 0 is a sparse tile: all nodata, nothing to fetch.
    is_empty = columns[1] == columns[2]
    is_sparse = is_empty & (columns[3] >= 0)
    sparse = list(zip(columns[4][is_sparse].tolist(), columns[5][is_sparse].tolist(), strict=True))
    columns = [column[~is_empty] for column in columns]
    order = np.lexsort((columns[4], columns[3], columns[2], columns[1], columns[0]))
    file_id, byte_start, byte_stop, use_codec, use_read, use_tile, use_tile_rows = (column[order] for column in columns)
    new = np.ones(len(order), np.bool_)
    new[1:] = np.diff(file_id).astype(bool) | np.diff(byte_start).astype(bool) | np.diff(byte_stop).astype(bool)
    first = np.flatnonzero(new)
    return TileReads(
        plans=plans,
        files=files,
        hrefs=hrefs,
        file_id=file_id[first],
        byte_start=byte_start[first],
        byte_stop=byte_stop[first],
        first_use=np.append(first, len(order)),
        use_read=use_read,
        use_tile=use_tile,
        use_codec=use_codec,
        use_tile_rows=use_tile_rows,
        codecs=list(codec_ids),
        sparse=sparse,
        broken=broken,
    )


def _window_columns(read: WindowRead) -> tuple[Ints, Ints, Ints, Ints]:
    return read.row_start, read.col_start, read.height, read.width


def _same_windows(one: WindowRead, other: WindowRead) -> bool:
    """Return whether two reads have the same windows, levels and reference numbers."""
    columns = zip(
        (one.reference_id, np.asarray(one.level), *_window_columns(one)),
        (other.reference_id, np.asarray(other.level), *_window_columns(other)),
        strict=True,
    )
    return all(a is b or np.array_equal(a, b) for a, b in columns)


def _grids_of(read: WindowRead) -> tuple[Sequence[PixelReference], list[Image], Ints]:
    """Return the reference and the image of each grid, and the index of the grid of each window (-1: none)."""
    level = np.asarray(read.level)
    if level.ndim == 0:
        one_level = int(level)
        return read.references, [_image(one, one_level, read.label) for one in read.references], read.reference_id
    if level.min(initial=0) < 0:
        raise UsageError(f"{read.label}: a level is negative; 0 is full resolution, then the overviews")
    n_levels = int(level.max(initial=0)) + 1
    key = np.where(read.reference_id < 0, -1, read.reference_id * n_levels + level)
    distinct, grid_id = np.unique(key, return_inverse=True)
    if len(distinct) and distinct[0] < 0:
        distinct, grid_id = distinct[1:], grid_id - 1
    references = [read.references[one] for one in (distinct // n_levels).tolist()]
    levels = (distinct % n_levels).tolist()
    return references, [_image(one, level, read.label) for one, level in zip(references, levels, strict=True)], grid_id


def _image(reference: PixelReference, level: int, label: str) -> Image:
    images = reference.tiles.images
    if not 0 <= level < len(images):
        raise UsageError(
            f"{label}: {shown(reference.href)} has no level {level}; it has {len(images)} "
            "(0 is full resolution, then the overviews)"
        )
    return images[level]


def _rows_present(image: Image, tile: Ints) -> Ints | int:
    """Return the rows that each tile really has: tiles are padded to full height; a last strip ends with the image."""
    if image.tile_width < image.width:
        return image.tile_height
    return np.minimum(image.tile_height, image.height - tile // image.tiles_across * image.tile_height)
