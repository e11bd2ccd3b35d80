"""How is a small, valid Cloud-Optimized GeoTIFF made without GDAL?

For tests, examples and documentation only: small arrays, one compression, georeferencing by EPSG code. It is no product feature;
write real files with GDAL.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj

from polars_rasteret.errors import UsageError
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHORT, _LONG, _DOUBLE, _ASCII = 3, 4, 12, 2
_FORMAT = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_SAMPLE_FORMAT = {"u": 1, "i": 2, "f": 3}
_EPSG_MAX = 32766


def make_cog(
    pixels: NDArray[Any],
    *,
    epsg: int | None = 32632,
    transform: Sequence[float] = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0),
    nodata: float | None = None,
    tile_size: int = 64,
    n_overviews: int = 0,
) -> bytes:
    """Return a tiled, DEFLATE-compressed GeoTIFF, made in memory.

    Parameters
    ----------
    pixels
        Shape ``(height, width)`` or ``(bands, height, width)``; pixel-interleaved in the file.
    epsg
        Code of a projected or geographic CRS; None for none.
    transform
        Affine ``a, b, c, d, e, f`` of pixel corners; north-up (``b = d = 0``, ``e < 0``).
    nodata
        The value that means nothing.
    tile_size
        Pixels; a multiple of 16.
    n_overviews
        Overviews by halves, nearest neighbour.

    Returns
    -------
    bytes
        The file.

    Examples
    --------
    >>> import numpy as np
    >>> from polars_rasteret.testing import make_cog
    >>> cog = make_cog(np.arange(100, dtype=np.uint16).reshape(10, 10))
    >>> len(cog) > 100
    True
    """
    bands = np.asarray(pixels)
    if bands.ndim == 2:
        bands = bands[None]
    if bands.ndim != 3 or bands.dtype.kind not in _SAMPLE_FORMAT:
        raise UsageError(
            f"pixels have shape {np.shape(pixels)} and dtype {bands.dtype}; expected (height, width) or (bands, height, width) "
            "of integers or floats"
        )
    if tile_size <= 0 or tile_size % 16:
        raise UsageError(f"tile_size is {tile_size}; TIFF wants a positive multiple of 16")
    images = [np.moveaxis(bands, 0, 2)]
    for _ in range(n_overviews):
        images.append(images[-1][::2, ::2])
    directories = [_tags(image, tile_size, nodata, is_overview=level > 0) for level, image in enumerate(images)]
    directories[0].update(_georeference(epsg, transform))
    tiles = [_tiles(image, tile_size) for image in images]
    # Directories come first, so that one read of the beginning gives them all; their sizes do not depend on the offsets.
    size = 8 + sum(len(_directory(tags, [0] * len(data), 0, 0)) for tags, data in zip(directories, tiles, strict=True))
    offsets: list[list[int]] = [[] for _ in images]
    end = size
    for level in reversed(range(len(images))):  # smallest overview first, as a COG has it
        for tile in tiles[level]:
            offsets[level].append(end)
            end += len(tile)
    header = struct.pack("<2sHI", b"II", 42, 8)
    for level, tags in enumerate(directories):
        header += _directory(tags, offsets[level], len(header), 1 if level + 1 < len(images) else 0)
    return header + b"".join(tile for level in reversed(range(len(images))) for tile in tiles[level])


def _tags(
    image: NDArray[Any], tile_size: int, nodata: float | None, *, is_overview: bool
) -> dict[int, tuple[int, Any]]:
    height, width, n_bands = image.shape
    sizes = [len(tile) for tile in _tiles(image, tile_size)]
    tags: dict[int, tuple[int, Any]] = {
        254: (_LONG, [int(is_overview)]),
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [image.dtype.itemsize * 8] * n_bands),
        259: (_SHORT, [8]),
        262: (_SHORT, [1]),
        277: (_SHORT, [n_bands]),
        284: (_SHORT, [1]),
        322: (_SHORT, [tile_size]),
        323: (_SHORT, [tile_size]),
        324: (_LONG, [0] * len(sizes)),
        325: (_LONG, sizes),
        339: (_SHORT, [_SAMPLE_FORMAT[image.dtype.kind]] * n_bands),
    }
    if n_bands > 1:
        tags[338] = (_SHORT, [0] * (n_bands - 1))
    if nodata is not None:
        tags[42113] = (_ASCII, f"{nodata!r}\0".encode())
    return tags


def _georeference(epsg: int | None, transform: Sequence[float]) -> dict[int, tuple[int, Any]]:
    a, b, c, d, e, f = transform
    if b or d or a <= 0 or e >= 0:
        raise UsageError(f"transform is {tuple(transform)}; expected a north-up one (b = d = 0, a > 0, e < 0)")
    tags: dict[int, tuple[int, Any]] = {33550: (_DOUBLE, [a, -e, 0.0]), 33922: (_DOUBLE, [0.0, 0.0, 0.0, c, f, 0.0])}
    if epsg is not None:
        if not 0 < epsg <= _EPSG_MAX:
            raise UsageError(f"epsg is {epsg}; expected a code GeoTIFF can hold, 1..{_EPSG_MAX}")
        is_projected = on_proj_thread(lambda: bool(pyproj.CRS.from_epsg(epsg).is_projected))
        keys = [(1024, 1 if is_projected else 2), (1025, 1), (3072 if is_projected else 2048, epsg)]
        tags[34735] = (_SHORT, [1, 1, 0, len(keys), *[part for key, value in keys for part in (key, 0, 1, value)]])
    return tags


def _tiles(image: NDArray[Any], tile_size: int) -> list[bytes]:
    height, width, n_bands = image.shape
    tiles = []
    for row in range(0, height, tile_size):
        for col in range(0, width, tile_size):
            tile = np.zeros((tile_size, tile_size, n_bands), image.dtype.newbyteorder("<"))
            part = image[row : row + tile_size, col : col + tile_size]
            tile[: part.shape[0], : part.shape[1]] = part
            tiles.append(zlib.compress(tile.tobytes()))
    return tiles


def _directory(tags: dict[int, tuple[int, Any]], offsets: list[int], start: int, has_next: int) -> bytes:
    """Return one image file directory with its out-of-line values, to be placed at byte `start`."""
    tags = {**tags, 324: (_LONG, offsets)}
    n_bytes = 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        kind, content = tags[tag]
        data = content if kind == _ASCII else struct.pack(f"<{len(content)}{_FORMAT[kind]}", *content)
        count = len(data) if kind == _ASCII else len(content)
        if len(data) <= 4:
            inline = data.ljust(4, b"\0")
        else:
            inline = struct.pack("<I", start + n_bytes + len(values))
            values += data + b"\0" * (len(data) % 2)
        entries += struct.pack("<HHI", tag, kind, count) + inline
    following = start + n_bytes + len(values) if has_next else 0
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + values
