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
    if pixels.name == "uint64":
        raise UsageError(
            "to_torch: pixels are uint64, and no dtype in which PyTorch computes holds all of them; pass unscale=True for Float32"
        )
    if not is_image and pixels.kind in "iu":
        return np.dtype(np.int64)
    return np.dtype(_WIDER.get(pixels.name, pixels.name))
