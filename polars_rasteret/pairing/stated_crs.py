"""Which CRS are the caller's coordinates in?

The CRS comes from the caller's argument, from the column's GeoArrow metadata, or from the SRIDs in its EWKB. If several of these
give a CRS and differ, that is an error. If none gives one, that is an error, too: a CRS is never guessed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.geo.crs import LONLAT, NATIVE, normalize_crs, same_crs

if TYPE_CHECKING:
    from collections.abc import Iterable

_HAS_SRID = 0x20
"""Flag for an SRID in the highest byte of the geometry type in EWKB."""
_FEW = 64
"""Number of values below which a loop over them is quicker than a query."""


def passed_crs(crs: Any, *, what: str) -> str:
    """Return the normalized CRS of coordinate columns, which only the caller's argument can give.

    Raises
    ------
    UsageError
        When `crs` is None or is not understood.
    """
    if crs is None:
        raise UsageError(_unknown(what))
    return NATIVE if isinstance(crs, str) and crs == NATIVE else normalize_crs(crs)


def geometry_crs(dtype: pl.DataType) -> str | None:
    """Return the normalized CRS in a column's GeoArrow metadata; None without one.

    Raises
    ------
    UsageError
        When the metadata says that edges are not straight lines, as on a sphere.
    """
    if not isinstance(dtype, pl.BaseExtension) or not dtype.ext_name().startswith("geoarrow."):
        return None
    metadata = dtype.ext_metadata()
    try:
        stated = json.loads(metadata) if metadata else {}
    except ValueError:
        stated = {}
    crs, edges = stated.get("crs"), stated.get("edges")
    if edges not in {None, "planar"}:
        raise UsageError(
            f"the GeoArrow metadata of a geometry column says edges={edges!r}; expected planar edges. Add vertices along "
            "the edges, and drop this word from the metadata"
        )
    return None if crs is None else normalize_crs(crs)


def may_hold_srids(dtype: pl.DataType) -> bool:
    """Return whether a geometry column may be EWKB, so that its values may have an SRID."""
    return dtype == pl.Binary or (isinstance(dtype, pl.BaseExtension) and dtype.ext_storage() == pl.Binary)


def crs_of_geometry(geometry: pl.Series, crs: str | None, *, what: str) -> str:
    """Return the CRS of a geometry column.

    Parameters
    ----------
    geometry
        The geometry column.
    crs
        CRS in the caller's argument, normalized or ``"native"``; None: not passed.
    what
        Name of the verb or expression, for messages.

    Raises
    ------
    UsageError
        When no source gives a CRS, or the sources contradict each other.
    """
    if crs == NATIVE:
        return NATIVE
    stated, is_everywhere = _statement(geometry, what=what)
    if crs is None:
        if stated is not None and is_everywhere:
            return stated
        if may_hold_srids(geometry.dtype) and geometry.null_count() == len(geometry):
            return LONLAT  # there is no coordinate whose CRS could matter
        if stated is None:
            raise UsageError(_unknown(what))
        raise UsageError(
            f"{what}: some geometries of {geometry.name!r} state {stated} in their EWKB, others state no CRS; pass "
            f"crs={stated!r} if all of them are in it"
        )
    if stated is not None and not same_crs(crs, stated):
        raise UsageError(
            f"{what}: crs={crs[:80]!r} contradicts the geometry column {geometry.name!r}, which says {stated[:80]}; "
            "leave crs out, or bring the geometries to the other CRS"
        )
    return crs


def refuse_other_native(geometry: pl.Series, found: Iterable[str | None], *, what: str) -> None:
    """Raise for ``crs="native"`` when a geometry column states a CRS that is not that of the records.

    Parameters
    ----------
    found
        CRSs of the records.
    """
    stated, _ = _statement(geometry, what=what)
    if stated is None:
        return
    for crs in dict.fromkeys(found):
        if crs is not None and not same_crs(crs, stated):
            raise UsageError(
                f"{what}: crs='native' says that coordinates are in the CRS of each record, but the geometry column "
                f"{geometry.name!r} says {stated[:80]} and there are records in {crs[:80]}; leave crs out"
            )


def srids_of(geometry: pl.Series) -> pl.Series:
    """Return the SRID of each EWKB value: 0 for a value without an SRID, null for a null."""
    wkb = _wkb(geometry)
    none = pl.select(pl.when(wkb.is_not_null()).then(pl.lit(0, pl.Int32))).to_series()
    for name, flagged in _flagged(wkb).items():
        if flagged:
            stated = wkb.bin.slice(5, 4).bin.reinterpret(dtype=pl.Int32, endianness=name)  # type: ignore[arg-type]
            has_it = wkb.bin.head(5).is_in(flagged)
            none = pl.select(pl.when(has_it).then(stated.fill_null(0)).otherwise(none)).to_series()
    return none


def _wkb(geometry: pl.Series) -> pl.Series:
    return geometry.ext.storage() if isinstance(geometry.dtype, pl.BaseExtension) else geometry


def _flagged(wkb: pl.Series) -> dict[str, list[bytes]]:
    """Return the distinct first five bytes of values with an SRID, by byte order."""
    if len(wkb) <= _FEW:
        kinds = {one[:5] for one in map(wkb.__getitem__, range(len(wkb))) if one is not None}
    else:
        kinds = set(wkb.bin.head(5).unique().drop_nulls().to_list())
    kinds = {kind for kind in kinds if len(kind) == 5}
    return {
        name: [kind for kind in kinds if kind[0] == order and kind[at] & _HAS_SRID]
        for order, name, at in ((1, "little", 4), (0, "big", 1))
    }


def _statement(geometry: pl.Series, *, what: str) -> tuple[str | None, bool]:
    """Return the CRS that a geometry column states, and whether every value states it."""
    named = geometry_crs(geometry.dtype)
    if not may_hold_srids(geometry.dtype):
        return named, named is not None
    if any(_flagged(_wkb(geometry)).values()):
        srids = [int(one) for one in srids_of(geometry).unique().drop_nulls()]
    else:
        srids = [0] if geometry.null_count() < len(geometry) else []
    stated = [normalize_crs(one) for one in sorted(srids) if one]
    if named is not None:
        stated.insert(0, named)
    for other in stated[1:]:
        if not same_crs(stated[0], other):
            raise UsageError(
                f"{what}: the geometry column {geometry.name!r} states several CRSs, {stated[0][:80]} and {other[:80]}; bring "
                "its geometries to one CRS"
            )
    return (stated[0] if stated else None), named is not None or 0 not in srids


def _unknown(what: str) -> str:
    return (
        f"{what}: the CRS of the coordinates is not known. Pass crs=, for instance crs=4326 for longitude and latitude, or "
        "crs='native' for coordinates that are in each raster's own CRS"
    )
