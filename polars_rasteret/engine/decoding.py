"""Which threads decode the tiles that arrive, and when is the caller's answer complete?

A `DecodeCall` is one read while it runs. Fetch threads put tiles into its inbox. A process-wide pool of decode threads takes them
out, decodes the wanted rows and writes them into the flat answers. The caller waits on one condition. The tiles were planned
before; ``reading`` decides what a failure means for the answer. No Polars call may be made on these threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import nullcontext
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.scatter import place_points, place_rectangles
from polars_rasteret.engine.interruption import interruptible
from polars_rasteret.engine.progress import progress_bar
from polars_rasteret.errors import FileFormatError
from polars_rasteret.profile import record
from polars_rasteret.tiff.codecs.tile_codec import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.tile_reads import ReadPlan, TileReads

    Ints = NDArray[np.int64]
    Failure = tuple[int, int, Exception]
    """Number of the read, index among its distinct tiles, and the error."""

_WAKE_S = 0.2
"""How often the wait wakes to look for Ctrl-C and move the progress bar."""
_DECODED_BYTES_PER_S = 400e6
"""Rate of one core, before this process has decoded a tile."""
_FORGET = 0.99
_TILES_PER_TURN = 32
"""Most tiles that a decode thread decodes for one call before it serves another call."""


class Target:
    """The flat answer of one read, and the pixels that each tile writes into it: plain lists and array views, for speed."""

    def __init__(
        self,
        plan: ReadPlan,
        values: NDArray[Any],
        valid: NDArray[np.bool_] | None,
        masks: Sequence[np.generic | None],
    ) -> None:
        pieces = plan.pieces
        self.plan, self.rows = plan, plan.rows
        self._values, self._valid, self._masks = values, valid, masks
        self._grid: list[int] = plan.grid.tolist()
        self._first_piece: list[int] = pieces.first_piece.tolist()
        self._first_row: list[int] = [] if plan.rows is None else plan.rows.first_row.tolist()
        # With `out`, windows lie further apart than in an answer of their own.
        out, offset = plan.read.out, plan.offset
        self._stretch = 0 if out is None else out.stride
        self._own_start = offset
        self._sample = [one.band_index if one.tiles.samples_per_tile > 1 else 0 for one in plan.references]
        self.row_start: list[int] = pieces.row_start.tolist()
        self.row_stop: list[int] = pieces.row_stop.tolist()
        self.col_stop: list[int] = pieces.col_stop.tolist()

    def wanted_rows(self, tile: int) -> Ints:
        """Return the distinct rows of a tile that points want; int64, ascending."""
        assert self.rows is not None
        return self.rows.row[self._first_row[tile] : self._first_row[tile + 1]]

    def place(self, tile: int, pixels: NDArray[Any], row_start: int | None) -> None:
        """Write the wanted pixels of a tile into the answer.

        Parameters
        ----------
        tile
            Index among the distinct tiles of this read.
        pixels
            Decoded rows, shape (n_rows, tile_width, samples_per_tile).
        row_start
            Row of the tile where `pixels` begins. None: `pixels` holds just the distinct rows that points want.
        """
        grid, pieces = self._grid[tile], self.plan.pieces
        part = slice(self._first_piece[tile], self._first_piece[tile + 1])
        plane = pixels[:, :, self._sample[grid]]
        if row_start is None:
            assert self.rows is not None
            row = self.rows.position[part]
        else:
            row = pieces.row[part] - row_start if row_start else pieces.row[part]
        destination = pieces.destination[part]
        if self._stretch:
            window = pieces.window[part]
            destination = destination - self._own_start[window] + window * self._stretch
        where = (row, pieces.col[part], destination)
        answer = (self._values, self._valid, self._masks[grid])
        if pieces.height is None or pieces.width is None or pieces.stride is None:
            place_points(plane, where, *answer)
        else:
            place_rectangles(plane, where, (pieces.height[part], pieces.width[part], pieces.stride[part]), *answer)

    def place_sparse(self, tile: int) -> None:
        """Write a tile that the file does not hold: every pixel is nodata, or 0 without nodata."""
        grid = self._grid[tile]
        tiles, image = self.plan.references[grid].tiles, self.plan.images[grid]
        value = tiles.dtype.type(0) if tiles.nodata is None else tiles.nodata
        self.place(tile, np.broadcast_to(value, (image.tile_height, image.tile_width, tiles.samples_per_tile)), 0)


class DecodeCall:
    """One read while it runs."""

    def __init__(self, tile_reads: TileReads, targets: Sequence[Target], *, stop_at_failure: bool) -> None:
        self.failed: list[Failure] = []
        """Tiles that could not be fetched or decoded."""
        self._codecs, self._targets, self._stop_at_failure = tile_reads.codecs, targets, stop_at_failure
        self._first_use: list[int] = tile_reads.first_use.tolist()
        self._use_read: list[int] = tile_reads.use_read.tolist()
        self._use_tile: list[int] = tile_reads.use_tile.tolist()
        self._use_codec: list[int] = tile_reads.use_codec.tolist()
        self._use_tile_rows: list[int] = tile_reads.use_tile_rows.tolist()
        self._inbox: deque[tuple[int, memoryview, Callable[[], None]]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._n_serving = 0
        self._n_left = self._n_tiles = len(tile_reads.file_id)
        self._n_bytes = 0
        self._fault: BaseException | None = None
        self._closed = False

    # -- the caller ---------------------------------------------------------------------------------------------------

    def wait(self, options: ReadOptions) -> None:
        """Wait until every tile is placed or has failed; with `stop_at_failure`, until the first failure.

        Raises
        ------
        QueryTimeoutError
            When the query may take no longer.
        BaseException
            A fault of ours on a decode thread; `KeyboardInterrupt` after Ctrl-C, on whatever thread waits.
        """
        told = told_bytes = 0
        bar = progress_bar(self._n_tiles) if options.progress else nullcontext()
        with bar as tell, interruptible() as check:
            while True:
                with self._changed:
                    if self._n_left and not self._closed:
                        self._changed.wait(min(_WAKE_S, options.check_time()))
                    n_done, n_bytes = self._n_tiles - self._n_left, self._n_bytes
                    ended = self._closed or not self._n_left
                if tell is not None:
                    tell(n_done - told, n_bytes - told_bytes)
                told, told_bytes = n_done, n_bytes
                if ended:
                    break
                check()
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """Drop every tile that still arrives."""
        self._closed = True

    # -- fetch threads ------------------------------------------------------------------------------------------------

    def deliver(self, job: int, data: memoryview, done: Callable[[], None]) -> None:
        """Queue the bytes of a tile for decoding; never blocks. A call is served by as many decode threads as it can use."""
        self._inbox.append((job, data, done))
        pool = decode_pool()
        with self._changed:
            if self._n_serving >= pool.n_threads:
                return
            self._n_serving += 1
        pool.serve(self)

    def fail(self, job: int, error: Exception) -> None:
        """Note that a tile could not be fetched or decoded."""
        uses = range(self._first_use[job], self._first_use[job + 1])
        self.failed += [(self._use_read[use], self._use_tile[use], error) for use in uses]
        self._finish(1, stop=self._stop_at_failure)

    # -- decode threads -----------------------------------------------------------------------------------------------

    def serve(self, scratch: Scratch) -> bool:
        """Decode some of the tiles that arrived; return whether a thread must serve this call again."""
        n_placed, n_compressed, n_bytes, seconds = 0, 0, 0, 0.0
        for _ in range(_TILES_PER_TURN):
            try:
                job, data, done = self._inbox.popleft()
            except IndexError:
                break
            started = time.perf_counter()
            try:
                if not self._closed:
                    n_bytes += self._decode(job, data, scratch)
                    n_placed += 1
                n_compressed += len(data)
            except FileFormatError as error:
                self.fail(job, error)
            except BaseException as error:  # noqa: BLE001 - a fault of ours must reach the caller, not end this thread
                self._fault = self._fault or error
                self._finish(0, stop=True)
            finally:
                del data
                done()
            seconds += time.perf_counter() - started
        record(decode_s=seconds, decoded_tiles=n_placed, decoded_bytes=n_bytes)
        if n_placed:
            decode_pool().observe(n_compressed, seconds)
        with self._changed:
            more = bool(self._inbox)
            if not more:
                self._n_serving -= 1
        if n_placed:
            self._finish(n_placed, n_bytes=n_compressed, stop=False)
        return more

    def _finish(self, n_tiles: int, *, stop: bool, n_bytes: int = 0) -> None:
        with self._changed:
            self._n_left -= n_tiles
            self._n_bytes += n_bytes
            self._closed = self._closed or stop
            if self._closed or not self._n_left:
                self._changed.notify_all()

    def _decode(self, job: int, data: memoryview, scratch: Scratch) -> int:
        """Decode one tile once for all its uses; return the bytes decoded.

        Two indexes of one file that disagree use a tile through two codecs; then each codec decodes the tile on its own.
        """
        n_bytes, first, end = 0, self._first_use[job], self._first_use[job + 1]
        while first < end:
            stop = first + 1
            while stop < end and self._use_codec[stop] == self._use_codec[first]:
                stop += 1
            n_bytes += self._decode_uses(range(first, stop), data, scratch)
            first = stop
        return n_bytes

    def _decode_uses(self, uses: range, data: memoryview, scratch: Scratch) -> int:
        wants = [(self._targets[self._use_read[use]], self._use_tile[use]) for use in uses]
        target, tile = wants[0]
        rows: slice | Ints
        row_start: int | None
        if target.rows is not None and all(one.rows is target.rows and other == tile for one, other in wants[1:]):
            # Points, the same ones for all bands: only their rows.
            rows, row_start, col_stop = target.wanted_rows(tile), None, target.col_stop[tile]
        else:
            row_start = min(one.row_start[other] for one, other in wants)
            rows = slice(row_start, max(one.row_stop[other] for one, other in wants))
            col_stop = max(one.col_stop[other] for one, other in wants)
        tile_rows = max(self._use_tile_rows[use] for use in uses)
        codec = self._codecs[self._use_codec[uses.start]]
        pixels = codec.decode(data, scratch, rows=rows, col_stop=col_stop, tile_rows=tile_rows)
        for one, other in wants:
            one.place(other, pixels, row_start)
        return pixels.nbytes


class DecodePool:
    """The decode threads of this process: daemon threads, one per usable core, each with its own scratch buffers."""

    def __init__(self) -> None:
        self.n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._seconds = self._n_compressed = 0.0
        self._calls: SimpleQueue[DecodeCall] = SimpleQueue()
        self.serve = self._calls.put
        for index in range(self.n_threads):
            threading.Thread(target=self._work, name=f"polars_rasteret decode {index}", daemon=True).start()

    def observe(self, n_compressed: int, seconds: float) -> None:
        """Note how long the decoding of some tiles took; older times count less and less.

        Without a lock: a race between threads loses one note, and nothing else.
        """
        self._seconds = _FORGET * self._seconds + seconds
        self._n_compressed = _FORGET * self._n_compressed + n_compressed

    def seconds_for(self, n_compressed: int) -> float | None:
        """Return the expected seconds for all threads to decode so many bytes; None before the first tile."""
        return self._seconds / self._n_compressed * n_compressed / self.n_threads if self._n_compressed else None

    def _work(self) -> None:
        scratch = Scratch()
        while True:
            call = self._calls.get()
            if call.serve(scratch):
                self._calls.put(call)
            del call


_pool: DecodePool | None = None
_pool_lock = threading.Lock()


def decode_pool() -> DecodePool:
    """Return the decode threads of this process."""
    global _pool  # noqa: PLW0603 - one per process
    if _pool is None:
        with _pool_lock:
            if _pool is None:
                _pool = DecodePool()
    return _pool


def decoding_s(n_compressed: int, n_decoded: int) -> float:
    """Return the expected seconds to decode so many bytes, by the rate that this process has seen."""
    pool = decode_pool()
    seconds = pool.seconds_for(n_compressed)
    return n_decoded / _DECODED_BYTES_PER_S / pool.n_threads if seconds is None else seconds


def _start_over() -> None:
    """Forget the pool in a forked child: its threads are gone, and its lock may be held by a thread that is gone."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)
