"""When are two answers the same pixels?"""

from __future__ import annotations

import hashlib

import numpy as np


def fingerprint(bands: list[np.ndarray]) -> str:
    """Name shape, dtype and values; all NaN are alike."""
    digest = hashlib.blake2b(digest_size=12)
    for band in bands:
        little = np.ascontiguousarray(band.astype(band.dtype.newbyteorder("<"), copy=False))
        if little.dtype.kind == "f":
            little = np.where(np.isnan(little), little.dtype.type(np.nan), little)
        digest.update(f"{little.shape} {little.dtype}".encode() + little.tobytes())
    return digest.hexdigest()
