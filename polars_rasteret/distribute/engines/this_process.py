"""How are parts read in this process, one after another?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.distribute.engines.parts_engine import PartsEngine
from polars_rasteret.distribute.jobs.one_part import read_part
from polars_rasteret.distribute.jobs.part_results import PartFailure
from polars_rasteret.distribute.jobs.tasks import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from polars_rasteret.distribute.cutting.cut_query import CutQuery
    from polars_rasteret.distribute.jobs.job import Job
    from polars_rasteret.distribute.jobs.part_results import PartResult
    from polars_rasteret.distribute.jobs.tasks import Task


class ThisProcess(PartsEngine):
    """Reads parts in this process, which uses its cores already; what is configured here counts."""

    def __init__(self, **words: Any) -> None:
        super().__init__(workers=1, **words)

    def _settings(self, cut_query: CutQuery) -> WorkerSettings:  # noqa: ARG002 - this process knows all
        return WorkerSettings()

    def _results(self, job: Job, tasks: Sequence[Task], /) -> Iterator[PartResult | PartFailure]:
        for task in tasks:
            try:
                done = read_part(job, task.number, task.token)
            except Exception as error:  # noqa: BLE001 - listed, and raised at the end as what it is
                yield PartFailure.of(task.number, error)
            else:
                # Profiles that are open here counted it as it was read.
                yield type(done)(number=done.number, rows=done.rows, seconds=done.seconds, was_there=done.was_there)
