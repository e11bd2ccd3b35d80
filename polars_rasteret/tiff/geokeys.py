"""Which CRS do GeoKeys name or describe?

Codes become ``EPSG:n``. User-defined CRSs are built with pyproj (see `user_crs`) and become WKT2, or a code where PROJ knows an
equal CRS. The source is the GeoTIFF 1.1 annex; where files and standard differ, keys are read as GDAL reads them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeAlias

from polars_rasteret.errors import FileFormatError
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from pyproj import CRS

Value: TypeAlias = "int | float | str | tuple[float, ...]"

GeoKeys: TypeAlias = tuple[tuple[int, "int | float | str | tuple[float, ...]"], ...]
"""(key, value) pairs; hashable, so that equal keys of thousands of files are parsed once."""

MODEL_TYPE, RASTER_TYPE, CITATION = 1024, 1025, 1026
GEODETIC_CRS, GEODETIC_CITATION = 2048, 2049
PROJECTED_CRS, PROJECTED_CITATION = 3072, 3073
_USER_DEFINED = 32767
_PLACES = (2048, 2050, 2056, 2057, 3072, 3074, 3075)
"""Keys that define a CRS. A file with any of these claims to have a CRS."""


def geo_keys(directory: tuple[int, ...], doubles: tuple[float, ...], text: bytes) -> GeoKeys:
    """Return the keys of the key directory (tag 34735) without those that point outside their parameters."""
    found: list[tuple[int, int | float | str | tuple[float, ...]]] = []
    for at in range(4, min(len(directory) - 3, 4 + 4 * directory[3]), 4):
        key, location, count, value = directory[at : at + 4]
        if location == 0:
            found.append((key, value))
        elif location == 34736 and count and value + count <= len(doubles):
            found.append((key, doubles[value] if count == 1 else doubles[value : value + count]))
        elif location == 34737:
            found.append(
                (key, text[value : value + count].split(b"\0")[0].decode("utf-8", "replace").rstrip("|").strip())
            )
        elif location == 34735 and value < len(directory):
            found.append((key, directory[value]))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def crs_from_keys(keys: GeoKeys) -> tuple[str | None, str | None]:
    """Return (``EPSG:n`` or WKT2, None), or (None, reason) when the keys have a CRS that is not read.

    (None, None) when the keys have no CRS and are about the raster only. Heights are left out: pixels have two coordinates. As
    in GDAL, a projected code counts without GTModelType, and the linear unit of a file overrides the unit of the code.
    """
    return on_proj_thread(_crs_from_keys, keys)


def _crs_from_keys(keys: GeoKeys) -> tuple[str | None, str | None]:
    from pyproj.exceptions import CRSError

    from polars_rasteret.tiff.user_crs import geographic_crs, projected_crs

    values = dict(keys)
    model = values.get(MODEL_TYPE, _USER_DEFINED)
    if model == _USER_DEFINED and (
        values.get(PROJECTED_CRS, _USER_DEFINED) != _USER_DEFINED
        or any("ESRI PE String" in str(value) for value in values.values())
    ):
        model = 1
    try:
        if model == 1:
            return _name_of(projected_crs(values), values.get(PROJECTED_CRS)), None
        if model == 2:
            return _name_of(geographic_crs(values), values.get(GEODETIC_CRS)), None
    except (CRSError, FileFormatError) as error:
        return None, f"its GeoKeys describe {_first_line(error)}"
    if any(key in values for key in _PLACES):
        return None, f"its GeoKeys describe a local or geocentric CRS (GTModelType {values.get(MODEL_TYPE, 'missing')})"
    return None, None


def _name_of(crs: CRS, code: Value | None) -> str:
    # Prefer the code of the keys where PROJ built the same CRS: to PROJ another code may be equally good.
    if isinstance(code, int) and crs.to_json_dict().get("id") == {"authority": "EPSG", "code": code}:
        return f"EPSG:{code}"
    epsg = crs.to_epsg()
    return crs.to_wkt() if epsg is None or not _has_base_of(crs, epsg) else f"EPSG:{epsg}"


def _has_base_of(crs: CRS, epsg: int) -> bool:
    """Return whether a CRS has a named datum and the prime meridian of an EPSG code. Without, PROJ is only 70% confident."""
    from pyproj import CRS

    from polars_rasteret.tiff.user_datum import radians_of

    own, known = crs.geodetic_crs, CRS.from_epsg(epsg).geodetic_crs
    if own is None or known is None or own.datum is None or own.datum.name == "unnamed":
        return False
    ours, theirs = own.prime_meridian, known.prime_meridian
    if ours is None or theirs is None:
        return ours is theirs
    return abs(radians_of(ours) - radians_of(theirs)) < 1e-10


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200] or "a CRS that PROJ does not know"
