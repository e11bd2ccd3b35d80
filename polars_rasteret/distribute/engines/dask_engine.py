"""How is a query read by the workers of a Dask cluster?"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from polars_rasteret.distribute.cutting.cut import PART_BYTES
from polars_rasteret.distribute.engines.cluster_engine import ClusterEngine, Died, Workers
from polars_rasteret.distribute.jobs.tasks import run_task
from polars_rasteret.errors import RasteretError, UsageError, missing_extra

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence


class DaskEngine(ClusterEngine):
    """Engine that reads a query in parts, by the workers of a Dask cluster.

    For ``query.sink_parquet("out/", engine=...)``, ``query.collect(engine=...)`` and ``pr.run``. Parts appear whole, beside a
    manifest in ``out.job``; the same call again reads only parts that are missing. A part whose worker died is read by another
    one. Ctrl-C takes back all tasks that wait; a part that is at work is read to its end, since threads cannot be ended.
    Needs ``pip install "polars-rasteret[dask]"``, here and on all machines.

    Parameters
    ----------
    client
        A ``dask.distributed.Client``. Start one worker per machine, with one thread (``dask worker --nworkers 1 --nthreads 1``):
        a process uses all cores already.
    scratch
        Folder or URL that all machines share, in which ``collect`` has its parts for a while. One machine needs none.
    setup
        ``"module:function"``: a function that workers import and call once, before they read. It configures stores: what
        ``pr.configure_store`` was told here of keys, tokens, clients and store objects is never sent.
    retries
        How often a part is tried again that failed by the network or a store, after all others. Dask repeats only parts whose
        worker died, as often as its ``distributed.scheduler.allowed-failures`` says.
    part_bytes
        Bytes that a part fetches, about.
    min_parts
        Number of parts at least, however small; None leaves it to their bytes.

    Raises
    ------
    UsageError
        When ``distributed`` is not installed, or `client` is no client that is connected.

    Notes
    -----
    The folder of the answer must be one that all machines share: a URL of an object store, or a shared disk. Options of the
    query travel with it, and prices. Of ``max_concurrency``, ``max_bytes_in_flight`` and ``cache_bytes`` the workers of one
    machine have equal shares. A budget is shared out over the parts, so it holds in total.

    Subclass of `polars.Engine`, which Polars calls unstable; ``pr.run`` is the stable form.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"lon": [22.15147], "lat": [45.20292]})
    >>> query = pr.build_from_files(pr.example_data()).raster.sample_points(plots, ["red"], crs=4326)
    >>> from dask.distributed import Client  # doctest: +SKIP
    >>> engine = pr.DaskEngine(Client("scheduler:8786"))  # doctest: +SKIP
    >>> pr.run(query, into="s3://bucket/out", engine=engine)  # doctest: +SKIP
    """

    def __init__(
        self,
        client: Any,
        *,
        scratch: str | os.PathLike[str] | None = None,
        setup: str | None = None,
        retries: int = 1,
        part_bytes: int = PART_BYTES,
        min_parts: int | None = None,
    ) -> None:
        super().__init__(scratch=scratch, setup=setup, retries=retries, part_bytes=part_bytes, min_parts=min_parts)
        distributed = _distributed()
        if not isinstance(client, distributed.Client) or client.asynchronous:
            raise UsageError(f"client is {client!r}; expected a dask.distributed.Client that is not asynchronous")
        self.client = client

    def __repr__(self) -> str:
        return f"{self.name}({self.client!r})"

    def _workers(self) -> Workers:
        if self.client.status != "running":
            raise UsageError(f"the Dask client is {self.client.status}; connect a new one")
        known = self.client.scheduler_info(n_workers=-1)["workers"].values()
        machines = collections.Counter(one["host"] for one in known)
        # A cluster that grows with its tasks may have none yet.
        return Workers(max(machines.total(), 1), max(machines.values(), default=1), max(len(machines), 1))

    def _crew(self) -> _Futures:
        return _Futures(self.client)


class _Futures:
    """Futures of Dask during one run."""

    def __init__(self, client: Any) -> None:
        self._client, self._distributed = client, _distributed()
        self._done = self._distributed.as_completed(loop=client.loop)

    def send(self, text: str) -> Any:
        # Whatever fails is tried again by this package, which knows why it failed.
        future = self._client.submit(run_task, text, pure=False, retries=0)
        self._done.add(future)
        return future

    def first_done(self) -> tuple[Any, str | Died | BaseException]:
        future = next(self._done)
        if future.status == "finished":
            return future, future.result()
        error = future.exception() if future.status == "error" else _cancelled(future)
        if isinstance(error, self._distributed.KilledWorker):
            return future, Died("died, or was killed", is_final=True)
        return future, error

    def cancel(self, handles: Sequence[Any]) -> None:
        self._client.cancel(list(handles), force=True)


def _cancelled(future: Any) -> BaseException:
    return RasteretError(
        f"the task {future.key} was {future.status} by somebody else, or the connection to Dask is lost"
    )


def _distributed() -> Any:
    """Return the module ``distributed``.

    Raises
    ------
    UsageError
        When it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise missing_extra("DaskEngine", "distributed", "dask") from error
    return distributed
