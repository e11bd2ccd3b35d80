"""pyproj crashes on threads that another library than Python made.

Polars runs Python callbacks on threads of its own and drops Python's state of the thread after each call. pyproj 3.7 ends the
PROJ context of a thread with that state, and keeps a pointer to it for the next call on the same thread.
https://github.com/pyproj4/pyproj/issues/1622 (mended by https://github.com/pyproj4/pyproj/pull/1626).

Prints ``fine``, or ends with a segmentation fault. What this package does about it: ``polars_rasteret/proj_thread.py``.
"""

from __future__ import annotations

import polars as pl
import pyproj


def with_pyproj(values: pl.Series) -> pl.Series:
    pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(9.0, 45.0)
    return values


if __name__ == "__main__":
    frame = pl.LazyFrame({"a": range(10_000)})
    for _ in range(30):
        frame.select(pl.col("a").map_batches(with_pyproj, pl.Int64, is_elementwise=True)).collect(engine="streaming")
    print("fine")
