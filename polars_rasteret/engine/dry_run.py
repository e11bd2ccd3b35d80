"""What does a dry run write down?

A dry run plans every read of a query and writes its tiles into a `DryRunLog` instead of fetching them. ``plan.cost`` adds up the
cost of the planned reads. Nothing is fetched here.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine.budget import Cost
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.wanted_tiles import files_without_source, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine.budget import Budget
    from polars_rasteret.fetch.sources.byte_source import FileKey
    from polars_rasteret.options import DryRun, ReadOptions
    from polars_rasteret.plan.cost import PlannedRead
    from polars_rasteret.plan.tile_reads import ReadPlan, TileReads

    Ints = NDArray[np.int64]
    ImageKey = tuple[str, int, int]
    """href, band index, level."""


@dataclass(slots=True, eq=False, repr=False)
class DryRunLog:
    """The reads that a dry run planned, in order, with their files, images and records."""

    reads: list[PlannedRead] = field(default_factory=list)
    hrefs: list[str] = field(default_factory=list)
    """One href per distinct file."""
    images: set[ImageKey] = field(default_factory=set)
    """Images whose tiles are wanted."""
    links: set[tuple[str, str]] = field(default_factory=set)
    """Pairs of files that were read for the same row, so that they belong to one record."""
    records: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    """Href to the number and id of its record, where a verb named them; the first record counts."""
    borrowed: set[str] = field(default_factory=set)
    """Hrefs of files whose tile tables are borrowed: their headers are read first, and may change what is read."""
    planning_s: float = 0.0
    """How long the dry run took."""
    is_upper: bool = False
    """Whether a read may fetch fewer tiles than are written down."""
    _numbers: dict[Hashable, int] = field(default_factory=dict)
    _n_records: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure how long the dry run takes."""
        began = time.perf_counter()
        yield
        self.planning_s = time.perf_counter() - began

    def add(
        self,
        tile_reads: TileReads,
        run: DryRun,
        *,
        files: Sequence[FileKey],
        group: Callable[[Ints, Ints, Ints], Ints],
        options: ReadOptions,
    ) -> None:
        """Write down the tiles that a read would fetch; files whose hrefs no source reads add nothing.

        Raises
        ------
        UsageError
            For an href that no source reads, with ``options.on_error == "raise"``.
        """
        from polars_rasteret.plan.cost import PlannedRead

        wrong = files_without_source(files)
        if wrong and options.on_error == "raise":
            raise next(iter(wrong.values()))
        versions = {at: version_of(file) for at, file in enumerate(files) if at not in wrong}
        unread = {tile_reads.hrefs[at] for at in wrong}
        borrowed = {href for plan in tile_reads.plans for href in _borrowed(plan) if href not in unread}
        images = {key for plan in tile_reads.plans for key in _images(plan) if key[0] not in unread}
        links = {link for link in _links(tile_reads.plans) if unread.isdisjoint(link)}
        decoded = _decoded_bytes(tile_reads)
        is_fetched = ~np.isin(tile_reads.file_id, list(wrong))
        with self._lock:
            numbers = np.full(len(files), -1, np.int64)
            for at, version in versions.items():
                numbers[at] = self._numbers.setdefault(version, len(self.hrefs))
                if numbers[at] == len(self.hrefs):
                    self.hrefs.append(tile_reads.hrefs[at])
            self.images |= images
            self.links |= links
            self.borrowed |= borrowed
            self.reads.append(
                PlannedRead(
                    run=run.read,
                    in_batches=run.in_batches,
                    group=group,
                    max_gap_bytes=options.max_gap_bytes,
                    file=numbers[tile_reads.file_id[is_fetched]],
                    byte_start=tile_reads.byte_start[is_fetched],
                    byte_stop=tile_reads.byte_stop[is_fetched],
                    decoded_bytes=decoded[is_fetched],
                )
            )

    def name_records(self, records: Iterable[tuple[str | None, Iterable[str]]], *, are_chosen: bool) -> None:
        """Note the id and the files of each record, and whether pixel values choose among the records."""
        with self._lock:
            self.is_upper |= are_chosen
            for name, hrefs in records:
                for href in hrefs:
                    self.records.setdefault(href, (self._n_records, name))
                self._n_records += 1

    def cost(self, budget: Budget) -> Cost:
        """Return the cost of all reads together, each tile fetched once; in dollars where the budget is too."""
        from polars_rasteret.plan.cost import file_costs

        per_file = file_costs(self.reads, len(self.hrefs), cache_bytes=sys.maxsize)
        return Cost(
            tiles=int(per_file.tiles.sum()),
            requests=int(per_file.requests.sum()),
            bytes=int(per_file.bytes.sum()),
            usd=budget.price(self.hrefs, per_file.bytes, per_file.requests),
        )


_logs: dict[str, DryRunLog] = {}


@contextmanager
def open_dry_run_log() -> Iterator[tuple[str, DryRunLog]]:
    """Open a log, and yield its name and the log; the options of the dry run carry the name."""
    name, log = uuid.uuid4().hex, DryRunLog()
    _logs[name] = log
    try:
        yield name, log
    finally:
        del _logs[name]


def dry_run_log(run: DryRun) -> DryRunLog:
    """Return the log of the dry run that a copy of the query belongs to.

    Raises
    ------
    UsageError
        When the estimate has ended: its copy of the query cannot read.
    """
    log = _logs.get(run.log)
    if log is None:
        raise UsageError("this query is a copy that pr.estimate made; it cannot read. Run the query itself.")
    return log


def _images(plan: ReadPlan) -> Iterator[ImageKey]:
    for grid in np.unique(plan.grid).tolist():
        reference, image = plan.references[grid], plan.images[grid]
        level = next(at for at, one in enumerate(reference.tiles.images) if one is image)
        yield reference.href, reference.band_index, level


def _borrowed(plan: ReadPlan) -> Iterator[str]:
    for grid in np.unique(plan.grid).tolist():
        if plan.references[grid].tiles.is_borrowed:
            yield plan.references[grid].href


def _links(plans: Sequence[ReadPlan]) -> set[tuple[str, str]]:
    """Return pairs of hrefs that one row reads together: the file of the first read, and the file of another read."""
    links: set[tuple[str, str]] = set()
    reads = [plan.read for plan in plans]
    for read in reads[1:]:
        first = reads[0]
        both = (first.reference_id >= 0) & (read.reference_id >= 0)
        pairs = np.unique(np.stack([first.reference_id[both], read.reference_id[both]], axis=1), axis=0)
        links |= {(first.references[one].href, read.references[two].href) for one, two in pairs.tolist()}
    return links


def _decoded_bytes(tile_reads: TileReads) -> Ints:
    """Return the bytes of each tile once decompressed, as its first use decodes it; int64, shape (n_tiles,)."""
    use = tile_reads.first_use[:-1]
    sizes = np.empty(len(use), np.int64)
    for at, (read, tile) in enumerate(
        zip(tile_reads.use_read[use].tolist(), tile_reads.use_tile[use].tolist(), strict=True)
    ):
        plan = tile_reads.plans[read]
        grid = int(plan.grid[tile])
        tiles, image = plan.references[grid].tiles, plan.images[grid]
        sizes[at] = image.tile_width * tiles.samples_per_tile * tiles.dtype.itemsize
    return sizes * tile_reads.use_tile_rows[use]
