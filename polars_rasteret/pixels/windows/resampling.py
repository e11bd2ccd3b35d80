"""Is anything resampled, by which method is each band, and which methods are refused?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.assemble.kernels import METHODS
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.pixel_grid import first_equal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.pixels.reading import BandRows


def methods_by_band(resampling: str | Mapping[str, str], bands: Sequence[str]) -> Mapping[str, str]:
    """Return the method of each band; nearest where a dict does not name the band."""
    return dict.fromkeys(bands, resampling) if isinstance(resampling, str) else resampling


def check_resampling(what: str, resampling: object, bands: Sequence[str] | None) -> None:
    """Raise `UsageError` for a method that is not known, and for one of a band that is not asked for."""
    named = resampling if isinstance(resampling, dict) else {"": resampling}
    if isinstance(resampling, dict) and (unknown := [name for name in resampling if name not in (bands or ())]):
        raise UsageError(f"{what}: resampling names {', '.join(map(repr, unknown))}, which is none of the bands")
    for method in named.values():
        if method not in METHODS:
            raise UsageError(
                f"{what}: resampling={method!r}; expected one of {', '.join(METHODS)}, or a dict of them by band"
            )


def may_be_resampled(bands: Sequence[BandRows], resolution: object) -> bool:
    """Return whether answers may be other than the windows of the bands. A cheap test: in the usual case they are not."""
    has_own_grid = resolution is not None or any(band.windows.extent is not None for band in bands)
    return has_own_grid or any(first_equal([band.windows.grids for band in bands]))
