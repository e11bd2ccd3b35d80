"""What are the pixels of a cube in a block: some bands, some steps, and a window of the common grid?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.cubes.layers import raw_or_unscaled, read_layers
from polars_rasteret.pixels.reading import add_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.cubes.stack import Stack

Window = tuple[int, int, int, int]
"""``row_start, row_stop, col_start, col_stop`` on the common grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Pixels of some bands."""

    values: dict[str, NDArray[Any]]
    """By band, in `Stack.dtype`; shape (n_steps, height, width). `Stack.fill` where nothing is valid."""
    valid: dict[str, NDArray[np.bool_]]
    """By band, like `values`: which pixels a record fills."""
    errors: dict[int, str] = field(default_factory=dict)
    """With ``on_error="null"``, the reasons of failed reads by record of the stack. Other records fill these pixels."""


def read_block(stack: Stack, bands: Sequence[str], steps: Sequence[int] | NDArray[np.int64], window: Window) -> Block:
    """Read a block of a cube.

    Parameters
    ----------
    stack
        The stack.
    bands
        Some of its bands.
    steps
        Time steps, in any order.
    window
        ``row_start, row_stop, col_start, col_stop`` on the common grid.
    """
    images = stack.images
    row_start, row_stop, col_start, col_stop = window
    shape = (len(steps), row_stop - row_start, col_stop - col_start)
    values = {name: np.full(shape, stack.fill(name), stack.dtype(name)) for name in bands}
    valid = {name: np.zeros(shape, np.bool_) for name in bands}
    errors: dict[int, str] = {}
    for at, step in enumerate(np.asarray(steps).tolist()):
        records = np.arange(len(stack.step))[stack.records_of(step)]
        rows = records, np.tile(np.array(window, np.int64), (len(records), 1))
        layers, reasons = read_layers(
            stack, images, rows, {name: np.ones(len(records), np.bool_) for name in bands}, stack.options.begun()
        )
        for row, reason in reasons.items():
            add_reason(errors, int(records[row]), reason)
        for name in bands:
            for row, record in enumerate(records.tolist()):
                if (pixels := layers[name].row(row)) is None:
                    continue
                found = pixels[1].reshape(shape[1:]) & ~valid[name][at]
                read = raw_or_unscaled(stack, images, name, record, pixels[0]).reshape(shape[1:])
                values[name][at][found] = read[found]
                valid[name][at] |= found
    return Block(values=values, valid=valid, errors=errors)
