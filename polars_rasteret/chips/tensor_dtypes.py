"""Which dtype holds pixels in a tensor, without loss?

PyTorch can store unsigned integers of 16 and more bits, but hardly compute with them. Nothing is converted here.
"""

from __future__ import annotations

import numpy as np

from polars_rasteret.errors import UsageError

_WIDER = {"uint16": "int32", "uint32": "int64"}
"""As TorchGeo converts them."""


def tensor_dtype(pixels: np.dtype[np.generic], *, is_image: bool) -> np.dtype[np.generic]:
    """Return the dtype of a tensor of pixels: their own, or the next one in which PyTorch computes.

    Parameters
    ----------
    pixels
        Dtype of the pixels.
    is_image
        False: pixels are classes, which losses take as int64.

    Raises
    ------
    UsageError
        For uint64, of which PyTorch has no larger dtype.

    Examples
    --------
    >>> import numpy as np
    >>> [str(tensor_dtype(np.dtype(one), is_image=True)) for one in ("uint8", "uint16", "uint32", "float32")]
    ['uint8', 'int32', 'int64', 'float32']
    """
    _refuse_uint64(pixels)
    if not is_image and pixels.kind in "iu":
        return np.dtype(np.int64)
    return np.dtype(_WIDER.get(pixels.name, pixels.name))


def geo_dtype(pixels: np.dtype[np.generic], *, is_image: bool) -> np.dtype[np.generic]:
    """Return the dtype of a tensor of pixels as TorchGeo has them: images are floats, and classes are int64.

    Images of 64-bit integers stay integers, because no float holds all of them. Parameters and errors are those of
    `tensor_dtype`.

    Examples
    --------
    >>> import numpy as np
    >>> [str(geo_dtype(np.dtype(one), is_image=True)) for one in ("uint8", "uint16", "int32", "int64")]
    ['float32', 'float32', 'float64', 'int64']
    """
    _refuse_uint64(pixels)
    if not is_image or pixels.name == "int64":
        return tensor_dtype(pixels, is_image=is_image)
    return np.dtype(np.float32) if pixels.itemsize < 4 or pixels.name == "float32" else np.dtype(np.float64)


def _refuse_uint64(pixels: np.dtype[np.generic]) -> None:
    if pixels.name == "uint64":
        raise UsageError(
            "pixels are uint64, and no dtype in which PyTorch computes holds all of them; pass unscale=True for Float32"
        )
