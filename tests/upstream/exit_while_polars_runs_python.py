"""The process aborts when the interpreter ends while a thread of Polars runs Python.

Under ``head`` the streaming engine answers as soon as it has its rows, and leaves the thread that runs a Python source. Before
3.14, CPython ends such a thread with ``pthread_exit`` when it asks for the GIL, and that unwinds through Rust, which aborts.
https://github.com/python/cpython/issues/87135 (3.14 lets the thread hang), https://github.com/PyO3/pyo3/pull/4874.

Prints ``5``; then ends with status 0, or by SIGABRT in about seven of eight runs. What this package does about it:
``polars_rasteret/engine/interruption.py``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    from collections.abc import Iterator


def slow_source(*_: Any) -> Iterator[pl.DataFrame]:
    for at in range(1_000):
        time.sleep(0.01)
        yield pl.DataFrame({"a": [at] * 10})


if __name__ == "__main__":
    frame = register_io_source(slow_source, schema={"a": pl.Int64})
    print(frame.filter(pl.col("a") >= 0).head(5).collect(engine="streaming").height)
