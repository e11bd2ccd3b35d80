"""What are the pixels of a cube at single places: some bands and steps, at rows and columns that need not form a window?

Only the tiles of these pixels are read. Where the nearest pixel of an image is asked for, all are read at once as points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.assemble.resample import ON_BORDER
from polars_rasteret.cubes.blocks import Block, check_window, read_together
from polars_rasteret.cubes.candidates import candidates_of, left_open, rounds
from polars_rasteret.cubes.layers import ADVICE, CubeRead, read_layers
from polars_rasteret.cubes.masked_layers import mask_of
from polars_rasteret.cubes.mosaics import mosaic_of
from polars_rasteret.cubes.stack import CHOOSING_MOSAICS
from polars_rasteret.engine import WindowRead, dry_run_log, read_windows
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates
from polars_rasteret.grids.reprojection import positions_of
from polars_rasteret.pixels.rasters.raster_faults import tell_faults
from polars_rasteret.pixels.reading import add_reason, add_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.cubes.candidates import Candidates
    from polars_rasteret.cubes.stack import Stack

    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]
    Pixels = tuple[NDArray[Any], Booleans]
    """Value and validity of each row."""

_ROWS_AT_ONCE = 1_000_000
"""Pixels of records that are read at a time; records are not divided, so that a tile is read once."""


def read_points(stack: Stack, bands: Sequence[str], steps: Sequence[int] | Ints, rows: Ints, cols: Ints) -> Block:
    """Read pixels of a cube at single places; each equals the pixel of `read_block`.

    Parameters
    ----------
    stack, bands, steps
        As in `read_block`.
    rows, cols
        Rows and columns of the common grid, shape (n_points,).

    Returns
    -------
    Block
        Arrays of shape (n_steps, n_points).

    Raises
    ------
    UsageError, BudgetError, FetchError, FileFormatError
        As `read_block` raises them.
    """
    places = np.stack([np.asarray(rows, np.int64), np.asarray(cols, np.int64)])
    key = ("points", np.asarray(steps, np.int64).tobytes(), places.tobytes())
    n_pixels = len(steps) * places.shape[1]
    return read_together(
        stack, bands, key, n_pixels, lambda asked, more: _PointReader(stack, asked, more, steps, places).read()
    )


class _PointReader:
    """Reads pixels at some places of the common grid."""

    def __init__(
        self, stack: Stack, asked: Sequence[str], more: Sequence[str], steps: Sequence[int] | Ints, places: Ints
    ) -> None:
        row, col = places
        if len(row):
            check_window(stack, (int(row.min()), int(row.max()) + 1, int(col.min()), int(col.max()) + 1))
        self.stack, self.asked, self.more = stack, tuple(asked), tuple(more)
        self.bands = (*self.asked, *self.more)
        self.steps = np.asarray(steps, np.int64).reshape(-1)
        self.call = CubeRead(stack, stack.images_to_read(self.steps), stack.options.begun())
        self.cells = np.stack([row, row + 1, col, col + 1], axis=1)
        self.errors: dict[int, str] = {}
        self._known: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def read(self) -> tuple[Block, list[str]]:
        """Return the pixels of all steps and points, and the further bands that are read in whole."""
        self.incomplete: set[str] = set()
        n_places = len(self.steps) * len(self.cells)
        values = {name: np.full(n_places, self.stack.fill(name), self.stack.dtype(name)) for name in self.bands}
        valid = {name: np.zeros(n_places, np.bool_) for name in self.bands}
        if n_places and self.bands:
            found = candidates_of(self.stack, self.call.images, self.bands, self.steps, self.cells)
            if self.call.options.dry_run is not None:
                self._log_all(found)
            elif self.stack.mosaic in CHOOSING_MOSAICS:
                self._read_chosen(found, values, valid)
            else:
                self._read_all(found, values, valid)
        if self.stack.mosaic == "count":
            valid = {name: np.ones(n_places, np.bool_) for name in self.bands}
        shape = len(self.steps), len(self.cells)
        block = Block(
            values={name: one.reshape(shape) for name, one in values.items()},
            valid={name: one.reshape(shape) for name, one in valid.items()},
            errors=self.errors,
        )
        return block, [name for name in self.more if name not in self.incomplete]

    def _read_chosen(self, found: Candidates, values: dict[str, NDArray[Any]], valid: dict[str, Booleans]) -> None:
        is_open = {name: np.diff(found.start) > 0 for name in self.bands}
        for places, records in rounds(found, is_open, self.asked):
            for part in self._parts(records):
                its_places = places[part]
                pixels = self._masked(
                    records[part], its_places, {name: is_open[name][its_places] for name in self.bands}
                )
                for name, (raw, is_valid) in pixels.items():
                    new = its_places[is_valid]
                    values[name][new] = raw[is_valid]
                    valid[name][new] = True
                    is_open[name][new] = False
        self.incomplete = left_open(found, is_open, self.asked)

    def _read_all(self, found: Candidates, values: dict[str, NDArray[Any]], valid: dict[str, Booleans]) -> None:
        every, place = np.ones(len(found.record), np.bool_), found.place
        pixels: dict[str, list[Pixels]] = {name: [] for name in self.bands}
        order = np.argsort(found.record, kind="stable")  # a tile belongs to one record
        for part in self._parts(found.record[order]):
            rows = order[part]
            for name, one in self._masked(
                found.record[rows], place[rows], dict.fromkeys(self.bands, every[rows])
            ).items():
                pixels[name].append(one)
        rank = (np.arange(len(place)) - found.start[place])[order]
        place = place[order]
        for name, parts in pixels.items():
            if not parts:
                continue
            raw, is_valid = (np.concatenate([one[at] for one in parts]) for at in (0, 1))
            layers = []
            for number in range(int(rank.max()) + 1):
                layer = np.zeros(len(values[name]), raw.dtype), np.zeros(len(values[name]), np.bool_)
                is_its = rank == number
                layer[0][place[is_its]], layer[1][place[is_its]] = raw[is_its], is_valid[is_its]
                layers.append(layer)
            mosaic, has_value = mosaic_of(layers, self.stack.mosaic)
            np.copyto(values[name], mosaic, where=has_value, casting="same_kind")
            valid[name] |= has_value

    def _log_all(self, found: Candidates) -> None:
        """Write down the reads of all records, as a dry run."""
        assert self.call.options.dry_run is not None
        is_upper = self.stack.mosaic in CHOOSING_MOSAICS and bool((np.diff(found.start) > 1).any())
        if is_upper or self.stack.valid is not None:
            dry_run_log(self.call.options.dry_run).name_records((), are_chosen=True)
        every = np.ones(len(found.record), np.bool_)
        names = dict.fromkeys([*self.stack.mask_bands, *self.bands])
        self._pixels(found.record, found.place, dict.fromkeys(names, every))

    def _masked(self, records: Ints, places: Ints, wanted: Mapping[str, Booleans]) -> dict[str, Pixels]:
        """Return pixels of records at places, unscaled where that is asked for; not valid where ``valid=`` is false."""
        known: dict[str, Pixels] = {}
        if self.stack.mask_bands:
            every = np.ones(len(records), np.bool_)
            known = self._pixels(records, places, dict.fromkeys(self.stack.mask_bands, every))
            accepted = mask_of(self.stack).of_pixels(records, known)
            asked = np.any([wanted[name] for name in self.asked], axis=0)
            # Bands that are read for later cost no tile of their own.
            wanted = {name: which & accepted & (asked if name in self.more else True) for name, which in wanted.items()}
            known = {name: (raw, is_valid & accepted) for name, (raw, is_valid) in known.items()}
        others = {name: which for name, which in wanted.items() if name not in known}
        known |= self._pixels(records, places, others) if others else {}
        result = {}
        for name in wanted:
            raw, is_valid = known[name]
            if name in self.stack.unscale:
                scale, offset = self.call.images.scales[name]
                raw = raw * scale[records] + offset[records]
            result[name] = raw, is_valid & wanted[name]
        return result

    def _pixels(self, records: Ints, places: Ints, wanted: Mapping[str, Booleans]) -> dict[str, Pixels]:
        """Read raw pixels of records at places."""
        point = places % len(self.cells)
        nearest = [name for name in wanted if self.stack.method(name) == "nearest"]
        result: dict[str, Pixels] = {}
        faults: dict[int, str] = {}
        reads = []
        for name in nearest:
            read, its_faults = self._point_read(name, records, point, wanted[name])
            add_reasons(faults, its_faults)
            reads.append(read)
        answers = read_windows(reads, self.call.options, advice=ADVICE, spending=self.stack.spending) if reads else []
        for name, answer in zip(nearest, answers, strict=True):
            assert answer.valid is not None
            result[name] = answer.values, answer.valid
            add_reasons(faults, answer.errors)
        if others := {name: which for name, which in wanted.items() if name not in nearest}:
            layers, reasons = read_layers(self.call, (records, self.cells[point]), others)
            add_reasons(faults, reasons)
            for name, layer in layers.items():
                is_read = np.diff(layer.offset) > 0
                raw, is_valid = np.zeros(len(records), layer.values.dtype), np.zeros(len(records), np.bool_)
                raw[is_read], is_valid[is_read] = layer.values, layer.valid
                result[name] = raw, is_valid
        for row, reason in faults.items():
            add_reason(self.errors, int(records[row]), reason)
        return {name: result[name] for name in wanted}

    def _point_read(self, name: str, records: Ints, point: Ints, wanted: Booleans) -> tuple[WindowRead, dict[int, str]]:
        """Return the read of the nearest pixel of each row in one band, and the reasons of rows that cannot be read."""
        images = self.call.images
        column = images.columns[name]
        reference = np.where(wanted, column.reference_id[records], -1)
        row, col = np.zeros(len(records), np.int64), np.zeros(len(records), np.int64)
        is_inside, level = np.zeros(len(records), np.bool_), np.zeros(len(records), np.int64)
        is_broken = np.isin(reference, list(column.faults))
        for one in np.unique(reference[(reference >= 0) & ~is_broken]).tolist():
            at, its_level = np.flatnonzero(reference == one), int(images.levels[name][one])
            full, image = (column.references[one].tiles.images[number] for number in (0, its_level))
            positions = self._positions(int(column.grids.grid_id[one]), name, one)
            down = _pixel(positions[0][point[at]] * (image.height / full.height))
            across = _pixel(positions[1][point[at]] * (image.width / full.width))
            row[at], col[at], level[at] = down, across, its_level
            is_inside[at] = (down >= 0) & (down < image.height) & (across >= 0) & (across < image.width)
        faults = {row: column.faults[int(reference[row])] for row in np.flatnonzero(is_broken).tolist()}
        ones = np.ones(len(records), np.int64)
        read = WindowRead(
            label=name,
            references=column.references,
            reference_id=np.where(is_inside, reference, -1),
            row_start=np.where(is_inside, row, 0),
            col_start=np.where(is_inside, col, 0),
            height=ones,
            width=ones,
            level=level if level.any() else 0,
            dtype=column.dtype,
        )
        return read, tell_faults(faults, on_error=self.call.options.on_error)

    def _parts(self, records: Ints) -> Iterator[slice]:
        """Yield runs of rows that are read together, cut between records where these are sorted."""
        names = {*self.bands, *self.stack.mask_bands}
        row_bytes = sum(self.stack.pixel_dtype(name).itemsize + 1 for name in names)
        most = max(min(_ROWS_AT_ONCE, self.call.options.max_answer_bytes // row_bytes), 1)
        start = 0
        while start < len(records):
            stop = min(start + most, len(records))
            if stop < len(records):
                border = int(np.searchsorted(records[start:stop], records[stop - 1])) + start
                stop = border if start < border < stop else stop
            yield slice(start, stop)
            start = stop

    def _positions(self, grid_id: int, name: str, reference: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the positions of all points in an image, in pixels of full resolution; computed once per pixel grid."""
        if grid_id not in self._known:
            grid, image = self.stack.grid, self.call.images.columns[name].grids.grid(reference)
            row, col = self.cells[:, [0, 2]].astype(np.float64).T + 0.5
            x, y = map_coordinates(np.array(grid.transform), row, col)
            self._known[grid_id] = positions_of(grid.crs, x, y, image)
        return self._known[grid_id]


def _pixel(position: NDArray[np.float64]) -> Ints:
    """Return the pixel that holds each position; one that lies on a border but for rounding belongs to the next pixel."""
    position = np.where(np.isfinite(position), position, -1.0)
    whole = np.round(position)
    snapped = np.where(np.abs(position - whole) <= BORDER_TOLERANCE_PX, whole, position)
    return np.floor(np.clip(snapped + ON_BORDER, -1.0, 2.0**40)).astype(np.int64)
