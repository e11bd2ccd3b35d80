"""What is one layer of pixels that several records have?

Only valid pixels count. Arrays in, arrays out: nothing is read here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Layer = tuple[NDArray[Any], NDArray[np.bool_]]
    """Values and valid mask of one record, of one shape for all records."""


def mosaic_of(layers: Sequence[Layer], mosaic: str) -> Layer:
    """Return the mosaic of at least one layer, and where it has a value.

    Parameters
    ----------
    layers
        Layers in the order of the mosaic.
    mosaic
        ``"min"`` or ``"max"``, in the dtype of the layers; ``"mean"`` or ``"median"``, Float64; ``"count"``, UInt32, which has a
        value everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> layers = [(np.array([1, 9]), np.array([True, False])), (np.array([4, 9]), np.array([True, False]))]
    >>> mosaic_of(layers, "mean")
    (array([2.5, nan]), array([ True, False]))
    """
    if mosaic == "median":
        return _median(layers)
    if mosaic in {"min", "max"}:
        return _extreme(layers, np.minimum if mosaic == "min" else np.maximum)
    count = np.zeros(layers[0][0].shape, np.uint32)
    for _, valid in layers:
        count += valid
    if mosaic == "count":
        return count, np.ones(count.shape, np.bool_)
    total = np.zeros(count.shape)
    for values, valid in layers:
        np.add(total, values, out=total, where=valid)
    with np.errstate(invalid="ignore"):
        return total / count, count > 0


def _extreme(layers: Sequence[Layer], extreme: np.ufunc) -> Layer:
    values, valid = layers[0][0].copy(), layers[0][1].copy()
    for more, is_valid in layers[1:]:
        extreme(values, more, out=values, where=valid & is_valid)
        np.copyto(values, more, where=~valid & is_valid)
        valid |= is_valid
    return values, valid


def _median(layers: Sequence[Layer]) -> Layer:
    stacked = np.empty((len(layers), *layers[0][0].shape))
    count = np.zeros(stacked.shape[1:], np.int64)
    for at, (values, valid) in enumerate(layers):
        stacked[at] = np.where(valid, values, np.inf)
        count += valid
    stacked.sort(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    # With one layer, or none valid, both are the first.
    high = np.minimum(np.where(count % 2 == 1, low, high), len(layers) - 1)
    pair = [np.take_along_axis(stacked, one[None], axis=0)[0] for one in (low, high)]
    with np.errstate(invalid="ignore"):
        return np.where(count % 2 == 1, pair[0], (pair[0] + pair[1]) / 2), count > 0
