"""Which dtype has an array that stacks the pixels of several bands?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.errors import UsageError
from polars_rasteret.schema import lossless_supertype

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

STACK = "pixels"
"""Name of the column with all bands of a row."""


def stack_dtype(
    bands: Mapping[str, np.dtype[np.generic]],
    *,
    what: str = "stack=True",
    instead: str = "read these bands without stack",
) -> np.dtype[np.generic]:
    """Return the smallest dtype that holds every value of some bands.

    Parameters
    ----------
    bands
        Name of each band to the dtype of its values.
    what, instead
        Words for the message: the argument that needs one dtype, and what to do without it.

    Raises
    ------
    UsageError
        When no dtype holds all values.
    """
    dtype = lossless_supertype(bands.values())
    if dtype is None:
        told = ", ".join(f"{name} ({one})" for name, one in bands.items())
        raise UsageError(f"{what}: no dtype holds every value of {told}; {instead}")
    return dtype
