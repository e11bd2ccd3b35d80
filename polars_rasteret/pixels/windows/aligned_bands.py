"""Which windows are resampled, onto which grid and with which method?

With `grid`, all answers of a row share a grid. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.grids.answer_grids import AnswerGrids, answer_grids
from polars_rasteret.grids.choosing import FINEST
from polars_rasteret.grids.source_windows import SourceWindows, source_windows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandRows


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedBand:
    """One band, the grids of its answers, and the windows that are read for them."""

    rows: BandRows
    grids: AnswerGrids
    method: str
    sources: SourceWindows

    def source_bytes(self) -> NDArray[np.int64]:
        """Return the bytes of each row's source pixels, which take memory beside the answer."""
        pixel_bytes = self.rows.column.dtype.itemsize + 1
        return np.where(self.sources.is_answer, 0, self.sources.n_pixels() * pixel_bytes)


def aligned_bands(
    bands: Sequence[BandRows],
    *,
    grid: str | None,
    shape: tuple[int, int] | None,
    resolution: tuple[float, float] | None,
    methods: Mapping[str, str],
) -> list[AlignedBand]:
    """Return each band with the grids of its answers and the windows read for them.

    Parameters
    ----------
    bands
        Bands with the same rows.
    grid, shape, resolution
        As in `answer_grids`; without `grid`, each band keeps its own grid.
    methods
        Resampling method by band; nearest for bands without an entry.
    """
    if grid is None:
        grids = [answer_grids([band], FINEST, shape=shape, resolution=resolution) for band in bands]
    else:
        grids = [answer_grids(bands, grid, shape=shape, resolution=resolution)] * len(bands)
    return bands_on_grids(bands, grids, methods)


def bands_on_grids(
    bands: Sequence[BandRows], grids: Sequence[AnswerGrids], methods: Mapping[str, str]
) -> list[AlignedBand]:
    """Return each band with the given grids of its answers; as `aligned_bands`, which chooses the grids."""
    result = []
    for band, its_grids in zip(bands, grids, strict=True):
        method = methods.get(band.name, "nearest")
        sources = source_windows(band, its_grids, method)
        result.append(AlignedBand(rows=band, grids=its_grids, method=method, sources=sources))
    return result


def are_answers(bands: Sequence[AlignedBand]) -> bool:
    """Return whether all answers are the windows of the bands: nothing is resampled."""
    for band in bands:
        sources, windows = band.sources, band.rows.windows
        at = np.flatnonzero(sources.is_read)
        if (
            sources.faults
            or not sources.is_answer[at].all()
            or any(
                not np.array_equal(getattr(sources, name)[at], getattr(windows, name)[at])
                for name in ("row_start", "col_start", "height", "width")
            )
        ):
            return False
    return True
