"""Which tiles of later rounds are fetched while an earlier round is read?

Rounds wait for each other: whether a record counts is known when its pixels are there. Where the share of rows that stayed open
says that later rounds will come, what they read first is fetched meanwhile. Which record is chosen does not depend on this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.options import process_options

if TYPE_CHECKING:
    from polars_rasteret.fetch.scheduling.scheduler import FetchTicket
    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pairing.rounds import Rounds

_MOST_ROUNDS = 8
_MOST_BYTES = 64_000_000
"""Bytes of later rounds; of a small cache a quarter, so that they are still there when their round comes."""
_PLANNING_S = 0.002
"""Seconds to plan a round ahead, as measured for 10,000 points."""
_LEAST_LATENCY_S = 0.005
"""Latency of stores that are near; waiting for them costs little, and what is seen of it is mostly noise."""


class RoundsAhead:
    """Tiles of later rounds of some targets, on their way into the cache.

    Nothing is fetched ahead before the first round has told how many rows stay open; in a dry run; under a budget, which must
    refuse the same queries; and for zones, whose tiles are not known beforehand.

    Parameters
    ----------
    rounds, reader
        The rounds, and the reader of their rows.
    """

    def __init__(self, rounds: Rounds, reader: RowReader) -> None:
        self._rounds, self._reader = rounds, reader
        self._is_on = reader.call.options.dry_run is None and reader.call.spending is None
        self._bytes_of: dict[int, int] = {}
        """Bytes of each round that was begun, by its number."""
        self._tickets: list[FetchTicket] = []

    def fetch(self) -> None:
        """Begin to fetch tiles of rounds after the next one, as far as they are worth it."""
        rounds = self._rounds
        if not self._is_on or not rounds.number:
            return
        for n_later in range(1, _MOST_ROUNDS + 1):
            if (number := rounds.number + n_later) in self._bytes_of:
                continue
            if not self._begin(number, n_later, rounds.share_left**n_later):
                return

    def _begin(self, number: int, n_later: int, chance: float) -> bool:
        """Fetch the tiles of one round; return False where that costs more than waiting for them.

        A tile is taken to be needed with the chance that one row is still open: clouds cover the rows of a tile together. The
        round comes when any tile is needed.
        """
        from polars_rasteret.engine import fetching_ahead  # here, because a first round that answers all needs it not

        rows = self._rounds.next_rows(n_later)
        href = _an_href(rows)
        if href is None:
            return False
        latency_s, bytes_per_s = fetching_ahead.speed_of(href)
        if latency_s < _LEAST_LATENCY_S:
            return False
        reader = self._reader
        reads = reader.product.certain_reads(rows.bands(), reader.pushed.outputs, reader.resolved.mask_bands)
        ahead = fetching_ahead.tiles_ahead(reads, reader.call.options)
        if ahead is None:
            self._is_on = False
            return False
        saved_s = (1 - (1 - chance) ** len(ahead.tile_reads.file_id)) * latency_s
        lost_s = (1 - chance) * ahead.n_bytes / bytes_per_s + _PLANNING_S
        n_unread = sum(n_bytes for other, n_bytes in self._bytes_of.items() if other >= self._rounds.number)
        most = min(_MOST_BYTES, process_options().cache_bytes // 4)
        if saved_s <= lost_s or n_unread + ahead.n_bytes > most:
            return False
        self._bytes_of[number] = ahead.n_bytes
        if (ticket := ahead.start()) is not None:
            self._tickets.append(ticket)
        return True

    def abandon(self) -> None:
        """Stop fetching what no round will ask for."""
        for ticket in self._tickets:
            ticket.abandon()


def _an_href(rows: PairedRows) -> str | None:
    """Return the href of any raster of the rows; None where there is none."""
    for column in rows.records.rasters.values():
        reference_id = rows.reference_id(column)
        if len(reference_id) and int(reference_id.max()) >= 0:
            return column.references[int(reference_id.max())].href
    return None
