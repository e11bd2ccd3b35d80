"""How is a query cut into parts that fetch no tile twice?

The caller's rows are paired with records as the query itself pairs them, ordered along tiles, and cut where a tile ends. No pixel
is read here, and no file is written.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.distribute.cutting.cut_query import CutQuery, part_query, plan_with_slots
from polars_rasteret.distribute.cutting.digest import digest_of
from polars_rasteret.distribute.cutting.part_costs import costs_of_parts, duplication_of, taken_cost
from polars_rasteret.distribute.cutting.parts import Part
from polars_rasteret.distribute.cutting.plan_keys import keys_in_plan
from polars_rasteret.distribute.cutting.provable_steps import cut_read
from polars_rasteret.distribute.cutting.spans import Wanted, spans_of
from polars_rasteret.distribute.cutting.whole import of_rows, whole_of
from polars_rasteret.engine import open_dry_run_log
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.signing import unsigned
from polars_rasteret.frame.query.plan_tree import is_frame, plan_tree
from polars_rasteret.hrefs import shown
from polars_rasteret.options import DryRun, pickled_dry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from polars_rasteret.distribute.cutting.part_costs import PartCosts, Tiles
    from polars_rasteret.distribute.cutting.provable_steps import CutRead
    from polars_rasteret.distribute.cutting.spans import Span
    from polars_rasteret.distribute.cutting.whole import Whole
    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.frame.query.source import PairedSource
    from polars_rasteret.pairing.paired_rows import PairedRows

PART_BYTES = 300_000_000
"""Bytes of a part, about: starting it then costs little beside reading it, and so does reading it again after a failure."""
_PLANNED_RECORDS_BYTES = 1_000_000
"""Bytes of the records' own plan up to which they stay in the plan of the query."""


def cut(
    query: pl.LazyFrame, *, part_bytes: int = PART_BYTES, workers: int = 1, min_parts: int | None = None
) -> CutQuery:
    """Return a query in parts.

    Parameters
    ----------
    query
        A query with one verb that pairs the caller's rows with records, and row-wise steps above it.
    part_bytes
        Bytes that a part fetches, about.
    workers
        Number of workers; each gets some twenty parts, where these are not too small.
    min_parts
        Number of parts at least, however small. There are fewer only where rows or times are fewer.

    Raises
    ------
    UsageError
        For a step whose rows would be others in parts, and for a table that is scanned with keys, before anything is read.
    """
    for name, value in {"part_bytes": part_bytes, "workers": workers, "min_parts": min_parts}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise UsageError(f"{name} is {value!r}; expected a whole number, 1 or more")
    read = cut_read(query)
    whole = whole_of(query, read.source)
    _check_keys(read, whole.frame)
    tiles, is_matched = whole.tiles()
    wanted = Wanted(part_bytes=part_bytes, workers=workers, min_parts=min_parts)
    times = whole.records.times if whole.question.pairing.match == "all" and not read.keys else None
    order, spans = spans_of(tiles, is_matched, wanted, are_areas=whole.are_areas, times=times)
    targets = whole.frame[order]
    ordered = of_rows(whole.question, whole.handed, targets, whole.records)
    costs = costs_of_parts(_pieces(ordered, spans), len(spans), ordered.reader, ordered.question)
    question = read.source.question
    keeps_records = _may_travel(question.records)
    references = [one for column in ordered.records.rasters.values() for one in column.references]
    hrefs = tuple({one.href: None for one in references})
    if not keeps_records:
        _refuse_signed(hrefs)
    plan = plan_with_slots(query, read.source, keeps_records=keeps_records)
    found = CutQuery(
        parts=_interleaved(spans, costs, question),
        plan=plan,
        targets=targets,
        records=None if keeps_records else whole.records_near().collect(),
        duplication=costs.duplication,
        by="tiles" if all(span.period is None for span in spans) else "tiles and time",
        bound=costs.bound,
        hrefs=hrefs,
        digest=digest_of(query, whole.frame, ordered.records, references),
    )
    return found if question.reads_pixels else _with_costs_of_expressions(query, read.source, found)


def _with_costs_of_expressions(query: pl.LazyFrame, source: PairedSource, found: CutQuery) -> CutQuery:
    """Return parts with the costs of the expressions above the read: the query of each part is run without its reads."""
    parts = []
    with open_dry_run_log() as (name, log):
        numbers = itertools.count()
        with pickled_dry(lambda: DryRun(log=name, read=next(numbers), in_batches=True)):
            plan = plan_with_slots(query, source, keeps_records=found.records is None)
        tiles: list[Tiles] = []
        for part in found.parts:
            part_query(plan, part, found.targets[slice(*part.targets)], found.records).sink_batches(_forget)
            cost, _ = taken_cost(log, tiles)
            parts.append(replace(part, tiles=cost.tiles, bytes=cost.bytes, requests=cost.requests, usd=cost.usd))
    return replace(found, parts=tuple(parts), duplication=duplication_of(tiles), bound="upper")


def _forget(_: pl.DataFrame) -> None:
    pass


def _may_travel(records: pl.LazyFrame) -> bool:
    """Return whether records stay the scan that they are, which each worker runs; else their rows are written down."""
    if is_frame(records) or len(records.serialize()) > _PLANNED_RECORDS_BYTES:
        return False
    return not keys_in_plan(plan_tree(records))


def _refuse_signed(hrefs: Sequence[str]) -> None:
    """Refuse records whose hrefs hold keys: the records are written down for workers."""
    if (signed := next((href for href in hrefs if unsigned(href) != href), None)) is not None:
        raise UsageError(
            f"the records name {shown(signed)} with a key in the href, which is never sent to workers. Build the collection from "
            "unsigned hrefs, and configure their store with pr.configure_store, in a function that the engine's setup= names"
        )


def _check_keys(read: CutRead, frame: pl.DataFrame) -> None:
    """Refuse to group by columns that several of the caller's rows share: their group would be in several parts."""
    for keys in read.keys:
        names = sorted(keys)
        n_groups = frame.select(names).n_unique()
        if n_groups < frame.height:
            raise UsageError(
                f"group_by({', '.join(map(repr, names))}): {frame.height:,} rows of your table have {n_groups:,} keys, "
                "so the rows of a group may be in several parts. Group by a column that differs in every row of your table, or "
                "distribute the read, then pl.scan_parquet(into).group_by(...)"
            )


def _pieces(whole: Whole, spans: Sequence[Span]) -> Iterator[tuple[int, PairedRows]]:
    """Yield the rows of each span before they are read; those of one span follow each other."""
    starts = np.array([span.start for span in spans])
    times = whole.records.times
    for rows, of_targets in whole.runs():
        first = int(np.searchsorted(starts, of_targets.start, side="right")) - 1
        while first > 0 and spans[first - 1].stop > of_targets.start:  # other times of the same rows
            first -= 1
        for number in range(max(first, 0), len(spans)):
            span = spans[number]
            if span.start >= of_targets.stop:
                break
            begin, end = np.searchsorted(rows.target, [span.start, span.stop])
            some = rows.taken(slice(int(begin), int(end)))
            if span.period is not None:
                some = some.taken(np.flatnonzero(span.period.holds(times, some.record)))
            if len(some):
                yield number, some


def _interleaved(spans: Sequence[Span], costs: PartCosts, question: Question) -> tuple[Part, ...]:
    """Return the parts that have rows, so ordered that parts started together ask different folders of their stores."""
    chooses = question.pairing.match != "all"
    rows = [span.stop - span.start if chooses else n_rows for span, n_rows in zip(spans, costs.rows, strict=True)]
    folders: dict[str, list[int]] = {}
    for at, href in enumerate(costs.hrefs):
        if rows[at]:
            folders.setdefault(href.rpartition("/")[0], []).append(at)
    in_turn = [at for turn in itertools.zip_longest(*folders.values()) for at in turn if at is not None]
    return tuple(
        Part(
            number=number,
            targets=(spans[at].start, spans[at].stop),
            period=spans[at].period,
            rows=rows[at],
            records=costs.records[at],
            tiles=costs.costs[at].tiles,
            bytes=costs.costs[at].bytes,
            requests=costs.costs[at].requests,
            usd=costs.costs[at].usd,
        )
        for number, at in enumerate(in_turn or [0])
    )
