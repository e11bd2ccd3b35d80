"""What will a query read, before it reads anything?

A copy of the query is run. Its reads are planned and logged, but not made. `Estimate` has the cost of all reads together, and
how certain that cost is.
"""

from __future__ import annotations

import io
import itertools
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from polars_rasteret.display import Facts
from polars_rasteret.engine import DryRunLog, decoding_s, open_dry_run_log
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.fetch.sources.settings import priced_origin, prices_for
from polars_rasteret.frame.estimate.dependence import Dependence, dependence
from polars_rasteret.hrefs import shown
from polars_rasteret.options import DryRun, pickled_dry, process_options
from polars_rasteret.plan.cost import (
    BYTES_PER_S,
    HEADER_BYTES,
    LATENCY_S,
    LOCAL_BYTES_PER_S,
    LOCAL_LATENCY_S,
    FileCosts,
    HostLoad,
    expected_seconds,
    file_costs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray

Bound = Literal["exact", "upper", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Estimate(Facts):
    """Cost of the reads of a query with an empty cache; prints as a table and renders as HTML in a notebook."""

    records: int
    """Number of records whose pixels are read. A file that only expressions read, by itself, counts as a record."""
    images: int
    """Number of bands and overviews whose tiles are read."""
    tiles: int
    """Number of distinct tiles."""
    requests: int
    """Number of requests. For expressions it varies a little with the batches that Polars cuts."""
    bytes: int
    """Bytes that are fetched, with the gaps between tiles that share a request."""
    decoded_bytes: int
    """Bytes of the tiles once decompressed."""
    seconds: float
    """Guess of the time for planning (as measured here), waiting, transfer and decoding. Latency and rate of a host are those
    that this process has measured; without a measurement 80 ms and 60 MB/s (files on this machine: 0.2 ms and 1 GB/s)."""
    cost_usd: float | None
    """Price in dollars; None when a price is not known (``pr.configure_store(prefix, usd_per_gb=, usd_per_1000_requests=)``)."""
    bound: Bound
    """``"exact"``: tiles and bytes are exactly those that are read. ``"upper"``: not more is read. ``"unknown"``: pixel values
    decide what a later read reads; that read was counted only for the rows that null pixels choose. ``"unknown"``, too, where a
    header must be read first (collections of rasteret, at the first read of a file): a request of 32 kB is counted for it."""
    by_host: pl.DataFrame
    """Costs per host: ``host``, ``tiles``, ``requests``, ``bytes``, ``decoded_bytes``, ``cost_usd``; the most bytes first."""
    by_record: pl.DataFrame
    """Costs per record: ``record_id`` (null when no verb knows the record), ``href`` (of its first file), ``images``, ``tiles``,
    ``requests``, ``bytes``, ``decoded_bytes``; the most bytes first."""

    @property
    def table(self) -> pl.DataFrame:
        """One row per fact: ``what``, ``value``."""
        facts = {
            "records": f"{self.records:,}",
            "images": f"{self.images:,}",
            "tiles": f"{self.tiles:,}",
            "requests": f"{self.requests:,}",
            "bytes": f"{self.bytes:,}",
            "decoded bytes": f"{self.decoded_bytes:,}",
            "seconds": f"{self.seconds:.2g}",
            "cost": "not known" if self.cost_usd is None else f"{self.cost_usd:.6f} USD",
            "bound": self.bound,
        }
        return pl.DataFrame({"what": list(facts), "value": list(facts.values())})


def estimate(query: pl.LazyFrame | xarray.Dataset) -> Estimate:
    """Return the cost of a query's reads, without reading a pixel.

    The query is run without its reads: tables are scanned, filters and joins are done, and pixel values are null. So your own
    functions in the query are called with nulls.

    Parameters
    ----------
    query
        A query that ends in rows; not in a sink, which would write. Or a Dataset of ``to_xarray``, whole or what is left of it
        after ``sel``: the cost of loading what is not in memory yet.

    Returns
    -------
    Estimate
        Cost with an empty cache.

    Raises
    ------
    UsageError
        When the query ends in a sink, or cannot be copied because something in it cannot be pickled.

    Examples
    --------
    >>> import polars as pl
    >>> import polars_rasteret as pr
    >>> plots = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})
    >>> query = pr.testing.example_scenes().raster.sample_points(plots, ["red"], crs=32632)
    >>> cost = pr.estimate(query)
    >>> cost.records, cost.tiles, cost.bound
    (2, 2, 'exact')
    """
    if not isinstance(query, pl.LazyFrame):
        if hasattr(query, "data_vars"):
            return _estimate_of_dataset(query)
        raise UsageError(
            f"estimate takes a LazyFrame or an xarray.Dataset, got a {type(query).__name__}; a DataFrame has been read already, "
            "so write .lazy() before the read"
        )
    process.check()
    depends = dependence(query)
    if depends.writes:
        raise UsageError("estimate: the query ends in a sink, which would write; pass the query without the sink")
    if depends.is_packed:
        raise UsageError(
            "estimate: the query was deserialized with raster expressions in it, which would read; estimate it where it is "
            "written, before LazyFrame.serialize"
        )
    with open_dry_run_log() as (name, log):
        numbers = itertools.count()
        with pickled_dry(lambda: DryRun(log=name, read=next(numbers))):
            copy = pl.LazyFrame.deserialize(io.BytesIO(query.serialize()))
        with log.timed():
            if depends.may_end_early:
                # The in-memory engine reads everything; the streaming engine stops when it has its rows.
                copy.collect(
                    engine="in-memory", optimizations=pl.QueryOptFlags(slice_pushdown=not depends.shares_steps)
                )
            else:
                # An answer without pixels may be as large as one with pixels. An engine of parts may be Polars' default.
                copy.sink_batches(_forget, engine="streaming")
        cache_bytes = process_options().cache_bytes
        per_file = file_costs(log.reads, len(log.hrefs), cache_bytes=cache_bytes, is_upper=log.is_upper)
        return _estimate(log, per_file, depends)


def _estimate_of_dataset(dataset: xarray.Dataset) -> Estimate:
    """Return the cost of loading what a Dataset does not have in memory; each variable of a copy is asked for its values."""
    process.check()
    with open_dry_run_log() as (name, log):
        numbers = itertools.count()
        with pickled_dry(lambda: DryRun(log=name, read=next(numbers))):
            copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - pickled the line before
        with log.timed():
            for variable in copy.variables.values():
                _ = variable.values
        per_file = file_costs(
            log.reads, len(log.hrefs), cache_bytes=process_options().cache_bytes, is_upper=log.is_upper
        )
        return _estimate(log, per_file, Dependence(reads=True))


def _forget(_: pl.DataFrame) -> None:
    pass


def _estimate(log: DryRunLog, per_file: FileCosts, depends: Dependence) -> Estimate:
    files = _files(log, per_file)
    by_host = (
        files.group_by("host", maintain_order=True)
        .agg(
            pl.col("tiles", "requests", "bytes", "decoded_bytes").sum(),
            cost_usd=pl.when(pl.col("cost_usd").is_not_null().all()).then(pl.col("cost_usd").sum()),
        )
        .sort("bytes", descending=True, maintain_order=True)
    )
    by_record = (
        files.group_by("record", maintain_order=True)
        .agg(pl.col("record_id", "href").first(), pl.col("images", "tiles", "requests", "bytes", "decoded_bytes").sum())
        .drop("record")
        .sort("bytes", descending=True, maintain_order=True)
    )
    tiles, requests, n_bytes, decoded = (
        int(files[one].sum()) for one in ("tiles", "requests", "bytes", "decoded_bytes")
    )
    costs = by_host["cost_usd"]
    bound: Bound = "exact"
    if depends.behind or (log.reads and not depends.reads) or log.borrowed:
        bound = "unknown"
    elif log.is_upper or (depends.may_end_early and not _is_one_batch(log, depends)) or not per_file.is_exact:
        bound = "upper"
    return Estimate(
        records=by_record.height,
        images=len(log.images),
        tiles=tiles,
        requests=requests,
        bytes=n_bytes,
        decoded_bytes=decoded,
        seconds=log.planning_s
        + expected_seconds(
            _loads(files, log.hrefs),
            rounds=per_file.rounds,
            decoding_s=decoding_s(n_bytes, decoded),
            at_once=process_options().max_concurrency,
        ),
        cost_usd=None if costs.null_count() or not len(costs) else float(costs.sum()),
        bound=bound,
        by_host=by_host,
        by_record=by_record,
    )


def _loads(files: pl.DataFrame, hrefs: Sequence[str]) -> list[HostLoad]:
    """Return the requests and bytes of each host, and its speed so far; `hrefs` are the hrefs of the rows of `files`."""
    loads = []
    of_file = files.select("host", "requests", "bytes", at=pl.int_range(pl.len()))
    hosts = of_file.group_by("host", maintain_order=True).agg(pl.col("at").first(), pl.col("requests", "bytes").sum())
    for host, at, requests, n_bytes in hosts.iter_rows():
        is_local = host == "file"
        speed = process_scheduler().speed(hrefs[at])
        loads.append(
            HostLoad(
                requests=requests,
                bytes=n_bytes,
                latency_s=speed.latency_s(LOCAL_LATENCY_S if is_local else LATENCY_S),
                bytes_per_s=speed.bytes_per_s(LOCAL_BYTES_PER_S if is_local else BYTES_PER_S),
            )
        )
    return loads


def _is_one_batch(log: DryRunLog, depends: Dependence) -> bool:
    """Return whether all pixels are read before the first row is returned, so that a limit cannot end the read early."""
    if depends.ends_by_pixels or depends.shares_steps:
        return False
    return len(log.reads) <= 1 and not any(read.in_batches for read in log.reads)


def _files(log: DryRunLog, per_file: FileCosts) -> pl.DataFrame:
    """Return one row per file."""
    images: dict[str, int] = {}
    for href, _, _ in log.images:
        images[href] = images.get(href, 0) + 1
    record = _records(log)
    is_borrowed = np.array([href in log.borrowed for href in log.hrefs], np.int64)
    n_requests, n_bytes = per_file.requests + is_borrowed, per_file.bytes + is_borrowed * HEADER_BYTES
    costs = [
        prices_for(href).of(n_bytes=of_bytes, n_requests=of_requests)
        for href, of_bytes, of_requests in zip(log.hrefs, n_bytes.tolist(), n_requests.tolist(), strict=True)
    ]
    first = {href: at for at, href in reversed(list(enumerate(log.hrefs)))}  # a file that changed is there twice
    return pl.DataFrame(
        {
            "href": [shown(href) for href in log.hrefs],
            "host": [priced_origin(href) for href in log.hrefs],
            "record": [record[href] for href in log.hrefs],
            "record_id": [log.records.get(href, (0, None))[1] for href in log.hrefs],
            "images": [images.get(href, 0) if first[href] == at else 0 for at, href in enumerate(log.hrefs)],
            "tiles": per_file.tiles,
            "requests": n_requests,
            "bytes": n_bytes,
            "decoded_bytes": per_file.decoded_bytes,
            "cost_usd": costs,
        },
        schema={
            "href": pl.String,
            "host": pl.String,
            "record": pl.Int64,
            "record_id": pl.String,
            **dict.fromkeys(("images", "tiles", "requests", "bytes", "decoded_bytes"), pl.Int64),
            "cost_usd": pl.Float64,
        },
    )


def _records(log: DryRunLog) -> dict[str, int]:
    """Return the number of each file's record: the one known to a verb, else one number for all files read for the same rows."""
    parent = {href: href for href in log.hrefs}

    def root(href: str) -> str:
        while parent[href] != href:
            parent[href] = parent[parent[href]]
            href = parent[href]
        return href

    for one, other in log.links:
        if one in parent and other in parent and one not in log.records and other not in log.records:
            parent[root(other)] = root(one)
    numbers: dict[object, int] = {}
    return {
        href: numbers.setdefault(log.records[href][0] if href in log.records else root(href), len(numbers))
        for href in log.hrefs
    }
