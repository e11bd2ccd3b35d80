"""Which windows are resampled, and by what method do the bands of a row come onto its grid?

The answers of a row share a grid where `grid` says so. Nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.assemble.places import METHODS_AT_PLACES
from polars_rasteret.assemble.resample import METHODS
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.answer_grids import AnswerGrids, Sources, answer_grids, sources_of
from polars_rasteret.grids.choosing import FINEST
from polars_rasteret.grids.pixel_grid import first_equal
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.pixels.reading import BandRows


@dataclass(frozen=True, slots=True, kw_only=True)
class OntoGrid:
    """What one band is asked, the grid it comes onto, and what it reads for that."""

    rows: BandRows
    grids: AnswerGrids
    method: str
    sources: Sources

    def source_bytes(self) -> NDArray[np.int64]:
        """Give the bytes of each row that are read beside the answer."""
        pixel_bytes = self.rows.column.dtype.itemsize + 1
        return np.where(self.sources.is_plain, 0, self.sources.n_pixels() * pixel_bytes)


def line_up(
    bands: Sequence[BandRows],
    *,
    grid: str | None,
    shape: tuple[int, int] | None,
    resolution: tuple[float, float] | None,
    methods: Mapping[str, str],
) -> list[OntoGrid]:
    """Say what each band reads to come onto the grids of the answers.

    Parameters
    ----------
    bands
        Rows are the same in all.
    grid, shape, resolution
        As in `answer_grids`; without `grid`, each band has its own.
    methods
        Resampling by band; nearest where it is not named.

    Raises
    ------
    UsageError
        When the method cannot bring a band onto axes that are not parallel to its own.
    """
    if grid is None:
        grids = [answer_grids([band], FINEST, shape=shape, resolution=resolution) for band in bands]
    else:
        grids = [answer_grids(bands, grid, shape=shape, resolution=resolution)] * len(bands)
    result = []
    for band, its_grids in zip(bands, grids, strict=True):
        method = methods.get(band.column.name, "nearest")
        sources = sources_of(band, its_grids, method)
        if method not in METHODS_AT_PLACES and sources.is_free.any():
            reference = band.reference_id[int(np.flatnonzero(sources.is_free)[0])]
            raise UsageError(
                f"{band.column.name} of {shown(band.column.references[reference].href)} is in another CRS, or turned against the "
                f"grid it is brought onto: resampling={method!r} cannot do that; use one of {', '.join(METHODS_AT_PLACES)}"
            )
        result.append(OntoGrid(rows=band, grids=its_grids, method=method, sources=sources))
    return result


def are_windows(bands: Sequence[OntoGrid]) -> bool:
    """Say whether all answers are the windows of the bands, as these are."""
    for band in bands:
        sources, windows = band.sources, band.rows.windows
        at = np.flatnonzero(sources.is_read)
        if (
            sources.faults
            or not sources.is_plain[at].all()
            or any(
                not np.array_equal(getattr(sources, name)[at], getattr(windows, name)[at])
                for name in ("row_start", "col_start", "height", "width")
            )
        ):
            return False
    return True


def may_need_grids(bands: Sequence[BandRows], resolution: object) -> bool:
    """Say whether answers may be anything but the windows as they are; cheap, for the usual case that they are."""
    has_own_grid = resolution is not None or any(band.windows.extent is not None for band in bands)
    return has_own_grid or any(first_equal([band.windows.grids for band in bands]))


def methods_of(resampling: str | Mapping[str, str], bands: Sequence[str]) -> Mapping[str, str]:
    """Give the method of each band; nearest where a dict does not say."""
    return dict.fromkeys(bands, resampling) if isinstance(resampling, str) else resampling


def check_resampling(what: str, resampling: object, bands: Sequence[str] | None) -> None:
    """Refuse a method that is not known, or not for a band that is asked for."""
    named = resampling if isinstance(resampling, dict) else {"": resampling}
    if isinstance(resampling, dict) and (unknown := [name for name in resampling if name not in (bands or ())]):
        raise UsageError(f"{what}: resampling names {', '.join(map(repr, unknown))}, which is none of the bands")
    for method in named.values():
        if method not in METHODS:
            raise UsageError(
                f"{what}: resampling={method!r}; expected one of {', '.join(METHODS)}, or a dict of them by band"
            )
