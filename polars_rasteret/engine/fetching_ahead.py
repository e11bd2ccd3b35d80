"""Which tiles would reads fetch that may be made later, what would that cost, and how is it begun?

The tiles go into the cache, where a later read finds them. Whether fetching ahead is worth it is decided by whoever knows how
likely the later read is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from polars_rasteret.engine.reading import files_of, grouping
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler
from polars_rasteret.fetch.sources.settings import priced_origin
from polars_rasteret.plan.cost import BYTES_PER_S, LATENCY_S, LOCAL_BYTES_PER_S, LOCAL_LATENCY_S
from polars_rasteret.plan.masks import mask_reads
from polars_rasteret.plan.tile_reads import TileReads, plan_reads, tile_reads_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polars_rasteret.fetch.scheduling.scheduler import FetchTicket
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.windows import WindowRead


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TilesAhead:
    """Tiles of reads that may be made later; made by `tiles_ahead`."""

    tile_reads: TileReads
    options: ReadOptions
    n_bytes: int

    def start(self) -> FetchTicket | None:
        """Begin to fetch the tiles into the cache; a failure is left to the read that needs the tile."""
        one = self.tile_reads
        try:
            return process_scheduler().fetch(
                files_of(one, self.options),
                one.file_id,
                one.byte_start,
                one.byte_stop,
                group=grouping(self.options),
                deliver=_dropped,
                fail=_ignored,
                options=self.options,
                is_counted=False,
            )
        except UsageError:  # an href that no source reads
            return None


def tiles_ahead(reads: Sequence[WindowRead], options: ReadOptions) -> TilesAhead | None:
    """Return the tiles of some reads; None where nothing can be fetched ahead."""
    if any(one.tiles.is_borrowed for read in reads for one in read.references):  # a header comes first
        return None
    try:
        plans = plan_reads([*reads, *(mask.read for mask in mask_reads(reads))])
    except UsageError:  # told by the read, if it is ever made
        return None
    tile_reads = tile_reads_of(plans, max_tile_bytes=options.max_tile_bytes)
    if not len(tile_reads.file_id):
        return None
    n_bytes = int((tile_reads.byte_stop - tile_reads.byte_start).sum())
    return TilesAhead(tile_reads=tile_reads, options=options, n_bytes=n_bytes)


def speed_of(href: str) -> tuple[float, float]:
    """Return the latency in seconds and the bytes per second of the store of a file, as seen so far."""
    is_local = priced_origin(href) == "file"
    speed = process_scheduler().speed(href)
    return (
        speed.latency_s(LOCAL_LATENCY_S if is_local else LATENCY_S),
        speed.bytes_per_s(LOCAL_BYTES_PER_S if is_local else BYTES_PER_S),
    )


def _dropped(_tile: int, _data: memoryview, done: Callable[[], None]) -> None:
    done()


def _ignored(_tile: int, _error: Exception) -> None:
    pass
