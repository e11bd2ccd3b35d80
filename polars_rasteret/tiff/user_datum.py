"""Which datum, ellipsoid, prime meridian and angular unit do GeoKeys describe?

The code of a geographic CRS (key 2048) gives all four, and further keys replace some. The source is GeoTIFF 1.1, section 7.5; the
precedence of keys is GDAL's (libgeotiff's ``GTIFGetDefn``). Results are PROJJSON. Projections belong to ``user_crs``.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from pyproj import CRS
from pyproj.crs import Datum, Ellipsoid, PrimeMeridian  # type: ignore[attr-defined]  # public, but not in its __all__
from pyproj.database import get_units_map
from pyproj.exceptions import CRSError

from polars_rasteret.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "int | float | str | tuple[float, ...]"
Json: TypeAlias = "dict[str, Any]"
USER_DEFINED = 32767
_WGS84_AXES = 6_378_137.0, 6_356_752.314245179
_DEGREE = math.pi / 180


def code_of(keys: Mapping[int, Value], key: int) -> int | None:
    """Return the EPSG code of a key; None when the key is missing, user-defined or outside the range of codes."""
    code = keys.get(key)
    return code if isinstance(code, int) and 1024 <= code < USER_DEFINED else None


def number_of(keys: Mapping[int, Value], sources: tuple[int, ...], default: float) -> float:
    """Return the finite number of the first of several keys that has one, else `default`."""
    for key in sources:
        value = keys.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    return default


@lru_cache(maxsize=4)
def units(category: str) -> dict[str, tuple[str, float]]:
    """Return EPSG units by code, as (name, metres or radians per unit); category is ``linear`` or ``angular``."""
    return {
        unit.code: (unit.name, unit.conv_factor)
        for unit in get_units_map("EPSG", category, allow_deprecated=True).values()
    }


def geographic_base(keys: Mapping[int, Value], code: int | None) -> Json:
    """Return the geographic CRS of GeoKeys as PROJJSON.

    Parameters
    ----------
    keys
        GeoKeys by number.
    code
        EPSG code of a geographic CRS that further keys may change: key 2048, or the base of a projected CRS.

    Raises
    ------
    FileFormatError
        For a prime meridian that GDAL reads in the wrong unit.
    """
    known = None if code is None else CRS.from_epsg(code).to_2d()
    names = _names(keys)
    datum = _datum(keys, known)
    ellipsoid = _ellipsoid(keys, None if datum is None else datum.to_json_dict()["ellipsoid"])
    unit = _angular_unit(keys, known, names)
    meridian = _prime_meridian(keys, known, unit, names)
    if known is not None and _is_base(known, datum, ellipsoid, meridian, unit):
        return known.to_json_dict()
    citation = keys.get(2049)
    named = names.get("Datum", "")
    frame: Json = {
        "type": "GeodeticReferenceFrame",
        "name": named
        if known is None and named
        else "unnamed"
        if datum is None
        else datum.name.removesuffix(" ensemble"),
        "ellipsoid": ellipsoid,
        "prime_meridian": meridian,
    }
    if datum is not None and (identity := datum.to_json_dict().get("id")) is not None:
        frame["id"] = identity
    described = names.get("GCS Name") or (citation if isinstance(citation, str) and "=" not in citation else "")
    return {
        "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
        "type": "GeographicCRS",
        "name": known.name if known is not None else str(described)[:200] or frame["name"],
        "datum": frame,
        "coordinate_system": {
            "subtype": "ellipsoidal",
            "axis": [
                {"name": "Geodetic latitude", "abbreviation": "Lat", "direction": "north", "unit": unit},
                {"name": "Geodetic longitude", "abbreviation": "Lon", "direction": "east", "unit": unit},
            ],
        },
    }


def degrees_per_unit(base: Json) -> float:
    """Return the degrees per angular unit of a geographic CRS; exactly 1 for degrees."""
    unit = base["coordinate_system"]["axis"][0]["unit"]
    factor = _DEGREE if unit == "degree" else float(unit["conversion_factor"])
    return 1.0 if math.isclose(factor, _DEGREE, rel_tol=1e-12) else factor / _DEGREE


def _names(keys: Mapping[int, Value]) -> dict[str, str]:
    """Return the names that GDAL writes into a citation: ``GCS Name = ...|Datum = ...|Primem = ...|AUnits = ...``."""
    return dict(part.split(" = ", 1) for part in str(keys.get(2049, "")).split("|") if " = " in part)


def _datum(keys: Mapping[int, Value], known: CRS | None) -> Datum | None:
    if (code := code_of(keys, 2050)) is not None:
        try:
            return Datum.from_epsg(code)
        except CRSError:  # as GDAL, which goes on without it
            return None
    return None if known is None or 2050 in keys else known.datum


def _ellipsoid(keys: Mapping[int, Value], of_datum: Json | None) -> Json:
    """Return the ellipsoid as PROJJSON; WGS 84 when no key gives its size, as in GDAL."""
    known = None
    if of_datum is not None and keys.get(2056) != USER_DEFINED:
        known = Ellipsoid.from_json_dict({"type": "Ellipsoid", **of_datum})
    if (code := code_of(keys, 2056)) is not None:
        with suppress(CRSError):  # as GDAL, which goes on without it
            known = Ellipsoid.from_epsg(code)
    a, b = (0.0, 0.0) if known is None else (known.semi_major_metre, known.semi_minor_metre)
    a, b = number_of(keys, (2057,), a), number_of(keys, (2058,), b)
    if 2059 in keys and (flat := number_of(keys, (2059,), 0.0)) != 0:
        b = a * (1 - 1 / flat)
    elif 2059 in keys:
        b = a
    if a <= 0:
        a, b = _WGS84_AXES
    if known is not None and (a, b) == (known.semi_major_metre, known.semi_minor_metre):
        return dict(known.to_json_dict())
    is_sphere = not 0 < b < a - 0.1
    return {"name": "unnamed", "semi_major_axis": a, "inverse_flattening": 0 if is_sphere else a / (a - b)}


def _angular_unit(keys: Mapping[int, Value], known: CRS | None, names: Mapping[str, str]) -> Json | str:
    code = keys.get(2054)
    if code is None and known is not None:
        unit: Json | str = known.to_json_dict()["coordinate_system"]["axis"][0]["unit"]
        return unit
    name, factor = units("angular").get(str(code), ("", 0.0))
    if "AUnits" in names and (size := number_of(keys, (2055,), 0.0)) > 0:
        name, factor = names["AUnits"], size
    # Units for parts of degrees have no factor, and mean degrees here.
    if not factor or math.isclose(factor, _DEGREE, rel_tol=1e-9):
        return "degree"
    return {"type": "AngularUnit", "name": name, "conversion_factor": factor}


def _prime_meridian(keys: Mapping[int, Value], known: CRS | None, unit: Json | str, names: Mapping[str, str]) -> Json:
    if (code := code_of(keys, 2051)) is not None:
        try:
            return dict(PrimeMeridian.from_epsg(code).to_json_dict())
        except CRSError:
            return {"name": "Greenwich", "longitude": 0}
    if 2051 not in keys and known is not None and known.prime_meridian is not None:
        return dict(known.prime_meridian.to_json_dict())
    longitude = number_of(keys, (2061,), 0.0)
    if longitude == 0:
        return {"name": "Greenwich", "longitude": 0}
    if (unit != "degree" or keys.get(2054, 9102) not in {9102, 9122, USER_DEFINED}) and "Primem" not in names:
        raise FileFormatError(
            f"a prime meridian at {longitude} (key 2061) of an angular unit other than degrees; GDAL reads it at another "
            "longitude"
        )
    return {
        "name": names.get("Primem", "unnamed"),
        "longitude": longitude if unit == "degree" else {"value": longitude, "unit": unit},
    }


def _is_base(known: CRS, datum: Datum | None, ellipsoid: Json, meridian: Json, unit: Json | str) -> bool:
    """Return whether datum, ellipsoid, prime meridian and unit of the keys are those of a known CRS."""
    own, place = known.ellipsoid, known.prime_meridian
    if datum is None or known.datum is None or own is None or place is None or datum.name != known.datum.name:
        return False
    given = Ellipsoid.from_json_dict({"type": "Ellipsoid", **ellipsoid})
    from_there = PrimeMeridian.from_json_dict({"type": "PrimeMeridian", **meridian})
    return (
        math.isclose(given.semi_major_metre, own.semi_major_metre, abs_tol=1e-4)
        and math.isclose(given.semi_minor_metre, own.semi_minor_metre, abs_tol=1e-4)
        and math.isclose(radians_of(from_there), radians_of(place), abs_tol=1e-12)
        and known.to_json_dict()["coordinate_system"]["axis"][0]["unit"] == unit
    )


def radians_of(meridian: PrimeMeridian) -> float:
    """Return the longitude of a prime meridian in radians."""
    return float(meridian.longitude) * float(meridian.unit_conversion_factor)
