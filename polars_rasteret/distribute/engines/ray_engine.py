"""How is a query read by the workers of a Ray cluster?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.distribute.cutting.cut import PART_BYTES
from polars_rasteret.distribute.engines.cluster_engine import ClusterEngine, Died, Workers
from polars_rasteret.distribute.jobs.tasks import run_task
from polars_rasteret.errors import UsageError, missing_extra

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

_END_S = 2.0
"""How long Ctrl-C waits for tasks to be taken back."""


class RayEngine(ClusterEngine):
    """Engine that reads a query in parts, by tasks of Ray.

    For ``query.sink_parquet("out/", engine=...)``, ``query.collect(engine=...)`` and ``pr.run``. Parts appear whole, beside a
    manifest in ``out.job``; the same call again reads only parts that are missing. A part whose worker died is sent again, and no
    other. Ctrl-C takes back all tasks, and ends those that are at work. Needs ``pip install "polars-rasteret[ray]"``, here and on
    all machines.

    Parameters
    ----------
    address
        Address of the cluster, for ``ray.init``. It counts only if Ray has not been initialised in this process; None takes the
        cluster that ``RAY_ADDRESS`` names, or starts one on this machine.
    num_cpus
        CPUs that a task reserves. None: all of a machine, so that each machine has one worker, which uses all of its cores.
    scratch
        Folder or URL that all machines share, in which ``collect`` has its parts for a while. One machine needs none.
    setup
        ``"module:function"``: a function that workers import and call once, before they read. It configures stores: what
        ``pr.configure_store`` was told here of keys, tokens, clients and store objects is never sent.
    retries
        How often a part is tried again that failed by the network or a store, after all others. Ray repeats none by itself.
    part_bytes
        Bytes that a part fetches, about.
    min_parts
        Number of parts at least, however small; None leaves it to their bytes.

    Raises
    ------
    UsageError
        When Ray is not installed, or no machine has so many CPUs.

    Notes
    -----
    The folder of the answer must be one that all machines share: a URL of an object store, or a shared disk. Options of the
    query travel with it, and prices. Of ``max_concurrency``, ``max_bytes_in_flight`` and ``cache_bytes`` the workers of one
    machine have equal shares. A budget is shared out over the parts, so it holds in total. The environment of workers
    (packages, variables) is that of Ray: ``ray.init(runtime_env=...)``.

    Subclass of `polars.Engine`, which Polars calls unstable; ``pr.run`` is the stable form.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"lon": [22.15147], "lat": [45.20292]})
    >>> query = pr.build_from_files(pr.example_data()).raster.sample_points(plots, ["red"], crs=4326)
    >>> engine = pr.RayEngine("ray://head:10001", setup="my_stores:configure")
    >>> pr.run(query, into="s3://bucket/out", engine=engine)  # doctest: +SKIP
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        num_cpus: float | None = None,
        scratch: str | os.PathLike[str] | None = None,
        setup: str | None = None,
        retries: int = 1,
        part_bytes: int = PART_BYTES,
        min_parts: int | None = None,
    ) -> None:
        super().__init__(scratch=scratch, setup=setup, retries=retries, part_bytes=part_bytes, min_parts=min_parts)
        if num_cpus is not None and not (isinstance(num_cpus, int | float) and num_cpus > 0):
            raise UsageError(f"num_cpus is {num_cpus!r}; expected a number above 0, or None for all CPUs of a machine")
        self.address, self.num_cpus = address, num_cpus

    def __repr__(self) -> str:
        return f"{self.name}(address={self.address!r}, num_cpus={self.num_cpus!r})"

    def _workers(self) -> Workers:
        return _workers(self._machines(), self.num_cpus)

    def _crew(self) -> _Tasks:
        cpus = self.num_cpus if self.num_cpus is not None else min(self._machines())
        return _Tasks(cpus)

    def _machines(self) -> list[float]:
        """Return the CPUs of each machine of the cluster that has some."""
        ray = _ray()
        if not ray.is_initialized():
            ray.init(address=self.address)
        machines = [one["Resources"].get("CPU", 0.0) for one in ray.nodes() if one["Alive"]]
        if not any(machines):
            raise UsageError("no machine of the Ray cluster has a CPU; wait until one has joined it")
        return [cpus for cpus in machines if cpus > 0]


def _workers(machines: Sequence[float], num_cpus: float | None) -> Workers:
    """Return how many tasks that reserve so many CPUs run at the same time.

    Raises
    ------
    UsageError
        When no machine has so many: Ray would wait for one for ever.
    """
    each = min(machines) if num_cpus is None else num_cpus
    at_once = [int(cpus // each) for cpus in machines]
    if not any(at_once):
        raise UsageError(
            f"num_cpus is {num_cpus!r}, and the largest machine of the Ray cluster has {max(machines):g}; expected at most that"
        )
    return Workers(sum(at_once), max(at_once), len(machines))


class _Tasks:
    """Tasks of Ray during one run."""

    def __init__(self, num_cpus: float) -> None:
        self._ray = _ray()
        # Whatever fails is tried again by this package, which knows why it failed.
        self._run = self._ray.remote(num_cpus=num_cpus, max_retries=0, max_calls=0)(run_task)
        self._sent: dict[Any, None] = {}

    def send(self, text: str) -> Any:
        handle = self._run.remote(text)
        self._sent[handle] = None
        return handle

    def first_done(self) -> tuple[Any, str | Died | BaseException]:
        (handle,), _ = self._ray.wait(list(self._sent), num_returns=1)
        del self._sent[handle]
        errors = self._ray.exceptions
        lost = (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        )
        try:
            return handle, self._ray.get(handle)
        except lost as error:
            return handle, Died(f"ended ({type(error).__name__} of Ray)")
        except errors.RayTaskError as error:
            return handle, error.cause
        except errors.RayError as error:
            return handle, error

    def cancel(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            self._ray.cancel(handle, force=True)
        if handles:
            self._ray.wait(list(handles), num_returns=len(handles), timeout=_END_S)


def _ray() -> Any:
    """Return the module of Ray.

    Raises
    ------
    UsageError
        When it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise missing_extra("RayEngine", "Ray", "ray") from error
    return ray
