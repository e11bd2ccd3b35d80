"""How is a query read in parts, into a folder, by whatever engine?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.distribute.engines.parts_engine import PartsEngine
from polars_rasteret.distribute.engines.this_process import ThisProcess
from polars_rasteret.distribute.jobs.answer_place import check_place
from polars_rasteret.distribute.jobs.job_files import job_files
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    import os


def run(query: pl.LazyFrame, *, into: str | os.PathLike[str], engine: PartsEngine | None = None) -> pl.LazyFrame:
    """Read a query in parts into a folder of Parquet files, and return the scan of that folder.

    The query is cut so that no tile is fetched twice. Parts that the folder has already are not read again, so a call that was
    interrupted goes on where it was, with the options that the query has now.

    Parameters
    ----------
    query
        A query with one verb, and steps above it that look at each row by itself.
    into
        Path or URL of a folder that all workers share. What is known of the run lies beside it, in ``<into>.job``.
    engine
        `ProcessEngine`, `RayEngine` or `DaskEngine`. None: this process reads the parts, one after another.

    Returns
    -------
    polars.LazyFrame
        ``pl.scan_parquet(into)``; rows are in the order of the parts.

    Raises
    ------
    UsageError
        Before anything is read: for a step that cannot be cut, and a folder that holds something else.
    RasteretError
        When parts failed; they are listed in ``<into>.job/failed``. The class is that of the first failure (``FetchError``, ...).

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"plot": [1, 2], "x": [500_005.0, 500_015.0], "y": [4_999_995.0, 4_999_995.0]})
    >>> query = pr.testing.example_scenes().raster.sample_points(plots, ["red"], crs=32632)
    >>> folder = tempfile.TemporaryDirectory()
    >>> out = pr.run(query, into=f"{folder.name}/out")
    >>> out.group_by("plot").agg(pl.col("red").mean()).collect().height
    2
    >>> folder.cleanup()
    """
    if engine is not None and not isinstance(engine, PartsEngine):
        raise UsageError(
            f"engine is {engine!r}; expected pr.ProcessEngine(...), pr.RayEngine(...), pr.DaskEngine(...), or None for this "
            "process"
        )
    check_place(into)  # a wrong one is told before a long plan is made
    (ThisProcess() if engine is None else engine).run_into(query, into)
    return pl.scan_parquet(job_files(into).into + "/")
