"""How does one part of a query become one file?"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import platform
import time
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.distribute.cutting.polars_engines import own_engines
from polars_rasteret.distribute.jobs.budget_shares import of_part
from polars_rasteret.distribute.jobs.job import open_job
from polars_rasteret.distribute.jobs.job_files import run_token
from polars_rasteret.distribute.jobs.manifest import done_name, failed_name
from polars_rasteret.distribute.jobs.part_results import PartFailure, PartResult, error_of
from polars_rasteret.options import unpickled_as
from polars_rasteret.profile import profile

if TYPE_CHECKING:
    from polars_rasteret.distribute.jobs.job import Job


def run_part(into: str | os.PathLike[str], number: int) -> str:
    """Read one part of a query that ``pr.plan_parts(query, into=...)`` prepared, and write its file.

    For schedulers that start processes themselves: arrays of Slurm, Spark, Airflow. A part whose file is there is not read again;
    two copies of a part that run at the same time write one file.

    Parameters
    ----------
    into
        Folder of the answer, as it was prepared: a path that all machines share, or a URL of an object store.
    number
        Number of the part, from 0; rows of the frame that `plan_parts` returned.

    Returns
    -------
    str
        Path or URL of the file of the part.

    Raises
    ------
    UsageError
        When no query is prepared for the folder, or it has no such part.
    RasteretError
        When the part fails; the class and the text are those of the query, and the text names the part.

    Notes
    -----
    Stores and credentials belong to the process: call ``pr.configure_store`` before, or let the environment have them.
    Process-wide options (``max_concurrency``, ``max_bytes_in_flight``) are those of this process, the others those of the query;
    a budget is shared out over the parts.

    Examples
    --------
    >>> import tempfile
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})
    >>> query = pr.testing.example_scenes().raster.sample_points(plots, ["red"], crs=32632)
    >>> folder = tempfile.TemporaryDirectory()
    >>> parts = pr.plan_parts(query, into=f"{folder.name}/out")
    >>> for number in range(parts.height):
    ...     file = pr.run_part(f"{folder.name}/out", number)
    >>> pl.scan_parquet(f"{folder.name}/out").collect().height
    2
    >>> folder.cleanup()
    """
    job, token = open_job(into), run_token()
    with contextlib.suppress(TypeError):  # whole numbers of NumPy, too; all else is refused below
        number = number if isinstance(number, bool) else operator.index(number)
    job.part(number)
    try:
        with own_engines():
            read_part(job, number, token)
    except Exception as error:
        failure = PartFailure.of(number, error)
        note_failure(job, failure, token)
        raise error_of([failure], job) from error
    return job.files.part_path(number)


def read_part(job: Job, number: int, token: str) -> PartResult:
    """Read one part and write its file, if it is not there.

    Parameters
    ----------
    job, number
        The part.
    token
        Name of the run, for the names of unfinished files.

    Raises
    ------
    RasteretError
        As the query does.
    """
    started = time.perf_counter()
    was_there = job.files.has_part(number)
    with profile() as counted:
        if not was_there:
            with unpickled_as(of_part(job.parts, number)):
                query = job.query(number)
            with job.files.writing(number, token) as draft:
                # The engine is named: an engine of ours may be the default, and would cut the part again.
                query.sink_parquet(draft, engine="streaming", sync_on_close="all", **job.manifest.parquet)
    path = job.files.part_path(number)
    rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect(engine="in-memory").item()
    seconds = time.perf_counter() - started
    done = PartResult(number=number, rows=rows, seconds=seconds, was_there=was_there, told=counted.told())
    _note(job, done_name(number), done.note(_worker()), token)
    job.files.delete(failed_name(number))
    return done


def note_failure(job: Job, failure: PartFailure, token: str) -> None:
    """Write down that a part failed."""
    _note(job, failed_name(failure.number), failure.note(_worker()), token)


def _note(job: Job, name: str, note: dict[str, Any], token: str) -> None:
    job.files.write(name, json.dumps(note, indent=1).encode(), token=token)


def _worker() -> str:
    return f"{platform.node()}:{os.getpid()}"
