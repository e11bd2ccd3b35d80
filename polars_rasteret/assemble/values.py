"""Which pixel value means nodata, and which value fills pixels outside the image?

Scalars are converted exactly or not at all (an override of float pixels is rounded). Masking compares in the native dtype,
before any cast, as GDAL does.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.schema import lossless_supertype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from polars_rasteret.tiff.band_tiles import BandTiles

Scalar = int | float | np.generic


def exact_scalar(value: Scalar, dtype: np.dtype[Any]) -> np.generic | None:
    """Return `value` in `dtype`, or None where `dtype` cannot hold `value` exactly. NaN is exact in every float dtype."""
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
    """Return the pixel value, in the native dtype, that means nodata; None when no value does.

    A non-null override replaces the file's nodata. An integer dtype that cannot hold the override exactly has no nodata
    value. A float dtype rounds the override, as GDAL does.
    """
    if override is not None:
        return tiles.dtype.type(override) if tiles.dtype.kind == "f" else exact_scalar(override, tiles.dtype)
    return None if tiles.ignore_nodata else tiles.nodata


def fill_value(
    tiles: BandTiles | None, override: Scalar | None, fill: Scalar | None, dtype: np.dtype[Any], *, label: str
) -> np.generic:
    """Return the value of pixels outside the image, in the result dtype: `fill`, else the nodata in force, else 0.

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
    """Raise when a cast from the native to the result dtype could lose a value.

    Raises
    ------
    UsageError
        The message names both dtypes.
    """
    if native != result and lossless_supertype([native, result]) != result:
        raise UsageError(
            f"{label}: {shown(href)} holds {native} pixels, the column promises {result}, and that cast could lose values. "
            f"Read it as a dtype that holds both, or index the file again."
        )


def validity(pixels: NDArray[Any], nodata: np.generic | None, out: NDArray[np.bool_]) -> None:
    """Write the valid mask of native `pixels` into `out`.

    NaN and `nodata` are not valid. Floats that GDAL takes for `nodata` because they lie near it are not valid either.
    """
    if pixels.dtype.kind != "f":
        if nodata is None:
            out[...] = True
        else:
            np.not_equal(pixels, nodata, out=out)
        return
    if nodata is None or nodata != nodata:  # noqa: PLR0124 - NaN
        np.equal(pixels, pixels, out=out)  # NaN is not equal to itself
        return
    (low, high), *others = _equal_ranges(nodata)
    np.less(pixels, low, out=out)  # NaN is neither below nor above
    out |= pixels > high
    for low, high in others:
        out &= (pixels < low) | (pixels > high)


@functools.lru_cache(maxsize=1024, typed=True)
def _equal_ranges(nodata: np.generic) -> tuple[tuple[np.generic, np.generic], ...]:
    """Return the closed ranges (lowest, highest) of floats that GDAL takes for a nodata value that is not NaN.

    GDAL's `ARE_REAL_EQUAL` calls a and b equal where |a - b| < 2 e |a + b| in the arithmetic of the dtype. Its e is the
    epsilon of float32, for doubles too. Where a + b overflows, all numbers up to the largest are equal.
    """
    kind: Any = type(nodata)
    size: Any = abs(nodata)  # type: ignore[arg-type]
    if size == 0 or np.isinf(size):
        return ((nodata, nodata),)
    largest = kind(np.finfo(kind).max)
    epsilon, two = kind(np.finfo(np.float32).eps), kind(2)

    def is_equal(other: Any) -> bool:
        return bool(abs(other - size) < epsilon * abs(other + size) * two)

    with np.errstate(over="ignore", under="ignore"):
        first_over = _first(lambda other: bool(np.isinf(other + size)), kind(0), largest)
        low = _first(lambda other: bool(other == size) or is_equal(other), kind(0), size)
        if first_over is not None and first_over <= size:
            ranges = [(low, largest)]
        else:
            end = size * two if first_over is None else min(size * two, np.nextafter(first_over, kind(0)))
            first_above = _first(lambda other: bool(other > size) and not is_equal(other), size, end)
            ranges = [(low, largest if first_above is None else np.nextafter(first_above, kind(0)))]
            if first_over is not None and first_above is not None:
                ranges.append((first_over, largest))
    return tuple(ranges if nodata > 0 else [(-most, -least) for least, most in ranges])  # type: ignore[operator]


def _first(is_true: Callable[[Any], bool], low: Any, high: Any) -> Any:
    """Return the first float of `low` to `high` (both at least 0) from which on a condition holds; None where it never does."""
    kind = type(low)
    words = np.dtype(f"u{low.itemsize}")
    start, stop = int(low.view(words)), int(high.view(words))
    if not is_true(high):
        return None
    while start < stop:
        middle = (start + stop) // 2
        if is_true(words.type(middle).view(kind)):
            stop = middle
        else:
            start = middle + 1
    return words.type(stop).view(kind)
