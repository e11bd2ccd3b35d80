"""Which collection can examples and tests read without files and network?

Its pixels are made by a rule that its docstring says, so that answers can be checked by eye. Nothing here is random or large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.testing.cog_writer import make_cog
from polars_rasteret.testing.sources import MemorySource

if TYPE_CHECKING:
    import polars as pl


def example_scenes() -> pl.LazyFrame:
    """Return a small collection in memory: two records of two bands, for examples and first tries.

    Returns
    -------
    polars.LazyFrame
        Records ``first`` (May 2024) and ``second`` (June 2024), bands ``red`` and ``nir`` (uint16, nodata 0), 64 x 64 pixels of
        10 m in EPSG:32632 from (500000, 5000000) south-east. Red counts up from 1000 (2000 in the second), row by row; nir is
        three times red.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> pr.testing.example_scenes().select("id", "proj:code").collect().rows()
    [('first', 'EPSG:32632'), ('second', 'EPSG:32632')]
    """
    import numpy as np

    from polars_rasteret.fetch.sources.stores import configure_store
    from polars_rasteret.ingest.build_from_files import build_from_files

    red = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    files = {
        f"memory://example-scenes/{name}.tif": make_cog(np.stack([red + base, 3 * (red + base)]), nodata=0)
        for name, base in (("first", 1000), ("second", 2000))
    }
    configure_store("memory://example-scenes/", store=MemorySource(files))
    days = ["2024-05-01T10:00:00Z", "2024-06-01T10:00:00Z"]
    return build_from_files(list(files), bands=["red", "nir"], datetime=days)
