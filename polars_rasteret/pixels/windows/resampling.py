"""Which method resamples each band, and which methods are refused?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polars_rasteret.assemble.kernels import METHODS
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
