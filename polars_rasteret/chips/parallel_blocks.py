"""How are blocks of several grids read at the same time?

Each block waits for its own requests, so a batch of blocks takes as long as the slowest one, not as all of them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.cubes.blocks import read_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.cubes.blocks import Block
    from polars_rasteret.cubes.stack import Stack

_MOST_THREADS = 16


def read_whole(stacks: Sequence[Stack]) -> list[Block]:
    """Return all bands and steps of each stack, over its whole grid."""
    if len(stacks) < 2:
        return [_whole(one) for one in stacks]
    # These are threads of a caller: they plan, wait and may use Polars. Requests and decoding have threads of their own.
    threads = ThreadPoolExecutor(min(len(stacks), _MOST_THREADS), thread_name_prefix="polars-rasteret-chips")
    try:
        return list(threads.map(_whole, stacks))
    finally:
        threads.shutdown(cancel_futures=True)


def _whole(stack: Stack) -> Block:
    return read_block(stack, stack.bands, np.arange(stack.n_steps), (0, stack.grid.height, 0, stack.grid.width))
