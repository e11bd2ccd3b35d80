"""What does a task carry to a worker, and what does the worker do with it?

A task names a part; rows, records and the plan are read from the job. So it is small, whatever the query is. Tasks and results
are texts. How they travel must not be put here.
"""

from __future__ import annotations

import importlib
import json
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from polars_rasteret.distribute.jobs.job import Job, open_job
from polars_rasteret.distribute.jobs.one_part import read_part
from polars_rasteret.distribute.jobs.part_results import PartFailure, PartResult, result_fields, result_of
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.sources.settings import Prices, put_prices
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.options import options

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What a worker process must know before it reads. Nothing of it is a secret."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the process, shares of the driver's."""
    prices: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Prefix to dollars per GB and per 1000 requests."""
    stores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Prefix to arguments of ``configure_store`` that are no secret."""
    setup: str | None = None
    """``"module:function"``, called once in each worker process before it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One part of a job."""

    into: str
    digest: str
    number: int
    token: str
    """Name of the run."""
    settings: WorkerSettings

    def text(self) -> str:
        """Return the task as one line of text, of some kB at most."""
        return json.dumps(asdict(self))


def result_of_text(text: str) -> PartResult | PartFailure:
    """Return what `run_task` returned as a text."""
    return result_of(json.loads(text))


def run_task(text: str) -> str:
    """Do a task in this process, and return what became of it as a text; errors are results."""
    fields = json.loads(text)
    task = Task(**{**fields, "settings": WorkerSettings(**fields["settings"])})
    return json.dumps(result_fields(_done(task)))


def _done(task: Task) -> PartResult | PartFailure:
    try:
        _set_up(task.settings)
    except UsageError as error:
        return PartFailure.of(task.number, error, ends_run=True)
    try:
        job = _job(task)
    except Exception as error:  # noqa: BLE001 - whatever it is, the driver is told
        return PartFailure.of(task.number, error)
    try:
        return read_part(job, task.number, task.token)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of Polars, too
        return PartFailure.of(task.number, error)


_lock = threading.Lock()
_jobs: dict[tuple[str, str], Job] = {}
_in_force: WorkerSettings | None = None
_layer: options | None = None
_set_up_by: set[str] = set()


def _job(task: Task) -> Job:
    """Return the job of a task; that of the last run is kept, with its plan and records."""
    key = (task.into, task.token)  # the next run of the same query may have other options
    with _lock:
        if key not in _jobs:
            job = open_job(task.into)
            if job.manifest.digest != task.digest:
                raise UsageError(
                    f"{task.into} holds another query by now: its digest is {job.manifest.digest[:12]}, that of the task "
                    f"{task.digest[:12]}"
                )
            _jobs.clear()
            _jobs[key] = job
        return _jobs[key]


def _set_up(settings: WorkerSettings) -> None:
    """Set options and prices of this process, and call the function that sets up its stores, once.

    Raises
    ------
    UsageError
        When that function cannot be found, or fails.
    """
    global _in_force, _layer  # noqa: PLW0603 - settings of the process
    with _lock:
        if settings == _in_force:
            return
        put_prices({prefix: Prices(*prices) for prefix, prices in settings.prices.items()})
        for prefix, arguments in settings.stores.items():
            prices = settings.prices.get(prefix, (None, None))
            configure_store(prefix, **arguments, usd_per_gb=prices[0], usd_per_1000_requests=prices[1])
        if settings.setup is not None and settings.setup not in _set_up_by:
            call_setup(settings.setup)
            _set_up_by.add(settings.setup)
        if _layer is not None:
            _layer.__exit__(None, None, None)
        _layer = options(**settings.options)
        _in_force = settings


def call_setup(setup: str) -> None:
    """Import and call a function that is given as ``"module:function"``.

    Raises
    ------
    UsageError
        When it cannot be found, or fails. The text of its own error is not repeated: it may hold a key.
    """
    module, _, name = setup.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for one in name.split("."):
            found = getattr(found, one)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"setup={setup!r} could not be imported in a worker: {type(error).__name__}: {error}. It must be importable there: a "
            "module beside the script, or of an installed package."
        ) from error
    try:
        found()
    except Exception as error:  # noqa: BLE001 - code of the caller
        raise UsageError(
            f"setup={setup!r} raised {type(error).__name__} in a worker; call it by itself to see why"
        ) from None
