"""How do the colours of a tile become RGB, where GDAL gives RGB and the codec does not?

These are CMYK, and YCbCr outside JPEG, whose colours have a lower resolution. The conversion is that of libtiff's RGBA interface
(tif_getimage.c, tif_color.c), through which GDAL reads such files: whole numbers throughout, colours repeated and not
interpolated. YCbCr within JPEG is converted by its decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSAMPLINGS = {(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)}
"""Pixels across and down that share a colour. 4 by 4 is left out, because libtiff loses the last blocks of such files.

The codec parameter of YCbCr is 8 times the first plus the second.
"""
LUMA = (0.299, 0.587, 0.114)
BLACK_WHITE = (0, 255, 128, 255, 128, 255)
"""YCbCrCoefficients and ReferenceBlackWhite: the defaults of TIFF 6.0 section 21 are the only ones read."""

_HALF = 1 << 15


def rgba_of_cmyk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return red, green, blue and an alpha of 255 in the last axis, of pixels with four inks in the last axis."""
    rest = 255 - pixels.astype(np.uint16)
    rest[..., :3] = rest[..., :3] * rest[..., 3:] // 255
    rest[..., 3] = 255
    return np.asarray(rest, np.uint8)


def n_block_bytes(parameter: int, n_rows: int, width: int) -> int:
    """Return the bytes of the blocks that hold `n_rows` rows. Each block has its luma row by row, then Cb and Cr."""
    across, down = divmod(parameter, 8)
    return -(-n_rows // down) * -(-width // across) * (across * down + 2)


def rgb_of_ycbcr(raw: NDArray[np.uint8], parameter: int, n_rows: int, width: int) -> NDArray[np.uint8]:
    """Return the RGB pixels of `n_rows` rows, shape (n_rows, width, 3), from the blocks that hold these rows."""
    across, down = divmod(parameter, 8)
    n_luma = across * down
    blocks = raw.reshape(-(-n_rows // down), -(-width // across), n_luma + 2)
    shape = blocks.shape[0] * down, blocks.shape[1] * across
    luma = blocks[..., :n_luma].reshape(*blocks.shape[:2], down, across).swapaxes(1, 2).reshape(shape).astype(np.int32)
    # Look up tables of 256 entries per block first: there are fewer blocks than pixels.
    cb, cr = (blocks[..., n_luma + index] for index in (0, 1))
    red, cr_green, cb_green, blue = _TABLES
    shifts = (red[cr], (cb_green[cb] + cr_green[cr]) >> 16, blue[cb])
    rgb = np.stack([luma + shift.repeat(down, axis=0).repeat(across, axis=1) for shift in shifts], axis=-1)
    return np.asarray(np.clip(rgb, 0, 255)[:n_rows, :width], np.uint8)


def _tables() -> tuple[NDArray[np.int32], ...]:
    """Return four tables of what each value adds: Cr to red, Cr and Cb to green (in 65536ths), Cb to blue.

    As in libtiff's TIFFYCbCrToRGBInit.
    """
    luma_red, luma_green, luma_blue = LUMA

    def fixed(factor: float) -> int:
        return int(factor * 65_536 + 0.5)

    chroma = np.arange(-128, 128, dtype=np.int32)
    to_red, to_blue = 2 - 2 * luma_red, 2 - 2 * luma_blue
    return (
        (fixed(to_red) * chroma + _HALF) >> 16,
        -fixed(luma_red * to_red / luma_green) * chroma,
        -fixed(luma_blue * to_blue / luma_green) * chroma + _HALF,
        (fixed(to_blue) * chroma + _HALF) >> 16,
    )


_TABLES: Any = _tables()
