"""What are the pixels of a cube in a block: some bands, some steps, and a window of the common grid?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.cubes.candidates import candidates_of, left_open, rounds
from polars_rasteret.cubes.cells import small_cells, tile_borders, tile_cells
from polars_rasteret.cubes.kept_blocks import bands_in_same_tiles
from polars_rasteret.cubes.layers import CubeRead, raw_or_unscaled
from polars_rasteret.cubes.masked_layers import read_masked_layers
from polars_rasteret.cubes.mosaics import mosaic_of
from polars_rasteret.cubes.stack import CHOOSING_MOSAICS
from polars_rasteret.engine import dry_run_log
from polars_rasteret.errors import UsageError
from polars_rasteret.pixels.reading import add_reason, add_reasons
from polars_rasteret.plan.batches import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.cubes.candidates import Candidates
    from polars_rasteret.cubes.stack import Stack

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

_SOURCE_SHARE = 0.8
"""Share of the memory that the source pixels of a cell may take, without those around it."""

Window = tuple[int, int, int, int]
"""``row_start, row_stop, col_start, col_stop`` on the common grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Pixels of some bands."""

    values: dict[str, NDArray[Any]]
    """By band, in `Stack.dtype`; shape (n_steps, height, width). `Stack.fill` where nothing is valid."""
    valid: dict[str, NDArray[np.bool_]]
    """By band, like `values`: which pixels have a value of a record. Counts have one everywhere."""
    errors: dict[int, str] = field(default_factory=dict)
    """With ``on_error="null"``, the reasons of failed reads by record of the stack. Other records fill these pixels."""


def read_block(stack: Stack, bands: Sequence[str], steps: Sequence[int] | Ints, window: Window) -> Block:
    """Read a block of a cube: the pixels of some bands and steps in a window of the common grid.

    Only tiles that the window needs are read, of all bands and steps together where memory allows. ``first_valid`` and
    ``last_valid`` read the next record of a step only where pixels are left open, tile by tile. Where ``valid=`` is false, a
    record fills no band. Else each band is filled by itself, so two bands of a pixel may come from different records.

    Parameters
    ----------
    stack
        The stack.
    bands
        Some of its bands.
    steps
        Time steps, in any order.
    window
        ``row_start, row_stop, col_start, col_stop`` on the common grid.

    Raises
    ------
    UsageError
        For a window that is not within the common grid, and for what cannot be resampled.
    BudgetError, FetchError, FileFormatError
        As the engine raises them; with ``on_error="null"`` failures are in `Block.errors`.
    """
    key = ("block", np.asarray(steps, np.int64).tobytes(), tuple(window))
    n_pixels = len(steps) * (window[1] - window[0]) * (window[3] - window[2])
    return read_together(
        stack, bands, key, n_pixels, lambda asked, more: _BlockReader(stack, asked, more, steps, window).read()
    )


def read_together(
    stack: Stack,
    bands: Sequence[str],
    key: Hashable,
    n_pixels: int,
    read: Callable[[Sequence[str], Sequence[str]], tuple[Block, Sequence[str]]],
) -> Block:
    """Read bands, and with them those that lie in the same tiles: a later read of these finds them.

    Parameters
    ----------
    stack, bands
        The stack, and the bands asked for.
    key
        Steps and place of the read.
    n_pixels
        Pixels of a band.
    read
        ``read(bands, more)``: the block of both, and those of `more` that are read in whole.
    """
    taken = {name: found for name in bands if (found := stack.kept.take((name, key))) is not None}
    missing = [name for name in bands if name not in taken]
    more: list[str] = []
    if missing and stack.options.dry_run is None:
        more = bands_in_same_tiles(stack.images, missing, stack.bands)
        more = [name for name in more if name not in taken]
        if n_pixels * sum(stack.dtype(name).itemsize + 1 for name in more) > stack.kept.max_bytes:
            more = []
    values, valid, errors = {}, {}, {}
    if missing:
        block, whole = read(missing, more)
        values, valid, errors = block.values, block.valid, dict(block.errors)
        for name in whole:
            stack.kept.put((name, key), (values[name], valid[name], block.errors))
    for name, (pixels, is_valid, reasons) in taken.items():
        values[name], valid[name] = pixels, is_valid
        add_reasons(errors, reasons)
    return Block(
        values={name: values[name] for name in bands}, valid={name: valid[name] for name in bands}, errors=errors
    )


class _BlockReader:
    """Reads one block."""

    def __init__(
        self,
        stack: Stack,
        asked: Sequence[str],
        more: Sequence[str],
        steps: Sequence[int] | Ints,
        window: Window,
    ) -> None:
        check_window(stack, window)
        self.stack, self.asked, self.more, self.window = stack, tuple(asked), tuple(more), window
        self.bands = (*self.asked, *self.more)
        self.steps = np.asarray(steps, np.int64).reshape(-1)
        self.images, self.options = stack.images_to_read(self.steps, window), stack.options.begun()
        self.call = CubeRead(stack, self.images, self.options)
        shape = (len(self.steps), window[1] - window[0], window[3] - window[2])
        # A dry run knows no pixel: one zero in all places takes no memory, however large the block.
        self.values = {
            name: np.full(shape, stack.fill(name), stack.dtype(name))
            if self.options.dry_run is None
            else np.broadcast_to(np.zeros((), stack.dtype(name)), shape)
            for name in self.bands
        }
        self.valid = {
            name: np.zeros(shape, np.bool_)
            if self.options.dry_run is None
            else np.broadcast_to(np.zeros((), np.bool_), shape)
            for name in self.bands
        }
        self.errors: dict[int, str] = {}

    def read(self) -> tuple[Block, list[str]]:
        """Return the block, and the further bands that are read in whole."""
        self.incomplete: set[str] = set()
        names = dict.fromkeys([*self.bands, *self.stack.mask_bands])
        self.pixel_bytes = sum(self.stack.pixel_dtype(name).itemsize + 1 for name in names)
        if self.values and all(one.size for one in self.values.values()):
            if self.stack.mosaic in CHOOSING_MOSAICS:
                self._read_chosen()
            else:
                self._read_all()
        if self.stack.mosaic == "count" and self.options.dry_run is None:
            for valid in self.valid.values():
                valid[...] = True
        block = Block(values=self.values, valid=self.valid, errors=self.errors)
        return block, [name for name in self.more if name not in self.incomplete]

    def _read_chosen(self) -> None:
        """Fill the block round by round: each place that is open asks its next record."""
        cells = np.array([self.window], np.int64)
        found = candidates_of(self.stack, self.images, self.bands, self.steps, cells)
        borders = tile_borders(self.images, np.unique(found.record), self.window)
        if self.stack.mask_bands or np.diff(found.start).max(initial=0) > 1:
            cells = tile_cells(self.window, borders)
        cells = np.concatenate([self._small_cells(tuple(cell), borders, 1) for cell in cells.tolist()])
        if len(cells) > 1:
            found = candidates_of(self.stack, self.images, self.bands, self.steps, cells)
        if self.options.dry_run is not None:
            is_upper = bool(np.diff(found.start).max(initial=0) > 1)
            self._log_all(found, cells, is_upper=is_upper)
            return
        is_open = {name: np.diff(found.start) > 0 for name in self.bands}
        for places, records in rounds(found, is_open, self.asked):
            for part in self._batches(cells[places % len(cells)]):
                self._fill(places[part], records[part], cells, is_open)
        self.incomplete = left_open(found, is_open, self.asked)

    def _fill(self, places: Ints, records: Ints, cells: Ints, is_open: dict[str, Booleans]) -> None:
        """Fill what is open in some places, from one record each."""
        number, cell = np.divmod(places, len(cells))
        windows = cells[cell]
        targets = [self._target(step, window) for step, window in zip(number.tolist(), windows.tolist(), strict=True)]

        def leaves_any(band: str, row: int, accepted: Booleans) -> bool:
            # Bands that are read for later cost no tile of their own.
            for name in (band,) if band in self.asked else self.asked:
                valid = self.valid[name][targets[row]]
                if wanted[name][row] and (accepted.reshape(valid.shape) & ~valid).any():
                    return True
            return False

        wanted = {name: is_open[name][places] for name in self.bands}
        layers, reasons = read_masked_layers(self.call, (records, windows), wanted, leaves_any)
        self._note(reasons, records)
        for name, layer in layers.items():
            values, valid = self.values[name], self.valid[name]
            for row, target in enumerate(targets):
                if not wanted[name][row] or (pixels := layer.row(row)) is None:
                    continue
                filled = valid[target]
                new = pixels[1].reshape(filled.shape)
                raw = raw_or_unscaled(self.call, name, int(records[row]), pixels[0])
                # Nothing is filled yet in the first round: the mask is that of the record.
                np.copyto(values[target], raw.reshape(filled.shape), where=new & ~filled, casting="same_kind")
                filled |= new
                is_open[name][places[row]] = not filled.all()

    def _read_all(self) -> None:
        """Reduce all records of each step, in windows and runs of steps that the memory allows."""
        whole = np.array([self.window], np.int64)
        found = candidates_of(self.stack, self.images, self.bands, self.steps, whole)
        borders = tile_borders(self.images, np.unique(found.record), self.window)
        extra = 8 if self.stack.mosaic == "median" else 0
        cells = self._small_cells(self.window, borders, int(np.diff(found.start).max(initial=1)), extra)
        found = candidates_of(self.stack, self.images, self.bands, self.steps, cells)
        if self.options.dry_run is not None:
            self._log_all(found, cells, is_upper=False)
            return
        count = np.diff(found.start)
        window = cells[np.arange(len(count)) % len(cells)]
        size = (window[:, 1] - window[:, 0]) * (window[:, 3] - window[:, 2]) * (self.pixel_bytes + extra)
        for part in batches_of(size * count, max_bytes=self.options.max_answer_bytes, ramps_up=False):
            entries = slice(int(found.start[part.start]), int(found.start[part.stop]))
            if entries.start < entries.stop:
                self._reduce(found.place[entries], found.record[entries], cells)

    def _reduce(self, places: Ints, records: Ints, cells: Ints) -> None:
        every = dict.fromkeys(self.bands, np.ones(len(records), np.bool_))
        layers, reasons = read_masked_layers(
            self.call,
            (records, cells[places % len(cells)]),
            every,
            lambda *args: bool(args[2].any()),
        )
        self._note(reasons, records)
        first = np.flatnonzero(np.diff(places, prepend=-1))
        for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(places)], strict=True):
            number, cell = divmod(int(places[start]), len(cells))
            target = self._target(number, cells[cell].tolist())
            for name, layer in layers.items():
                stacked = [
                    (raw_or_unscaled(self.call, name, int(records[row]), pixels[0]), pixels[1])
                    for row in range(start, stop)
                    if (pixels := layer.row(row)) is not None
                ]
                if stacked:
                    values, valid = (
                        one.reshape(self.valid[name][target].shape) for one in mosaic_of(stacked, self.stack.mosaic)
                    )
                    np.copyto(self.values[name][target], values, where=valid, casting="same_kind")
                    self.valid[name][target] = valid

    def _log_all(self, found: Candidates, cells: Ints, *, is_upper: bool) -> None:
        """Write down the reads of all records, as a dry run."""
        assert self.options.dry_run is not None
        if is_upper or self.stack.valid is not None:
            dry_run_log(self.options.dry_run).name_records((), are_chosen=True)
        place = found.place
        for part in self._batches(cells[place % len(cells)]):
            windows = cells[place[part] % len(cells)]
            every = dict.fromkeys(self.bands, np.ones(len(windows), np.bool_))
            read_masked_layers(self.call, (found.record[part], windows), every, lambda *_: True)

    def _batches(self, windows: Ints) -> list[slice]:
        """Return runs of rows whose windows the memory allows to read at once."""
        size = (windows[:, 1] - windows[:, 0]) * (windows[:, 3] - windows[:, 2]) * self.pixel_bytes
        return list(batches_of(size, max_bytes=self.options.max_answer_bytes, ramps_up=False))

    def _small_cells(self, window: Window, borders: tuple[Ints, Ints], n_records: int, extra: int = 0) -> Ints:
        """Return cells of a window, each so small that `n_records` of them may be in memory."""
        most = self.options.max_answer_bytes
        # Source pixels of one record and band are in memory at a time, with what a kernel needs around them.
        source_bytes = max(
            self.images.most_source_pixels(name) * (self.stack.pixel_dtype(name).itemsize + 1) for name in self.bands
        )
        most_pixels = min(most / (self.pixel_bytes + extra) / max(n_records, 1), _SOURCE_SHARE * most / source_bytes)
        return small_cells(window, borders, most_pixels)

    def _target(self, step: int, window: Sequence[int]) -> tuple[int, slice, slice]:
        """Return the place of a window in the arrays of the block."""
        first_row, first_col = self.window[0], self.window[2]
        rows = slice(window[0] - first_row, window[1] - first_row)
        return step, rows, slice(window[2] - first_col, window[3] - first_col)

    def _note(self, reasons: dict[int, str], records: Ints) -> None:
        for row, reason in reasons.items():
            add_reason(self.errors, int(records[row]), reason)


def check_window(stack: Stack, window: Window) -> None:
    """Raise `UsageError` when a window is not within the common grid."""
    grid, (row_start, row_stop, col_start, col_stop) = stack.grid, window
    if not (0 <= row_start <= row_stop <= grid.height and 0 <= col_start <= col_stop <= grid.width):
        raise UsageError(f"window {window} is not within the common grid of {grid.height} x {grid.width} pixels")
