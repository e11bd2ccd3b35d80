"""What must a reader know of one band to fetch and decode its tiles?

`BandTiles` has the pixel format of a band and the tile offsets of its images. `tile_table` packs and unpacks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from polars_rasteret.bundles import bundle
from polars_rasteret.hrefs import Provenance

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    from numpy.typing import NDArray

MAX_BYTE_STOP = 1 << 56
"""Bytes of a file at most; keeps sums of offsets inside int64."""


@bundle
class Image:
    """One image (full resolution, overview or mask) of one band: its size, compression and tile offsets."""

    width: int
    height: int
    tile_width: int
    tile_height: int
    byte_start: NDArray[np.int64]
    """First byte of each tile, shape (n_tiles,), row-major."""
    byte_count: NDArray[np.int64]
    """Bytes of each tile, shape (n_tiles,); 0 is a sparse tile, which has no bytes in the file."""
    compression: int = 1
    predictor: int = 1
    jpeg_tables: bytes = b""
    """Tag 347: tables that the JPEG pictures of the tiles share; at most 65534 bytes."""
    is_ycbcr: bool = False
    """Whether JPEG colours must be converted to RGB."""

    @property
    def tiles_across(self) -> int:
        """Number of tiles in one row of tiles."""
        return -(-self.width // self.tile_width)


@bundle
class BandTiles:
    """Unpacked ``tiles`` field of one band: everything needed to fetch and decode its tiles."""

    dtype: np.dtype[Any]
    """Dtype of decoded pixels, in this machine's byte order; float32 for float16 files."""
    byte_order: Literal["<", ">"]
    bits_per_sample: int
    """Bits per sample in the file: 16 for float16."""
    compression: int
    predictor: int
    samples_per_tile: int
    """Samples interleaved per pixel inside a tile; 1 for planar separate."""
    planar: int
    """PlanarConfiguration: 1 interleaved, 2 separate."""
    nodata: np.generic[Any] | None
    """Nodata value of the file in `dtype`; None when there is none, or no pixel can equal it."""
    ignore_nodata: bool
    """Whether the file's nodata is ignored."""
    images: tuple[Image, ...]
    """Image at full resolution, then the overviews."""
    file_size: int | None
    etag: str | None
    last_modified: dt.datetime | None
    codec_parameter: int = 0
    """LERC: compression around the blob (0 none, 1 deflate, 2 zstd). Others: see ``codec``."""
    alpha: int | None = None
    """Index of the alpha sample in the same tiles; it is 0 where the other samples are masked."""
    masks: tuple[BandTiles, ...] = ()
    """Internal mask and alpha plane, 0 where this band is masked; images of the same sizes in the same file."""
    plane: int | None = None
    """Index of the band that these tiles belong to, in a file with separate planes; None where it is not known."""
    digest: bytes = b""
    provenance: Provenance = Provenance.HERE
    """Provenance of the href: who named it."""
    is_borrowed: bool = False
    """Whether the table was made without the header of the file, and must not be used to decode pixels."""
