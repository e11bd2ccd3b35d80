"""How are parts given to the workers of a cluster, of whatever kind, and given out anew when a worker dies?

A task is sent once, and the cluster is told not to repeat it: a part that failed is tried again by `PartsEngine`, and a part
whose worker died is sent again here. What is peculiar to a kind of cluster belongs in the module of its engine.
"""

from __future__ import annotations

import collections
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from polars_rasteret.distribute.cutting.cut import PART_BYTES
from polars_rasteret.distribute.engines.parts_engine import PartsEngine
from polars_rasteret.distribute.engines.supervisor import MOST_DEATHS
from polars_rasteret.distribute.jobs.part_results import PartFailure
from polars_rasteret.distribute.jobs.tasks import result_of_text
from polars_rasteret.errors import UsageError
from polars_rasteret.options import shared_options

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from polars_rasteret.distribute.jobs.job import Job
    from polars_rasteret.distribute.jobs.part_results import PartResult
    from polars_rasteret.distribute.jobs.tasks import Task

MOST_SENT = 1_000
"""Tasks that a cluster has at the same time: enough for a cluster that grows with its tasks, little in its scheduler."""


class Workers(NamedTuple):
    """How many worker processes a cluster has."""

    total: int
    on_one_machine: int
    """At most; they share what belongs to a machine."""
    machines: int


class Died(NamedTuple):
    """What became of a task whose worker ended."""

    how: str
    """Words after "the worker process"."""
    is_final: bool = False
    """Whether the cluster has tried it often enough by itself."""


class Crew(Protocol):
    """The workers of a cluster, as they are asked during one run."""

    def send(self, text: str) -> Any:
        """Send a task, and return the handle of its answer."""

    def first_done(self) -> tuple[Any, str | Died | BaseException]:
        """Wait for a task that is done; return its handle, and its answer, or what became of it."""

    def cancel(self, handles: Sequence[Any]) -> None:
        """Cancel tasks that wait, and end those that are at work, where the cluster can."""


class ClusterEngine(PartsEngine):
    """Base class of engines whose workers belong to a cluster that somebody else started.

    Parameters
    ----------
    scratch
        Folder or URL that all machines share, in which ``collect`` has its parts for a while.
    setup, retries, part_bytes, min_parts
        As in `PartsEngine`.
    """

    def __init__(
        self,
        *,
        scratch: str | os.PathLike[str] | None = None,
        setup: str | None = None,
        retries: int = 1,
        part_bytes: int = PART_BYTES,
        min_parts: int | None = None,
    ) -> None:
        super().__init__(setup=setup, retries=retries, part_bytes=part_bytes, min_parts=min_parts)
        self._scratch_folder = scratch
        self._found = Workers(1, 1, 1)

    @abstractmethod
    def _workers(self) -> Workers:
        """Return how many workers there are now."""

    @abstractmethod
    def _crew(self) -> Crew:
        """Return the workers for one run."""

    def run_into(
        self, query: pl.LazyFrame, into: str | os.PathLike[str], parquet: Mapping[str, Any] | None = None
    ) -> None:
        """Read the parts of a query that a folder does not have yet; see `PartsEngine.run_into`."""
        self._found = self._workers()
        self.workers = self._found.total
        super().run_into(query, into, parquet)

    def _shares(self) -> dict[str, Any]:
        """Return the options of each worker process: memory, cores and connections of a machine are shared by its workers."""
        options = shared_options()
        for name, least in (("max_concurrency", 1), ("max_bytes_in_flight", 1), ("cache_bytes", 0)):
            options[name] = max(options[name] // self._found.on_one_machine, least)
        return options

    def _scratch(self) -> str | None:
        if self._scratch_folder is None and self._workers().machines > 1:
            raise UsageError(
                f"collect by {self.name} of several machines needs a folder that all of them share: name it, "
                f"pr.{self.name}(..., scratch=...), or write into one, pr.run(query, into=..., engine=...)"
            )
        return None if self._scratch_folder is None else str(self._scratch_folder)

    def _results(self, job: Job, tasks: Sequence[Task]) -> Iterator[PartResult | PartFailure]:  # noqa: ARG002 - for messages
        crew = self._crew()
        waiting = collections.deque(tasks)
        sent: dict[Any, Task] = {}
        n_deaths: collections.Counter[int] = collections.Counter()
        try:
            while waiting or sent:
                while waiting and len(sent) < MOST_SENT:
                    task = waiting.popleft()
                    sent[crew.send(task.text())] = task
                handle, answer = crew.first_done()
                task = sent.pop(handle)
                if isinstance(answer, str):
                    yield result_of_text(answer)
                elif isinstance(answer, Died):
                    n_deaths[task.number] += 1
                    if answer.is_final or n_deaths[task.number] >= MOST_DEATHS:
                        how = answer.how if answer.is_final else f"{answer.how}, {MOST_DEATHS} times"
                        yield PartFailure.lost(task.number, how)
                    else:
                        waiting.appendleft(task)
                else:  # the worker did not come as far as our code, which returns errors
                    yield _unable(task, answer)
        finally:
            crew.cancel(list(sent))


def _unable(task: Task, error: BaseException) -> PartFailure:
    """Return the failure of a worker that could not begin a task."""
    failure = PartFailure.of(task.number, error, ends_run=True)
    if not isinstance(error, ImportError):
        return failure
    text = f"a worker cannot import what a part needs: {error}. Install polars-rasteret on all workers, as here."
    return PartFailure(number=task.number, kind="UsageError", text=text, ends_run=True)
