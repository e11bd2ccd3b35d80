"""Which value means nothing, and what stands where nothing was read?

Scalars are converted exactly or not at all. Masking compares in the native dtype, before any cast.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.schema import lossless_supertype

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from polars_rasteret.tiff.tile_table import BandTiles

Scalar = int | float | np.generic


def exact_scalar(value: Scalar, dtype: np.dtype[Any]) -> np.generic | None:
    """Give `value` in `dtype`, or None where `dtype` cannot hold it exactly. NaN is exact in every float dtype."""
    if isinstance(value, np.generic) and value.dtype == dtype:
        return value
    plain: int | float = value.item() if isinstance(value, np.generic) else value
    return _exact(plain, dtype)


@functools.lru_cache(maxsize=1024)
def _exact(plain: float, dtype: np.dtype[Any]) -> np.generic | None:
    if dtype.kind in "ui":
        if isinstance(plain, float) and not plain.is_integer():  # False for NaN and infinities too
            return None
        limits = np.iinfo(dtype)
        whole = int(plain)
        if not limits.min <= whole <= limits.max:
            return None
        exact: np.generic = dtype.type(whole)
        return exact
    with np.errstate(over="ignore"):
        try:
            rounded: np.generic = dtype.type(plain)
        except OverflowError:  # a Python integer beyond the largest double
            return None
    if plain != plain:  # noqa: PLR0124 - NaN
        return rounded
    return rounded if rounded.item() == plain else None


def masking_value(tiles: BandTiles, override: Scalar | None) -> np.generic | None:
    """Give the native value that means nodata; None when no pixel value does.

    A non-null override replaces the file's value; one that the native dtype cannot hold matches no pixel.
    """
    if override is not None:
        return exact_scalar(override, tiles.dtype)
    return None if tiles.ignore_nodata else tiles.nodata


def fill_value(
    tiles: BandTiles | None, override: Scalar | None, fill: Scalar | None, dtype: np.dtype[Any], *, label: str
) -> np.generic:
    """Give what stands outside the image: `fill`, else the nodata in force, else 0; in the result dtype.

    Raises
    ------
    UsageError
        When an integer dtype cannot hold the fill.
    """
    for value in (fill, override):
        if value is None:
            continue
        converted = exact_scalar(value, dtype)
        if converted is None and dtype.kind == "f":
            converted = dtype.type(value)
        if converted is None:
            raise UsageError(f"{label}: the fill {value!r} is not a value of {dtype}; give one that is")
        return converted
    native = None if tiles is None or tiles.ignore_nodata else tiles.nodata
    filled: np.generic = dtype.type(0) if native is None else dtype.type(native)
    return filled


def check_lossless(native: np.dtype[Any], result: np.dtype[Any], *, label: str, href: str) -> None:
    """Refuse a cast that could lose a value.

    Raises
    ------
    UsageError
        Naming both dtypes.
    """
    if native != result and lossless_supertype([native, result]) != result:
        raise UsageError(
            f"{label}: {href} holds {native} pixels, the column promises {result}, and that cast could lose values. "
            f"Read it as a dtype that holds both, or index the file again."
        )


def validity(pixels: NDArray[Any], nodata: np.generic | None, out: NDArray[np.bool_]) -> None:
    """Write which native `pixels` carry a value: not `nodata`, not NaN."""
    if pixels.dtype.kind != "f":
        if nodata is None:
            out[...] = True
        else:
            np.not_equal(pixels, nodata, out=out)
        return
    np.equal(pixels, pixels, out=out)  # NaN is not equal to itself
    if nodata is not None and nodata == nodata:  # noqa: PLR0124 - NaN
        out &= pixels != nodata
