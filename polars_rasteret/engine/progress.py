"""How is the progress of reads shown?

One bar serves all reads that run at the same time, because Polars may cut a query into several reads. The threads that wait for
pixels update the bar.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_lock = threading.Lock()
_bar: Any = None
_n_open = 0
_n_bytes = 0


@contextmanager
def progress_bar(n_tiles: int) -> Iterator[Callable[[int, int], None]]:
    """Yield ``tell(more_tiles, more_bytes)``, by which a read moves the bar."""
    _open(n_tiles)
    try:
        yield _tell
    finally:
        _close()


def _open(n_tiles: int) -> None:
    global _bar, _n_open, _n_bytes  # noqa: PLW0603 - one bar per process
    from tqdm.auto import tqdm

    with _lock:
        if _bar is None:
            _bar, _n_bytes = tqdm(total=0, unit="tile", desc="read"), 0
        _n_open += 1
        _bar.total += n_tiles
        _bar.refresh()


def _tell(n_tiles: int, n_bytes: int) -> None:
    global _n_bytes  # noqa: PLW0603
    with _lock:
        _n_bytes += n_bytes
        _bar.set_postfix_str(f"{_n_bytes / 1e6:,.1f} MB", refresh=False)
        _bar.update(n_tiles)


def _close() -> None:
    global _bar, _n_open  # noqa: PLW0603
    with _lock:
        _n_open -= 1
        if not _n_open:
            _bar.close()
            _bar = None
