"""Which stages turn windows into pixels, and in which order?

Plan the tiles, fetch their bytes, decode and place them as they arrive. NumPy columns go in and come out. No Polars call may be
added here or below, because a Polars callback waits for these threads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.values import check_lossless, fill_value, masking_value
from polars_rasteret.engine.budget import Budget, Cost, check_answer_size, check_budget
from polars_rasteret.engine.decoding import DecodeCall, Target, decode_pool
from polars_rasteret.engine.dry_run import dry_run_log
from polars_rasteret.errors import StaleIndexError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import FileKey, process_scheduler
from polars_rasteret.fetch.scheduling.wanted_tiles import files_without_source
from polars_rasteret.fetch.sources.byte_source import Terms
from polars_rasteret.hrefs import shown
from polars_rasteret.plan.masks import mask_reads
from polars_rasteret.plan.requests import request_cap, request_ids
from polars_rasteret.plan.tile_reads import ReadPlan, TileReads, plan_reads, tile_reads_of
from polars_rasteret.plan.windows import answer_bytes, window_starts
from polars_rasteret.profile import record, record_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine.budget import Spending
    from polars_rasteret.fetch.scheduling.scheduler import FetchTicket
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.masks import MaskRead
    from polars_rasteret.plan.windows import WindowRead

    Ints = NDArray[np.int64]

_ADVICE = "ask for fewer windows at once, or use lf.raster.with_columns, which works in bounded units"
_SMALL_WINDOW = 64
"""Mean pixels per window below which an answer is filled as a whole rather than window by window."""


@dataclass(slots=True, eq=False, repr=False)
class WindowAnswer:
    """The pixels of one `WindowRead`."""

    values: NDArray[Any]
    """Flat pixels in the dtype of the read; window ``i`` is ``values[offset[i]:offset[i + 1]]``, row-major (or lies where `out`
    says)."""
    valid: NDArray[np.bool_] | None
    """Valid mask in the shape of `values`. True: inside the image, not masked, not nodata, not NaN. None when it was not asked
    for."""
    offset: Ints
    errors: dict[int, str]
    """Number of each failed window to its reason; only with ``on_error="null"``. All pixels of such a window are invalid."""


class StartedRead:
    """A read whose bytes are on their way, and are decoded as they arrive; made by `begin_windows`.

    Whoever has it calls `answers` or `abandon`, so that no tile is waited for in vain.
    """

    __slots__ = ("_answers", "_call", "_fills", "_masks", "_options", "_reads", "_ticket", "_tile_reads")

    def __init__(
        self,
        reads: Sequence[WindowRead],
        options: ReadOptions,
        tile_reads: TileReads,
        answers: list[WindowAnswer],
    ) -> None:
        self._reads, self._options, self._tile_reads, self._answers = reads, options, tile_reads, answers
        self._masks: Sequence[MaskRead] = ()
        self._fills: list[NDArray[Any]] = []
        self._call: DecodeCall | None = None
        self._ticket: FetchTicket | None = None

    def start(self, masks: Sequence[MaskRead], fills: list[NDArray[Any]], spending: Spending | None) -> None:
        """Ask for the bytes of all tiles. After any exception the tiles are abandoned."""
        started = time.perf_counter()
        tile_reads, options = self._tile_reads, self._options
        targets = [
            Target(plan, answer.values, answer.valid, [masking_value(one.tiles, one.nodata) for one in plan.references])
            for plan, answer in zip(tile_reads.plans, self._answers, strict=True)
        ]
        self._masks, self._fills = masks, fills
        self._call = DecodeCall(tile_reads, targets, stop_at_failure=options.on_error == "raise")
        try:
            if len(tile_reads.file_id):
                decode_pool()  # its threads start now, not on the fetch thread that has the first bytes
                self._ticket = _asked(tile_reads, self._call, options, spending)
            for read, tile in tile_reads.sparse:
                targets[read].place_sparse(tile)
        except BaseException:
            self.abandon()
            raise
        finally:
            record(wait_s=time.perf_counter() - started)

    def abandon(self) -> None:
        """Stop fetching and decoding; a read that has its answers is left alone."""
        if self._call is not None:
            self._call.close()
        if self._ticket is not None:
            self._ticket.abandon()

    def answers(self) -> list[WindowAnswer]:
        """Return the pixels of all reads, once they are there; see `read_windows` for the errors.

        After any exception the remaining tiles are abandoned.
        """
        tile_reads, answers, reads, call = self._tile_reads, self._answers, self._reads, self._call
        if call is None:  # a dry run
            return answers
        started = time.perf_counter()
        try:
            call.wait(self._options)
            for read, tile, error in call.failed:
                _forget_if_stale(tile_reads.plans[read], tile, error)
            if call.failed and self._options.on_error == "raise":
                raise _explained(tile_reads, *call.failed[0])  # noqa: TRY301 - abandoned below, like every other exception
        except BaseException:
            self.abandon()
            raise
        finally:
            record(wait_s=time.perf_counter() - started)
        for mask, seen in zip(self._masks, answers[len(reads) :], strict=True):
            _hide(answers[mask.of], seen.values, mask.read, reads[mask.of])
        answered = [*range(len(reads)), *(mask.of for mask in self._masks)]
        for read, tile, error in (*tile_reads.broken, *call.failed):
            of = answered[read]
            _void_windows(tile_reads.plans[of], answers[of], tile_reads.plans[read], tile, error, self._fills[of])
        return answers[: len(reads)]


def read_windows(
    reads: Sequence[WindowRead], options: ReadOptions, *, advice: str = _ADVICE, spending: Spending | None = None
) -> list[WindowAnswer]:
    """Read the windows of all `reads`; a tile that several of them want is fetched and decoded once.

    Parameters
    ----------
    reads
        One read per output column.
    options
        Limits, retries, and whether a failure raises or becomes null.
    advice
        The next step that the error names when the answers would exceed ``options.max_answer_bytes``.
    spending
        The spending that several reads share; takes the place of the budget in `options`.

    Raises
    ------
    UsageError
        Before any request: too large an answer, a cast that could lose a value, a level that does not exist.
    BudgetError
        Before any request: the cost exceeds the budget.
    QueryTimeoutError
        Whatever `on_error` says, when the query that the read belongs to has taken too long.
    FetchError, FileFormatError
        The first failure, with ``options.on_error == "raise"``.
    """
    return begin_windows(reads, options, advice=advice, spending=spending).answers()


def begin_windows(
    reads: Sequence[WindowRead], options: ReadOptions, *, advice: str = _ADVICE, spending: Spending | None = None
) -> StartedRead:
    """Begin what `read_windows` does, and return while bytes arrive and are decoded; parameters and errors are the same."""
    started = time.perf_counter()
    options = options.begun()
    options.check_time()
    _check_size(reads, options, advice)
    reads = _with_own_tables(reads, options, spending)
    masks = mask_reads(reads)
    tile_reads = tile_reads_of(
        plan_reads([*reads, *(mask.read for mask in masks)]), max_tile_bytes=options.max_tile_bytes
    )
    _check_dtypes(reads)
    if options.dry_run is not None:
        dry_run_log(options.dry_run).add(
            tile_reads, options.dry_run, files=files_of(tile_reads, options), group=grouping(options), options=options
        )
        return StartedRead(reads, options, tile_reads, [_dry_answer(plan) for plan in tile_reads.plans[: len(reads)]])
    if spending is None and (budget := Budget.of(options)) is not None:
        check_budget(_cost(tile_reads, options), budget)
    fills = [_fills(plan.read) for plan in tile_reads.plans]
    answers = [_blank_answer(plan, fill) for plan, fill in zip(tile_reads.plans, fills, strict=True)]
    record(plan_s=time.perf_counter() - started)
    if tile_reads.broken and options.on_error == "raise":
        raise _explained(tile_reads, *tile_reads.broken[0])
    begun = StartedRead(reads, options, tile_reads, answers)
    begun.start(masks, fills, spending)
    return begun


def cost_of(reads: Sequence[WindowRead], options: ReadOptions) -> Cost:
    """Return the cost of `read_windows` with an empty cache; nothing is fetched."""
    plans = plan_reads([*reads, *(mask.read for mask in mask_reads(reads))])
    return _cost(tile_reads_of(plans, max_tile_bytes=options.max_tile_bytes), options)


def _with_own_tables(
    reads: Sequence[WindowRead], options: ReadOptions, spending: Spending | None
) -> Sequence[WindowRead]:
    """Return reads without borrowed tile tables: real ones are in the headers of the files."""
    if not any(one.tiles.is_borrowed for read in reads for one in read.references):
        return reads
    from polars_rasteret.engine.borrowed_tables import read_with_own_tables

    return [read_with_own_tables(read, options, spending) for read in reads]


def files_of(tile_reads: TileReads, options: ReadOptions) -> list[FileKey]:
    """Return the files of planned tiles, as indexed."""
    return [
        FileKey(
            href=href,
            etag=one.etag,
            file_size=one.file_size,
            last_modified=one.last_modified,
            terms=Terms.of(options.allowed_hrefs, one.provenance),
        )
        for href, one in zip(tile_reads.hrefs, tile_reads.files, strict=True)
    ]


def _asked(
    tile_reads: TileReads, call: DecodeCall, options: ReadOptions, spending: Spending | None
) -> FetchTicket | None:
    """Ask for the bytes of all tiles.

    Tiles of files whose hrefs no source reads fail here, before any request.
    """
    files = files_of(tile_reads, options)
    how: dict[str, Any] = {
        "group": grouping(options),
        "options": options,
        "admit": None if spending is None else spending.admit,
    }
    columns = tile_reads.file_id, tile_reads.byte_start, tile_reads.byte_stop
    try:
        return process_scheduler().fetch(files, *columns, deliver=call.deliver, fail=call.fail, **how)
    except UsageError:
        wrong = files_without_source(files)
        if not wrong:
            raise
    is_wrong = np.isin(tile_reads.file_id, list(wrong))
    for job in np.flatnonzero(is_wrong).tolist():
        call.fail(job, wrong[int(tile_reads.file_id[job])])
    if options.on_error == "raise":
        return None
    kept = np.flatnonzero(~is_wrong)
    number: list[int] = kept.tolist()
    return process_scheduler().fetch(
        files,
        *(column[kept] for column in columns),
        deliver=lambda tile, data, done: call.deliver(number[tile], data, done),
        fail=lambda tile, error: call.fail(number[tile], error),
        **how,
    )


def _cost(tile_reads: TileReads, options: ReadOptions) -> Cost:
    request_id = grouping(options)(tile_reads.file_id, tile_reads.byte_start, tile_reads.byte_stop)
    first = np.flatnonzero(np.diff(request_id, prepend=-1))
    n_bytes = np.maximum.reduceat(tile_reads.byte_stop, first) - tile_reads.byte_start[first] if len(first) else first
    usd = 0.0
    if (budget := Budget.of(options)) is not None:
        usd = budget.price(
            [tile_reads.hrefs[one] for one in tile_reads.file_id[first].tolist()], n_bytes, np.ones_like(n_bytes)
        )
    return Cost(tiles=len(request_id), requests=len(first), bytes=int(n_bytes.sum()), usd=usd)


def grouping(options: ReadOptions) -> Callable[[Ints, Ints, Ints], Ints]:
    """Return the function of file, byte_start and byte_stop that returns the request of each tile."""

    def grouped(file_id: Ints, byte_start: Ints, byte_stop: Ints) -> Ints:
        cap = request_cap(
            int((byte_stop - byte_start).sum()),
            max_request_bytes=options.max_request_bytes,
            at_once=options.max_concurrency,
        )
        return request_ids(file_id, byte_start, byte_stop, max_gap_bytes=options.max_gap_bytes, max_request_bytes=cap)

    return grouped


def _check_size(reads: Sequence[WindowRead], options: ReadOptions, advice: str) -> None:
    n_rows = max((len(read.reference_id) for read in reads), default=0)
    labels = ", ".join(dict.fromkeys(read.label for read in reads))
    n_bytes = sum(map(answer_bytes, reads))
    check_answer_size(n_bytes, options.max_answer_bytes, n_rows=n_rows, label=labels, advice=advice)


def _check_dtypes(reads: Sequence[WindowRead]) -> None:
    for read in reads:
        for native, href in {one.tiles.dtype: one.href for one in read.references}.items():
            check_lossless(native, read.dtype, label=read.label, href=href)


def _fills(read: WindowRead) -> NDArray[Any]:
    """Return the fill value outside the image of each reference; the last one (index -1) is for windows without a reference."""
    fills = [fill_value(one.tiles, one.nodata, read.fill, read.dtype, label=read.label) for one in read.references]
    return np.array([*fills, fill_value(None, None, read.fill, read.dtype, label=read.label)], read.dtype)


def _blank_answer(plan: ReadPlan, fills: NDArray[Any]) -> WindowAnswer:
    """Return the answer before any tile has arrived.

    Memory that tiles will write anyway is not filled, where that is simple to know.
    """
    read, offset = plan.read, plan.offset
    n_pixels, sizes = int(offset[-1]), np.diff(offset)
    outside = np.flatnonzero(plan.pieces.n_pixels < sizes)
    if read.out is not None:
        start = window_starts(read, offset)
        for window in outside.tolist():
            read.out.values[start[window] : start[window] + sizes[window]] = fills[read.reference_id[window]]
        return WindowAnswer(values=read.out.values, valid=read.out.valid, offset=offset, errors={})
    if not len(outside):
        values = np.empty(n_pixels, read.dtype)
    elif not fills.any():
        values = np.zeros(n_pixels, read.dtype)
    elif n_pixels < _SMALL_WINDOW * len(sizes):
        values = np.repeat(fills[read.reference_id], sizes)
    else:
        values = np.empty(n_pixels, read.dtype)
        for window in outside.tolist():
            values[offset[window] : offset[window + 1]] = fills[read.reference_id[window]]
    valid = np.zeros(n_pixels, np.bool_) if read.want_valid else None
    return WindowAnswer(values=values, valid=valid, offset=offset, errors={})


def _dry_answer(plan: ReadPlan) -> WindowAnswer:
    """Return an answer without a valid pixel, for a dry run. Memory of zeros that nobody touches costs nothing."""
    read, n_pixels = plan.read, int(plan.offset[-1])
    if read.out is not None:
        return WindowAnswer(values=read.out.values, valid=read.out.valid, offset=plan.offset, errors={})
    valid = np.zeros(n_pixels, np.bool_) if read.want_valid else None
    return WindowAnswer(values=np.zeros(n_pixels, read.dtype), valid=valid, offset=plan.offset, errors={})


def _hide(answer: WindowAnswer, seen: NDArray[np.bool_], mask: WindowRead, read: WindowRead) -> None:
    """Make invalid the pixels that a mask hides."""
    assert answer.valid is not None
    valid = answer.valid
    if read.out is not None and mask.out is not None:
        shape = len(read.reference_id), mask.out.stride
        valid = np.ndarray(shape, np.bool_, valid, strides=(read.out.stride, 1))
        seen = seen.reshape(shape)
    np.logical_and(valid, seen, out=valid)


def _void_windows(  # noqa: PLR0917 - only called once
    plan: ReadPlan, answer: WindowAnswer, failed: ReadPlan, tile: int, error: Exception, fills: NDArray[Any]
) -> None:
    """Make all pixels invalid in every window that touches a failed tile of its image or mask, and keep the reason."""
    reason = _told(error, failed, tile)
    pieces = slice(int(failed.pieces.first_piece[tile]), int(failed.pieces.first_piece[tile + 1]))
    start, size = window_starts(plan.read, plan.offset), np.diff(plan.offset)
    for window in np.unique(failed.pieces.window[pieces]).tolist():
        if window in answer.errors:
            continue
        pixels = slice(int(start[window]), int(start[window] + size[window]))
        answer.values[pixels] = fills[plan.read.reference_id[window]]
        if answer.valid is not None:
            answer.valid[pixels] = False
        answer.errors[window] = reason
        record_error(reason)


def _explained(tile_reads: TileReads, read: int, tile: int, error: Exception) -> Exception:
    """Return an error of the same class whose message names the band and the file."""
    explained = type(error)(_told(error, tile_reads.plans[read], tile))
    explained.__cause__ = error
    return explained


def _forget_if_stale(plan: ReadPlan, tile: int, error: Exception) -> None:
    """Forget the header of a file that changed after it was read for a borrowed table; the next read sees the file anew."""
    if isinstance(error, StaleIndexError):
        from polars_rasteret.engine.borrowed_tables import forget_own_table

        forget_own_table(plan.references[int(plan.grid[tile])].href)


def _told(error: Exception, plan: ReadPlan, tile: int) -> str:
    href, message = shown(plan.references[int(plan.grid[tile])].href), str(error)
    return f"{plan.read.label}: {message}" if href in message else f"{plan.read.label}: {href}: {message}"
