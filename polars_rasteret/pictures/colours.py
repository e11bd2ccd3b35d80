"""Which colours do pixel values get? Arrays only; nothing is read or drawn here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.arguments import is_number
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Limits = tuple[float, float]


def checked_limits(limits: Any) -> Limits | None:
    """Return the values that become the darkest and the brightest colour, or None for None."""
    if limits is None:
        return None
    low, high = _pair(limits)
    if not (is_number(low) and is_number(high) and low < high):
        raise UsageError(
            f"plot: limits={limits!r}; expected (low, high), the values of the darkest and the brightest colour"
        )
    return float(low), float(high)


def checked_percentiles(percentiles: Any) -> Limits:
    """Return the two percentiles between which colours are stretched."""
    low, high = _pair(percentiles)
    if not (is_number(low) and is_number(high) and 0 <= low < high <= 100):
        raise UsageError(f"plot: percentiles={percentiles!r}; expected (low, high), from 0 to 100")
    return float(low), float(high)


def stretch_limits(values: Sequence[NDArray[np.float32]], percentiles: Limits) -> Limits:
    """Return the values at two percentiles of all pixels that are not NaN; (0, 1) where there is none."""
    valid = np.concatenate([one[~np.isnan(one)] for one in values] or [np.empty(0, np.float32)])
    if not valid.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(valid, percentiles))
    # One value alone would be black; it becomes the middle of the colours.
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def rgba(values: NDArray[np.float32], limits: Sequence[Limits]) -> NDArray[np.uint8]:
    """Return three bands as an image; transparent where a band is NaN.

    Parameters
    ----------
    values
        Shape (3, height, width).
    limits
        Of each band: the values of 0 and of 255.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
    """
    is_valid = ~np.isnan(values).any(axis=0)
    low, high = (np.array(side, np.float64)[:, None, None] for side in zip(*limits, strict=True))
    share = np.clip((np.where(is_valid, values, low) - low) / (high - low), 0, 1)
    image = np.empty((*is_valid.shape, 4), np.uint8)
    image[..., :3] = np.moveaxis(np.rint(share * 255), 0, -1)
    image[..., 3] = np.where(is_valid, 255, 0)
    return image


def _pair(value: Any) -> tuple[Any, Any]:
    try:
        first, second = value
    except (TypeError, ValueError):
        return None, None
    return first, second
