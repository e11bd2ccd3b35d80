"""How are the pixels around points read, for bands on one grid or on several?

A patch is a square of pixels per row. A band on another grid than the patch is resampled by nearest neighbour: each pixel of the
patch gets the band's pixel at its centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from polars_rasteret.engine import WindowRead, read_windows
from polars_rasteret.geo.affine import BORDER_TOLERANCE_PX, map_coordinates
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.geo.points import Points
from polars_rasteret.grids.windows import windows_of_points
from polars_rasteret.pixels.rasters.raster_faults import placing_fault
from polars_rasteret.pixels.reading import BandRows, add_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending
    from polars_rasteret.options import ReadOptions

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPositions:
    """Positions of patches: their rows of the batch, and the first pixel of each patch on a grid."""

    grid: BandRows
    """Band on whose grid the patches lie."""
    rows: Ints
    row_start: Ints
    col_start: Ints

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, index: NDArray[Any]) -> PatchPositions:
        """Return some of the patches."""
        return PatchPositions(
            grid=self.grid, rows=self.rows[index], row_start=self.row_start[index], col_start=self.col_start[index]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Pixels of one band, shape ``(n, size, size)``."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRead:
    """Patches that are read of one band."""

    band: BandRows
    positions: PatchPositions
    size: int
    is_on_grid: bool
    """Whether the band lies on the grid of the patches in all these rows."""
    is_wanted: NDArray[np.bool_]
    """Rows of the batch that may have a pixel of this band; in other rows the whole patch is null."""

    def window_read(self) -> WindowRead:
        """Return the read of these patches, as the engine takes it."""
        positions, size = self.positions, self.size
        rows = positions.rows
        reference_id = np.where(self.is_wanted[rows], self.band.reference_id[rows], -1)
        row_start, col_start = positions.row_start, positions.col_start
        if not self.is_on_grid:
            reference_id, row_start, col_start = self._pixels_at_centres(reference_id)
            size = 1
        side = np.broadcast_to(np.int64(size), len(reference_id))
        return WindowRead(
            label=self.band.column.name,
            references=self.band.column.references,
            reference_id=reference_id,
            row_start=row_start,
            col_start=col_start,
            height=side,
            width=side,
            dtype=self.band.column.dtype,
            want_valid=True,
        )

    def _pixels_at_centres(self, reference_id: Ints) -> tuple[Ints, Ints, Ints]:
        """Return reference, row and column of this band's pixel at the centre of each pixel of the patches."""
        grid, positions, size = self.positions.grid, self.positions, self.size
        n_pixels = size * size
        across = np.arange(n_pixels)
        row = (positions.row_start[:, None] + across // size).ravel().astype(np.float64) + 0.5
        col = (positions.col_start[:, None] + across % size).ravel().astype(np.float64) + 0.5
        repeated = np.repeat(reference_id, n_pixels)
        patch_grids = grid.grids.taken(np.repeat(positions.rows, n_pixels))
        x, y = map_coordinates(patch_grids.transform, row, col)
        row_at = np.full(len(repeated), -1, np.int64)
        col_at = np.full(len(repeated), -1, np.int64)
        columns = patch_grids.table.columns
        crs_id = columns.crs_id[patch_grids.grid_id]
        for one in np.unique(crs_id[repeated >= 0]).tolist():
            chosen = np.flatnonzero((crs_id == one) & (repeated >= 0))
            centres = Points(x, y, columns.crs_names[one] or NATIVE)
            self._refuse_unplaced(repeated[chosen], centres.crs)
            found = windows_of_points(self.band.column.grids_of(repeated[chosen]), centres, chosen, exactly=True)
            assert found.at_row is not None
            assert found.at_col is not None
            # Centres of coarse pixels fall on corners of finer ones, give or take a rounding error.
            has_place = np.isfinite(found.at_row) & np.isfinite(found.at_col)
            has_place &= (np.abs(found.at_row) < 2**31) & (np.abs(found.at_col) < 2**31)
            here = chosen[has_place]
            row_at[here] = np.floor(found.at_row[has_place] + BORDER_TOLERANCE_PX)
            col_at[here] = np.floor(found.at_col[has_place] + BORDER_TOLERANCE_PX)
        return repeated, row_at, col_at

    def _refuse_unplaced(self, reference_id: Ints, crs: str) -> None:
        """Raise when patches have a CRS and a raster has none: coordinates cannot be placed in that raster."""
        column = self.band.column
        for reference in np.unique(reference_id).tolist() if crs != NATIVE else ():
            if column.grids.crs[reference] is None and reference not in column.unplaced:
                fault = placing_fault(
                    column.name, column.references[reference].href, None, column.grids.transform[reference], crs
                )
                assert fault is not None
                raise fault


def read_patches(
    reads: Sequence[PatchRead], options: ReadOptions, *, advice: str, spending: Spending | None
) -> tuple[list[Patch], dict[int, str]]:
    """Return the patches of several bands, read together.

    Returns
    -------
    patches
        Patches of each read.
    errors
        Reasons by row of the batch, with ``on_error="null"``.
    """
    answers = read_windows([one.window_read() for one in reads], options, advice=advice, spending=spending)
    patches = []
    errors: dict[int, str] = {}
    for one, answer in zip(reads, answers, strict=True):
        shape = (len(one.positions), one.size, one.size)
        assert answer.valid is not None
        patches.append(Patch(values=answer.values.reshape(shape), valid=answer.valid.reshape(shape)))
        windows_per_row = len(answer.offset[1:]) // max(1, len(one.positions))
        for window, reason in answer.errors.items():
            add_reason(errors, int(one.positions.rows[window // windows_per_row]), reason)
    return patches, errors
