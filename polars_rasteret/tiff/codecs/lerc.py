"""How does a LERC tile become pixels?

A LERC tile (TIFF compression 34887) holds a two-dimensional array with its own mask of invalid pixels. It may be wrapped in
DEFLATE or ZSTD (the add-on, second value of tag 50674). A tile is always decoded whole.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.inflate import DEFLATE, MOST_PER_BYTE, ZSTD, Bytes, Scratch, codecs

if TYPE_CHECKING:
    from numpy.typing import NDArray

ADD_ONS = {0: "none", 1: "DEFLATE", 2: "ZSTD"}
_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
_MAGIC = b"Lerc2 "


def decode(
    data: Bytes, scratch: Scratch, *, add_on: int, shape: tuple[int, int, int], dtype: np.dtype[Any], max_rows: int
) -> NDArray[Any]:
    """Return the pixels of a tile, shape (rows, columns, samples); invalid floats are NaN, as in libtiff.

    Raises
    ------
    FileFormatError
        When the blob is corrupt, or holds an array of another shape or dtype.
    """
    rows, columns, samples = shape
    blob: Bytes = data
    if add_on:
        # A blob may be longer than raw pixels: its head, the mask and, for incompressible blocks, block heads.
        raw = max_rows * columns * samples * dtype.itemsize
        most = raw + raw // 4 + 65_536
        most = min(most, MOST_PER_BYTE[DEFLATE if add_on == 1 else ZSTD] * memoryview(data).nbytes + 65_536)
        blob = inflate_all(DEFLATE if add_on == 1 else ZSTD, data, most, scratch)
    n_rows, n_columns, n_depth, blob_dtype, n_valid = _head(memoryview(blob)[:96].tobytes())
    if (
        n_columns != columns
        or not rows <= n_rows <= max_rows
        or blob_dtype != dtype.name
        or n_depth not in {1, samples, samples - 1}
    ):
        raise FileFormatError(
            f"a LERC tile holds {n_rows} x {n_columns} x {n_depth} {blob_dtype}; expected {rows} x {columns} "
            f"x {samples} {dtype}. "
            "The file is damaged, or uses LERC in a way that is not supported: write it with another compression."
        )
    try:
        pixels, mask = codecs.lerc_decode(blob, masks=True)
    except (codecs.LercError, ValueError, MemoryError) as error:
        raise FileFormatError(
            f"a tile does not decode as LERC ({memoryview(data).nbytes} bytes): {error}. The file is damaged: "
            "get it again."
        ) from error
    if n_depth == 1 and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)  # one blob per band
    pixels = pixels.reshape(n_rows, n_columns, -1)
    is_masked = n_valid != n_rows * n_columns or pixels.shape[2] != samples
    if is_masked and mask is not None:
        pixels = _with_mask(pixels, np.asarray(mask, np.bool_), samples)
    if pixels.shape[2] != samples:
        raise FileFormatError(
            f"a LERC tile holds {pixels.shape[2]} samples per pixel; expected {samples}. "
            "The file is damaged, or uses LERC in a way that is not supported: write it with another compression."
        )
    result: NDArray[Any] = pixels[:rows]
    return result


def _with_mask(pixels: NDArray[Any], valid: NDArray[np.bool_], samples: int) -> NDArray[Any]:
    """Return pixels with the mask applied as in libtiff: NaN in floats, else an alpha sample of 0 and 255.

    Raises
    ------
    FileFormatError
        When integers without an alpha sample have invalid pixels.
    """
    if valid.ndim == 3:
        valid = np.moveaxis(valid, 0, -1)
    if pixels.dtype.kind == "f":
        pixels = pixels if pixels.flags.writeable else pixels.copy()
        pixels[~valid] = np.nan
    elif pixels.shape[2] == samples - 1 and pixels.dtype == np.uint8 and valid.ndim == 2:
        pixels = np.concatenate([pixels, np.where(valid, 255, 0).astype(np.uint8)[..., None]], axis=2)
    elif not valid.all():
        raise FileFormatError(
            f"a LERC tile of {pixels.dtype} has a mask of invalid pixels, which is not supported for this dtype. "
            "Write the file with another compression."
        )
    return pixels


def inflate_all(compression: int, data: Bytes, most: int, scratch: Scratch) -> NDArray[np.uint8]:
    """Return all bytes that `data` decompresses to, a view of `scratch`.

    Raises
    ------
    FileFormatError
        When there are more than `most` bytes, or the data is corrupt.
    """
    out = scratch.buffer("lerc", most)
    try:
        if compression == DEFLATE:
            decoded: NDArray[np.uint8] = codecs.deflate_decode(data, out=out)
        else:
            decoded = codecs.zstd_decode(data, out=out)
    except (codecs.DeflateError, codecs.ZstdError) as error:
        raise FileFormatError(
            f"the {'DEFLATE' if compression == DEFLATE else 'ZSTD'} add-on of a LERC tile does not decode to "
            f"at most {most} bytes: "
            f"{error}. The file is damaged: get it again."
        ) from error
    return decoded


def _head(head: bytes) -> tuple[int, int, int, str, int]:
    """Return (rows, columns, depth, dtype, valid pixels) from the head of a Lerc2 blob, before memory is allocated."""
    try:
        if head[:6] != _MAGIC:
            raise FileFormatError(
                f"a LERC tile begins with {head[:10]!r}; expected {_MAGIC!r} (LERC version 2). Write the file again."
            )
        (version,) = struct.unpack_from("<i", head, 6)
        at = 10 + (4 if version >= 3 else 0)
        rows, columns = struct.unpack_from("<ii", head, at)
        at += 8
        depth = 1
        if version >= 4:
            (depth,) = struct.unpack_from("<i", head, at)
            at += 4
        n_valid, _, _, code = struct.unpack_from("<iiii", head, at)
        if 0 < n_valid < rows * columns:
            # The library would read the mask from uninitialized memory.
            (n_mask_bytes,) = struct.unpack_from("<i", head, at + (64 if version >= 6 else 40))
            if n_mask_bytes <= 0:
                raise FileFormatError(
                    f"a LERC tile has {n_valid} valid pixels of {rows} x {columns}, and no mask that tells which. "
                    "The file is damaged: get it again."
                )
        return rows, columns, depth, _DTYPES[code], n_valid
    except (struct.error, IndexError) as error:
        raise FileFormatError(f"the head of a LERC tile is damaged: {error}. Get the file again.") from error
