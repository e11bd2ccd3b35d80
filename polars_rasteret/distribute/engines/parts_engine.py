"""What does Polars ask of an engine, and how does an engine that reads in parts answer?

A query is cut and prepared here, its missing parts go to the workers of a subclass, and parts that may pass are tried again. How
workers are reached belongs in the subclasses.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.lazyframe.query_result import SingleNodeQueryResult

from polars_rasteret.distribute.cutting.cut import PART_BYTES, cut
from polars_rasteret.distribute.cutting.polars_engines import own_engines, reads_no_pixels
from polars_rasteret.distribute.engines.progress_of_parts import progress_of_parts
from polars_rasteret.distribute.engines.stores_by_reference import plain_stores
from polars_rasteret.distribute.jobs.answer_place import check_place
from polars_rasteret.distribute.jobs.budget_shares import check_whole_budget
from polars_rasteret.distribute.jobs.job import prepare
from polars_rasteret.distribute.jobs.job_files import run_token
from polars_rasteret.distribute.jobs.one_part import note_failure
from polars_rasteret.distribute.jobs.part_results import PartFailure, error_of
from polars_rasteret.distribute.jobs.tasks import Task, WorkerSettings
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.sources.settings import priced_prefixes
from polars_rasteret.options import shared_options
from polars_rasteret.profile import record_profile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from polars.lazyframe.query_result import QueryResult

    from polars_rasteret.distribute.cutting.cut_query import CutQuery
    from polars_rasteret.distribute.jobs.job import Job
    from polars_rasteret.distribute.jobs.part_results import PartResult

_SETUP = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_HONOURED = ("compression", "compression_level", "statistics", "row_group_size", "data_page_size", "maintain_order")
"""Keywords of `polars.LazyFrame.sink_parquet` that every part is written with."""
_ANY_VALUE = ("sync_on_close", "mkdir")
"""Keywords that change nothing: parts are on the disk itself when they appear, and folders are made."""
_OPTIMIZATIONS = (
    "predicate_pushdown",
    "projection_pushdown",
    "simplify_expression",
    "slice_pushdown",
    "comm_subplan_elim",
    "comm_subexpr_elim",
    "cluster_with_columns",
    "check_order_observe",
    "fast_projection",
)


class PartsEngine(pl.Engine):
    """Base class of engines that read a query in parts; a subclass says how workers get tasks.

    Parameters
    ----------
    workers
        Number of processes that read at the same time.
    setup
        ``"module:function"``, called once in each worker before it reads; it configures stores.
    retries
        How often a part is tried again that failed by the network or a store.
    part_bytes
        Bytes that a part fetches, about.
    min_parts
        Number of parts at least, however small; None leaves it to their bytes.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        setup: str | None = None,
        retries: int = 1,
        part_bytes: int = PART_BYTES,
        min_parts: int | None = None,
    ) -> None:
        numbers = {"workers": (workers, 1), "retries": (retries, 0), "part_bytes": (part_bytes, 1)}
        numbers |= {} if min_parts is None else {"min_parts": (min_parts, 1)}
        for name, (value, least) in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is {value!r}; expected a whole number, {least} or more")
        if setup is not None and (not isinstance(setup, str) or not _SETUP.fullmatch(setup)):
            raise UsageError(f"setup is {setup!r}; expected 'module:function', which workers can import")
        self.workers, self.setup, self.retries = workers, setup, retries
        self.part_bytes, self.min_parts = part_bytes, min_parts

    @abstractmethod
    def _results(self, job: Job, tasks: Sequence[Task], /) -> Iterator[PartResult | PartFailure]:
        """Yield what becomes of each task, in any order; end what is still at work when the iterator is closed.

        Parameters
        ----------
        job
            For messages.
        tasks
            In the order in which they should be started. A worker calls ``run_task(task.text())``, whose answer is for
            `result_of_text`.
        """

    def _shares(self) -> dict[str, Any]:
        """Return the options of each worker process: its share of what this process may do at the same time."""
        options = shared_options()
        for name in ("max_concurrency", "max_bytes_in_flight"):
            options[name] = max(options[name] // self.workers, 1)
        return options

    def run_into(
        self, query: pl.LazyFrame, into: str | os.PathLike[str], parquet: Mapping[str, Any] | None = None
    ) -> None:
        """Read the parts of a query that a folder does not have yet.

        Parameters
        ----------
        query
            A query with one verb, and row-wise steps above it.
        into
            Path or URL of a folder that all workers share.
        parquet
            Options of `polars.LazyFrame.sink_parquet`.

        Raises
        ------
        UsageError
            Before anything is read: for steps that cannot be cut, a folder of another query, stores that workers must set up.
        RasteretError
            When parts failed, at the end; the class is that of the first failure.
        """
        # An engine of ours may be the default of Polars: no step in here may come back to it.
        with own_engines():
            cut_query = cut(query, part_bytes=self.part_bytes, workers=self.workers, min_parts=self.min_parts)
            settings = self._settings(cut_query)
            job = prepare(cut_query, into, parquet)
            del cut_query
            check_whole_budget(job)
            self._run(job, settings)

    def _settings(self, cut_query: CutQuery) -> WorkerSettings:
        """Return what workers of a query must know before they read."""
        prices = {prefix: (one.usd_per_gb, one.usd_per_1000_requests) for prefix, one in priced_prefixes().items()}
        stores = plain_stores(cut_query.hrefs, setup=self.setup)
        return WorkerSettings(options=self._shares(), prices=prices, stores=stores, setup=self.setup)

    def _run(self, job: Job, settings: WorkerSettings) -> None:
        token, numbers = run_token(), job.missing()
        failures: dict[int, PartFailure] = {}
        try:
            with progress_of_parts(len(job.parts), len(job.parts) - len(numbers)) as tell:
                for _ in range(1 + self.retries):
                    tasks = [
                        Task(into=job.into, digest=job.manifest.digest, number=number, token=token, settings=settings)
                        for number in numbers
                    ]
                    with contextlib.closing(self._results(job, tasks)) as results:  # type: ignore[type-var]
                        for result in results:
                            if isinstance(result, PartFailure):
                                failures[result.number] = result
                                note_failure(job, result, token)
                                if result.ends_run:
                                    raise error_of([result], job)
                                continue
                            failures.pop(result.number, None)
                            record_profile(result.told)
                            tell(int(result.told["amounts"].get("bytes", 0)))
                    numbers = [number for number, failure in sorted(failures.items()) if failure.may_pass]
                    if not numbers:
                        break
        finally:
            job.files.sweep(token)
        if failures:
            raise error_of(list(failures.values()), job)

    # What Polars asks of an engine.

    @property
    def name(self) -> str:
        """Name of the engine."""
        return type(self).__name__

    @property
    def plan_engine(self) -> str:
        """Engine that plans are shown for: the one that reads a part."""
        return "streaming"

    def __repr__(self) -> str:
        return f"{self.name}(workers={self.workers})"

    def collect(  # type: ignore[override]
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        background: bool = False,
        post_opt_callback: Any = None,
    ) -> pl.DataFrame:
        """Return the answer of a query that is read in parts; rows are in the order of the parts.

        A query that reads no pixels has no parts, and goes to Polars' own engine: this one may be the default.
        """
        self._refuse({"background": (background, False), "post_opt_callback": (post_opt_callback, None)}, "collect")
        if reads_no_pixels(lf):
            return lf.collect(engine="streaming", optimizations=optimizations)
        _refuse_optimizations(optimizations)
        with tempfile.TemporaryDirectory(prefix="polars-rasteret-", dir=self._scratch()) as folder:
            into = Path(folder, "out")
            self.run_into(lf, into)
            return pl.scan_parquet(into).collect(engine="streaming")

    def execute(self, lf: pl.LazyFrame, *, optimizations: pl.QueryOptFlags) -> QueryResult:
        """Return the answer of a query as a result of Polars, in the memory of this process."""
        return SingleNodeQueryResult(self.collect(lf, optimizations=optimizations))

    def sink_parquet(self, lf: pl.LazyFrame, path: Any, *, optimizations: pl.QueryOptFlags, **keywords: Any) -> None:
        """Write the answer of a query that is read in parts into a folder; parts that are there are not read again."""
        if not isinstance(path, str | os.PathLike):
            raise UsageError(
                f"sink_parquet into a {type(path).__name__}: {self.name} writes a folder of files; expected its path or URL"
            )
        _refuse_optimizations(optimizations)
        parquet = {name: keywords.pop(name) for name in _HONOURED if name in keywords}
        left = {name: value for name, value in keywords.items() if name not in _ANY_VALUE}
        defaults = {"credential_provider": "auto"}
        self._refuse({name: (value, defaults.get(name)) for name, value in left.items()}, "sink_parquet")
        check_place(path)
        self.run_into(lf, path, parquet)

    def _scratch(self) -> str | None:
        """Return the folder, shared with workers, in which `collect` has its parts for a while; None: that of the system."""
        return None

    def _refuse(self, keywords: Mapping[str, tuple[Any, Any]], verb: str) -> None:
        """Refuse keywords that are not what they are by default."""
        for name, (value, default) in keywords.items():
            if value is not default and value != default:
                raise UsageError(f"{verb}({name}=...) is not honoured by {self.name}; leave it out")


def _refuse_optimizations(optimizations: pl.QueryOptFlags) -> None:
    default = pl.QueryOptFlags()
    for name in _OPTIMIZATIONS:
        if getattr(optimizations, name) != getattr(default, name):
            raise UsageError(
                f"optimizations with another {name} are not honoured by an engine of parts; leave them out"
            )
