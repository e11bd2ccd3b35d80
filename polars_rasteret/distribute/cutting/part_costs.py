"""What does each part of a query fetch? Its reads are planned as they will be made, and written down in place of being made."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.engine import NO_COST, Cost, open_dry_run_log
from polars_rasteret.fetch.sources.settings import prices_for
from polars_rasteret.frame.query.batched_reads import read_all, read_many
from polars_rasteret.options import DryRun
from polars_rasteret.plan.cost import file_costs, first_of_equal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import DryRunLog
    from polars_rasteret.frame.query.batched_reads import RowReader
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.pairing.paired_rows import PairedRows

    Ints = NDArray[np.int64]
    Tiles = tuple[Ints, Ints, Ints]
    """File, first byte and end of tiles."""

_EXACT, _UPPER, _UNKNOWN = "exact", "upper", "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartCosts:
    """Costs of parts, in the order of the parts."""

    costs: Sequence[Cost]
    rows: Sequence[int]
    records: Sequence[int]
    hrefs: Sequence[str]
    """File that each part reads first, as a hint to which store it asks; empty where it reads nothing."""
    duplication: float
    bound: str


def costs_of_parts(
    pieces: Iterable[tuple[int, PairedRows]], n_parts: int, reader: RowReader, question: Question
) -> PartCosts:
    """Return the costs of parts.

    Parameters
    ----------
    pieces
        Number of a part, and some of its rows before they are read; pieces of one part follow each other.
    n_parts
        Number of parts.
    reader, question
        Of the whole query.
    """
    costs, rows, records, hrefs = [NO_COST] * n_parts, [0] * n_parts, [0] * n_parts, [""] * n_parts
    bound = _EXACT if question.pairing.match == "all" and not question.product.costs_vary else _UPPER
    with open_dry_run_log() as (name, log):
        options = replace(reader.call.options, dry_run=DryRun(log=name, read=0))
        planner = replace(reader, call=replace(reader.call, options=options))
        tiles: list[Tiles] = []
        for part, some in pieces:
            if reader.pushed.values:
                _plan(some, planner, question)
            n_known = len(tiles)
            cost, is_exact = taken_cost(log, tiles)
            costs[part] += cost
            rows[part] += len(some)
            records[part] = max(records[part], len(np.unique(some.record[some.record >= 0])))
            if len(tiles) > n_known:
                hrefs[part] = hrefs[part] or log.hrefs[int(tiles[-1][0].min())]
            if not is_exact:
                bound = _UPPER
        if log.borrowed:
            bound = _UNKNOWN
        return PartCosts(
            costs=costs, rows=rows, records=records, hrefs=hrefs, duplication=duplication_of(tiles), bound=bound
        )


def _plan(rows: PairedRows, planner: RowReader, question: Question) -> None:
    max_bytes = question.options.max_answer_bytes
    frames: Iterator[object] = (
        read_many(rows, planner, max_bytes, None) if question.many_rows else read_all(rows, planner, max_bytes)
    )
    for _ in frames:
        pass


def taken_cost(log: DryRunLog, tiles: list[Tiles]) -> tuple[Cost, bool]:
    """Return the cost of the reads in a log and whether it is exact; the reads leave the log, and their tiles join `tiles`."""
    reads = list(log.reads)
    log.reads.clear()
    if not any(len(one.file) for one in reads):
        return NO_COST, True
    wanted = _distinct_tiles([(one.file, one.byte_start, one.byte_stop) for one in reads])
    tiles.append(wanted)
    files = np.unique(wanted[0])  # counted among themselves: there may be many more
    near = [replace(one, file=np.searchsorted(files, one.file)) for one in reads]
    found = file_costs(near, len(files), cache_bytes=sys.maxsize)
    cost = Cost(
        tiles=int(found.tiles.sum()),
        requests=int(found.requests.sum()),
        bytes=int(found.bytes.sum()),
        usd=sum(
            prices_for(log.hrefs[file]).of(n_bytes=n_bytes, n_requests=n_requests) or 0.0
            for file, n_bytes, n_requests in zip(
                files.tolist(), found.bytes.tolist(), found.requests.tolist(), strict=True
            )
        ),
    )
    return cost, found.is_exact


def _distinct_tiles(tiles: Sequence[Tiles]) -> Tiles:
    file, start, stop = (np.concatenate(columns) for columns in zip(*tiles, strict=True))
    kept = first_of_equal(file, start, stop)
    return file[kept], start[kept], stop[kept]


def duplication_of(tiles: Sequence[Tiles]) -> float:
    """Return the bytes of the tiles of all parts over those of the distinct ones."""
    if not tiles:
        return 1.0
    _, start, stop = _distinct_tiles(tiles)
    return sum(int((last - first).sum()) for _, first, last in tiles) / max(int((stop - start).sum()), 1)
