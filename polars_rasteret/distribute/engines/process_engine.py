"""How is a query read by processes of this machine?"""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from polars_rasteret.distribute.cutting.cut import PART_BYTES
from polars_rasteret.distribute.engines.parts_engine import PartsEngine
from polars_rasteret.distribute.engines.supervisor import Supervisor
from polars_rasteret.distribute.jobs.part_results import PartFailure
from polars_rasteret.distribute.jobs.tasks import result_of_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from polars_rasteret.distribute.jobs.job import Job
    from polars_rasteret.distribute.jobs.part_results import PartResult
    from polars_rasteret.distribute.jobs.tasks import Task


class ProcessEngine(PartsEngine):
    """Engine that reads a query in parts, by worker processes of this machine.

    For ``query.sink_parquet("out/", engine=...)``, ``query.collect(engine=...)`` and ``pr.run``. Parts appear whole, beside a
    manifest in ``out.job``; the same call again reads only parts that are missing. A worker that is killed loses its part alone,
    which another one reads. Ctrl-C ends all workers.

    Parameters
    ----------
    workers
        Number of worker processes. One process uses several cores already: two to four are enough for most machines.
    setup
        ``"module:function"``: a function that workers import and call once, before they read. It configures stores: what
        ``pr.configure_store`` was told here of keys, tokens, clients and store objects is never sent.
    retries
        How often a part is tried again that failed by the network or a store, after all others.
    part_bytes
        Bytes that a part fetches, about.
    min_parts
        Number of parts at least, however small; None leaves it to their bytes.

    Notes
    -----
    Options of the query travel with it, and prices. Of ``max_concurrency``, ``max_bytes_in_flight`` and ``cache_bytes`` each
    worker has its share. A budget is shared out over the parts, so it holds in total; ``query_timeout_s`` counts for each part.
    Workers start anew (spawn) without the main module of your program, so scripts need no ``if __name__ == "__main__"``;
    functions of your script that the query uses travel along. In a ``with`` block workers stay for several queries. Queries that
    several threads run on one engine take turns.

    Subclass of `polars.Engine`, which Polars calls unstable; ``pr.run`` is the stable form.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"lon": [22.15147], "lat": [45.20292]})
    >>> query = pr.build_from_files(pr.example_data()).raster.sample_points(plots, ["red"], crs=4326)
    >>> query.sink_parquet("out/", engine=pr.ProcessEngine(workers=2))  # doctest: +SKIP
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
        super().__init__(workers=workers, setup=setup, retries=retries, part_bytes=part_bytes, min_parts=min_parts)
        self._supervisor = Supervisor(workers)
        self._stays, self._turn = False, threading.Lock()
        self.close = weakref.finalize(self, self._supervisor.close)
        """End the workers."""

    def __enter__(self) -> Self:
        self._stays = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stays = False
        self._supervisor.close()

    def _shares(self) -> dict[str, Any]:
        options = super()._shares()
        return {**options, "cache_bytes": options["cache_bytes"] // self.workers}

    def _results(self, _job: Job, tasks: Sequence[Task], /) -> Iterator[PartResult | PartFailure]:
        texts = [partial(task.__class__.text, task) for task in tasks]
        with self._turn:
            try:
                for at, answer, how in self._supervisor.results(texts):
                    yield PartFailure.lost(tasks[at].number, how) if answer is None else result_of_text(answer)
            finally:
                if not self._stays:
                    self._supervisor.close()
