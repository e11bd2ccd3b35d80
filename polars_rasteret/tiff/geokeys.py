"""Which coordinate reference system do GeoKeys name?

Codes become ``EPSG:n``; user-defined systems are built with pyproj (see `user_crs`) and become WKT2, or a code where
PROJ knows an equal one. GeoTIFF 1.1 annex; GDAL's reading decides where files and standard differ.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeAlias

from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from pyproj import CRS

GeoKeys: TypeAlias = tuple[tuple[int, "int | float | str | tuple[float, ...]"], ...]
"""(key, value) pairs, hashable, so that thousands of files share one parse."""

MODEL_TYPE, RASTER_TYPE, CITATION = 1024, 1025, 1026
GEODETIC_CRS, GEODETIC_CITATION = 2048, 2049
PROJECTED_CRS, PROJECTED_CITATION = 3072, 3073
_USER_DEFINED = 32767


def geo_keys(directory: tuple[int, ...], doubles: tuple[float, ...], text: bytes) -> GeoKeys:
    """Read the key directory (tag 34735); keys that point outside their parameters are left out."""
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
def crs_from_keys(keys: GeoKeys) -> str | None:
    """Give ``EPSG:n``, WKT2, or None where the keys describe no CRS. Heights are left out: pixels have two coordinates.

    As in GDAL, keys without GTModelType describe none, and the linear unit of a file overrides that of its code.
    """
    return on_proj_thread(_crs_from_keys, keys)


def _crs_from_keys(keys: GeoKeys) -> str | None:
    from pyproj.exceptions import CRSError

    from polars_rasteret.tiff.user_crs import user_crs

    values = dict(keys)
    model = values.get(MODEL_TYPE)
    code = values.get({1: PROJECTED_CRS, 2: GEODETIC_CRS, 3: GEODETIC_CRS}.get(model, 0))  # type: ignore[arg-type]
    try:
        if isinstance(code, int) and 1024 <= code < _USER_DEFINED:
            return _in_code_or_wkt(
                code, tuple((key, values[key]) for key in (3076, 3077) if key in values and model == 1)
            )
    except CRSError:
        return None
    if code == 0 or (model not in {1, 2} and not any("ESRI PE String" in str(value) for value in values.values())):
        return None
    crs = user_crs(values)
    return None if crs is None else _name_of(crs)


def _in_code_or_wkt(code: int, unit: GeoKeys) -> str | None:
    from pyproj import CRS

    from polars_rasteret.tiff.user_crs import in_key_units

    crs = CRS.from_epsg(code)
    if not (crs.is_projected or crs.is_geographic or crs.is_geocentric):
        return None
    actual = in_key_units(crs, dict(unit)) if unit else crs
    return f"EPSG:{code}" if actual is crs else _name_of(actual)


def _name_of(crs: CRS) -> str:
    epsg = crs.to_epsg()
    return crs.to_wkt() if epsg is None else f"EPSG:{epsg}"
