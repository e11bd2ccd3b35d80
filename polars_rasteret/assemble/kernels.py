"""How much does each source pixel count in a resampled value, and what becomes of null pixels?

`KERNELS` is the one table of methods, for values at points and for windows. The rule of null pixels is one, too: a null pixel
takes no part, and its weight goes to the pixels that do (`share_out`). A value is null where too little takes part:

- where pixels are mixed or averaged, when the weights that remain add up to nothing; around points, whose cubic weights may
  cancel out, when they add up to `LEAST_WEIGHT` or less;
- where rows and columns are mixed one after the other by a kernel with negative weights, also when fewer than half of its pixels
  are valid side by side (as in GDAL);
- where a pixel is chosen (nearest, mode), when that pixel, or each of those to choose from, is null.

Which pixels lie around a target pixel must not be put here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.bundles import bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

LEAST_WEIGHT = 1e-6
"""Smallest total weight that gives a value at a point. Cubic weights may cancel out where most neighbours are null."""


@bundle
class Kernel:
    """One resampling method."""

    radius: int = 0
    """Source pixels around the centre that take part where target pixels are no larger than source pixels; 0: one pixel, or those
    that the target pixel covers."""
    weight: Callable[[Floats], Floats] | None = None
    """Weight of a pixel by the distance of its centre, in source pixels, of any sign; None: no kernel."""
    has_negative: bool = False
    """Whether some weights are negative."""


def reach(method: str, step: Any) -> Any:
    """Return how many source pixels around its centre a target pixel is made of.

    Parameters
    ----------
    method
        One of `KERNELS`.
    step
        Source pixels from one target pixel to the next: kernels widen where the target is coarser.
    """
    radius = KERNELS[method].radius
    return np.maximum(step, 1.0) * radius if radius else np.asarray(step) / 2


def share_out(weighted: Floats, total: Floats, is_enough: Booleans) -> Floats:
    """Return weighted sums over the weights that took part; what it is where those are not enough does not matter."""
    return weighted / np.where(is_enough, total, 1.0)


def cubic_around_point(distance: Floats) -> Floats:
    """Return the weights of the cubic kernel by distances of 0 or more.

    Like the cubic of `KERNELS`, but products are taken in another order: values at points are not rounded, so that the last bit
    of a weight shows in them.
    """
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 2, far, 0.0)
    weights[distance <= 1] = near[distance <= 1]
    return weights


def _bilinear(x: Floats) -> Floats:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: Floats) -> Floats:
    # Keys' cubic convolution with a = -0.5, as GDAL has it.
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _cubic_spline(x: Floats) -> Floats:
    x = np.abs(x)
    near, far = 2 / 3 + x * x * (0.5 * x - 1.0), np.maximum(2.0 - x, 0.0) ** 3 / 6
    return np.where(x <= 1, near, far)


def _lanczos(x: Floats) -> Floats:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


KERNELS = {
    "nearest": Kernel(),
    "bilinear": Kernel(radius=1, weight=_bilinear),
    "cubic": Kernel(radius=2, weight=_cubic, has_negative=True),
    "cubic_spline": Kernel(radius=2, weight=_cubic_spline),
    "lanczos": Kernel(radius=3, weight=_lanczos, has_negative=True),
    "average": Kernel(),
    "mode": Kernel(),
}
"""By name, as in rasterio."""
METHODS = tuple(KERNELS)
METHODS_AT_POSITIONS = tuple(name for name, one in KERNELS.items() if one.weight is not None or name == "nearest")
"""Methods that need positions of target pixels only, not their shapes."""
