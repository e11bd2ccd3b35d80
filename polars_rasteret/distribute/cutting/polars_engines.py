"""How do the steps of this package go to Polars' own engines, where an engine that reads in parts is Polars' default?"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.frame.query.plan_objects import RecordsSource, numbered_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_n_blocks = 0
_config: pl.Config | None = None


@contextmanager
def own_engines() -> Iterator[None]:
    """Make an engine of Polars' own the default in this block.

    The default belongs to the process. So of blocks that several threads are in, the first one changes it, and the last one to
    end puts it back.
    """
    global _n_blocks, _config  # noqa: PLW0603 - the default belongs to the process
    with _lock:
        if not _n_blocks:
            _config = pl.Config(engine_affinity="auto").__enter__()
        _n_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _n_blocks -= 1
            if not _n_blocks and _config is not None:
                _config.__exit__(None, None, None)


def reads_no_pixels(lf: pl.LazyFrame) -> bool:
    """Return whether a query holds nothing of this package but records; False where Polars cannot serialize it."""
    with numbered_objects() as found:
        try:
            lf.serialize()
        except (pl.exceptions.PolarsError, TypeError, ValueError, AttributeError):
            return False
    return all(isinstance(one, RecordsSource) for one in found)
