"""How are modules imported without Python looking for garbage meanwhile?

Objects of modules stay. Python still looks for garbage among them, after each few hundred and, some ten thousand later, among all
objects of the process. In the first query of a process that was a fifth of the time. So the imports of a query run in a block
without these looks; the one that follows the block sees all of them. Nothing but imports belongs in such a block.
"""

from __future__ import annotations

import gc
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_n_blocks = 0
_is_to_enable = False
"""Whether the last block to end enables the collector, which was enabled when the first began."""


@contextmanager
def loading() -> Iterator[None]:
    """Import modules in this block; no garbage is collected meanwhile, on any thread.

    A collector that the caller has disabled stays so.
    """
    global _n_blocks, _is_to_enable  # noqa: PLW0603 - the collector is one for the process
    with _lock:
        if not _n_blocks:
            _is_to_enable = gc.isenabled()
            gc.disable()
        _n_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _n_blocks -= 1
            if not _n_blocks and _is_to_enable:
                gc.enable()


def _start_over() -> None:
    """End the blocks of other threads in a forked child, where these threads are gone."""
    global _lock, _n_blocks
    if _n_blocks and _is_to_enable:
        gc.enable()
    _lock, _n_blocks = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)
