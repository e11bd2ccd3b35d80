"""Which CRS do GeoKeys describe that give parameters instead of a code?

Builds the geographic base (ellipsoid, prime meridian, datum name) and the projection as WKT, which PROJ reads, and
gives WKT2, or a code where PROJ knows an equal system (70% confidence, as rasterio asks for). GeoTIFF 1.1, section 7;
names as GDAL writes them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from pyproj import CRS
from pyproj.crs import (  # type: ignore[attr-defined]  # public, but not in its __all__
    CoordinateOperation,
    Datum,
    Ellipsoid,
    PrimeMeridian,
    ProjectedCRS,
)
from pyproj.exceptions import CRSError

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "int | float | str | tuple[float, ...]"
_USER_DEFINED = 32767
_METRE = 1.0
_US_FOOT = 12 / 39.37
_LINEAR_UNITS = {
    9001: ("metre", _METRE),
    9002: ("foot", 0.3048),
    9003: ("US survey foot", _US_FOOT),
    9005: ("Clarke's foot", 0.3047972654),
    9014: ("fathom", 1.8288),
    9030: ("nautical mile", 1852.0),
    9036: ("kilometre", 1000.0),
    9037: ("Clarke's yard", 0.9143917962),
    9040: ("British yard (Sears 1922)", 0.9143984146160287),
    9041: ("British foot (Sears 1922)", 0.3047994715386762),
    9042: ("British chain (Sears 1922)", 20.116765121552632),
    9080: ("Indian foot", 0.30479951024814694),
    9093: ("Statute mile", 1609.344),
    9094: ("Gold Coast foot", 0.3047997101815088),
    9095: ("British foot (1936)", 0.3048007491),
}
_ANGULAR_UNITS = {
    9101: ("radian", 1.0),
    9102: ("degree", math.pi / 180),
    9103: ("arc-minute", math.pi / 10_800),
    9104: ("arc-second", math.pi / 648_000),
    9105: ("grad", math.pi / 200),
    9106: ("gon", math.pi / 200),
}

# GeoKeys in the order in which they are looked for, and 0 or the given value where a file has none of them.
_LAT = (3081, 3089, 3085)
_LON = (3080, 3088, 3084, 3095)
_EAST = (3082, 3090, 3086)
_NORTH = (3083, 3091, 3087)
_SCALE = (3092, 3093)
_OFFSETS = {"false_easting": _EAST, "false_northing": _NORTH}
_METHODS: dict[int, tuple[str, dict[str, tuple[int, ...]]]] = {
    1: ("Transverse_Mercator", {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE}),
    3: (
        "Hotine_Oblique_Mercator",
        {
            "latitude_of_center": (3089, 3081, 3085),
            "longitude_of_center": (3088, 3080, 3084),
            "azimuth": (3094,),
            "rectified_grid_angle": (3096, 3094),
            "scale_factor": (3093, 3092),
        },
    ),
    8: (
        "Lambert_Conformal_Conic_2SP",
        {
            "latitude_of_origin": (3085, 3081),
            "central_meridian": (3084, 3080),
            "standard_parallel_1": (3078,),
            "standard_parallel_2": (3079,),
        },
    ),
    9: (
        "Lambert_Conformal_Conic_1SP",
        {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE},
    ),
    10: (
        "Lambert_Azimuthal_Equal_Area",
        {"latitude_of_center": (3089, 3081, 3085), "longitude_of_center": (3088, 3080, 3084)},
    ),
    11: (
        "Albers_Conic_Equal_Area",
        {
            "latitude_of_center": _LAT,
            "longitude_of_center": _LON,
            "standard_parallel_1": (3078,),
            "standard_parallel_2": (3079,),
        },
    ),
    12: (
        "Azimuthal_Equidistant",
        {"latitude_of_center": (3089, 3081, 3085), "longitude_of_center": (3088, 3080, 3084)},
    ),
    13: (
        "Equidistant_Conic",
        {
            "latitude_of_center": _LAT,
            "longitude_of_center": _LON,
            "standard_parallel_1": (3078,),
            "standard_parallel_2": (3079,),
        },
    ),
    14: ("Stereographic", {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE}),
    15: (
        "Polar_Stereographic",
        {"latitude_of_origin": _LAT, "central_meridian": (3095, 3080, 3088), "scale_factor": _SCALE},
    ),
    16: ("Oblique_Stereographic", {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE}),
    17: (
        "Equirectangular",
        {
            "latitude_of_origin": (3089, 3081),
            "central_meridian": (3088, 3080),
            "standard_parallel_1": (3078,),
        },
    ),
    18: ("Cassini_Soldner", {"latitude_of_origin": _LAT, "central_meridian": _LON}),
    19: ("Gnomonic", {"latitude_of_origin": (3089, 3081), "central_meridian": (3088, 3080)}),
    20: ("Miller_Cylindrical", {"latitude_of_center": (3089, 3081), "longitude_of_center": (3088, 3080)}),
    21: ("Orthographic", {"latitude_of_origin": (3089, 3081), "central_meridian": (3088, 3080)}),
    22: ("Polyconic", {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE}),
    23: ("Robinson", {"longitude_of_center": (3088, 3080)}),
    24: ("Sinusoidal", {"longitude_of_center": (3088, 3080)}),
    25: ("VanDerGrinten", {"central_meridian": (3088, 3080)}),
    26: ("New_Zealand_Map_Grid", {"latitude_of_origin": _LAT, "central_meridian": _LON}),
    27: (
        "Transverse_Mercator_South_Orientated",
        {"latitude_of_origin": _LAT, "central_meridian": _LON, "scale_factor": _SCALE},
    ),
    28: ("Cylindrical_Equal_Area", {"standard_parallel_1": (3078,), "central_meridian": (3080, 3088)}),
}


def user_crs(keys: Mapping[int, Value]) -> CRS | None:
    """Build the CRS of user-defined GeoKeys; None where they are incomplete or PROJ refuses them."""
    try:
        return _esri(keys) or _described(keys)
    except CRSError:
        return None


def in_key_units(crs: CRS, keys: Mapping[int, Value]) -> CRS:
    """Give a projected CRS in the linear unit that key 3076 names, where a file overrides that of its code."""
    if 3076 not in keys:
        return crs
    name, factor = _linear_unit(keys)
    if abs(crs.axis_info[0].unit_conversion_factor / factor - 1) < 1e-9:
        return crs
    description = crs.to_json_dict()
    description.pop("id", None)
    for axis in description["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": name, "conversion_factor": factor}
    return CRS.from_json_dict(description)


def _esri(keys: Mapping[int, Value]) -> CRS | None:
    """Read the WKT that ArcGIS leaves in a citation."""
    for key in (3073, 1026, 2049):
        text = keys.get(key)
        if isinstance(text, str) and text.startswith("ESRI PE String = "):
            crs = CRS.from_wkt(text.removeprefix("ESRI PE String = "))
            return crs.sub_crs_list[0] if crs.is_compound else crs
    return None


def _described(keys: Mapping[int, Value]) -> CRS | None:
    model = keys.get(1024)
    if model not in {1, 2}:
        return None
    base = _geographic(keys)
    if base is None or model == 2:
        return base
    code = keys.get(3074)
    name = _citation(keys, 3073) or _citation(keys, 1026) or "unnamed"
    if isinstance(code, int) and 1024 < code < _USER_DEFINED:
        return in_key_units(ProjectedCRS(CoordinateOperation.from_epsg(code), name=name, geodetic_crs=base), keys)
    return _projected(keys, base, name)


def _projected(keys: Mapping[int, Value], base: CRS, name: str) -> CRS | None:
    method = keys.get(3075)
    if method == 7:  # Mercator: one standard parallel, or a scale
        angles = {"central_meridian": _LON}
        wanted = (
            ("Mercator_2SP", {"standard_parallel_1": (3078,), **angles})
            if 3078 in keys
            else ("Mercator_1SP", {**angles, "scale_factor": _SCALE})
        )
    elif isinstance(method, int) and method in _METHODS:
        wanted = _METHODS[method]
    else:
        return None
    unit, factor = _linear_unit(keys)
    parameters = "".join(
        f'PARAMETER["{parameter}",{_number(keys, sources, 1.0 if parameter == "scale_factor" else 0.0)!r}],'
        for parameter, sources in {**wanted[1], **_OFFSETS}.items()
    )
    return CRS.from_wkt(
        f'PROJCS["{_quoted(name)}",{base.to_wkt("WKT1_GDAL")},PROJECTION["{wanted[0]}"],{parameters}'
        f'UNIT["{unit}",{factor!r}],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    )


def _geographic(keys: Mapping[int, Value]) -> CRS | None:
    code = keys.get(2048)
    if isinstance(code, int) and 1024 <= code < _USER_DEFINED:
        base = CRS.from_epsg(code)
        return base if _is_ellipsoid_of(base, keys) else _geographic_of(keys, base.name, base.name)
    names = dict(part.split(" = ", 1) for part in str(keys.get(2049, "")).split("|") if " = " in part)
    name = names.get("GCS Name") or _citation(keys, 2049) or "unnamed"
    return _geographic_of(keys, name, names.get("Datum", "unknown"))


def _geographic_of(keys: Mapping[int, Value], name: str, datum_name: str) -> CRS | None:
    ellipsoid = _ellipsoid(keys)
    if ellipsoid is None:
        return None
    prime = keys.get(2051)
    longitude = _number(keys, (2061,), 0.0)
    if isinstance(prime, int) and 1024 < prime < _USER_DEFINED:
        longitude = PrimeMeridian.from_epsg(prime).longitude
    datum = keys.get(2050)
    if isinstance(datum, int) and 1024 < datum < _USER_DEFINED:
        datum_name = Datum.from_epsg(datum).name
    unit, factor = _ANGULAR_UNITS.get(int(_number(keys, (2054,), 9102)), ("degree", math.pi / 180))
    if keys.get(2054) == _USER_DEFINED and (size := _number(keys, (2055,), 0.0)) > 0:
        unit, factor = "unknown", size
    a, inverse_flattening = ellipsoid
    return CRS.from_wkt(
        f'GEOGCS["{_quoted(name)}",DATUM["{_quoted(datum_name)}",SPHEROID["unnamed",{a!r},{inverse_flattening!r}]],'
        f'PRIMEM["{"Greenwich" if longitude == 0 else "unnamed"}",{longitude!r}],UNIT["{unit}",{factor!r}]]'
    )


def _ellipsoid(keys: Mapping[int, Value]) -> tuple[float, float] | None:
    """Give (semi-major axis in metres, inverse flattening; 0 for a sphere)."""
    code = keys.get(2056)
    if isinstance(code, int) and 1024 < code < _USER_DEFINED:
        known = Ellipsoid.from_epsg(code)
        return known.semi_major_metre, known.inverse_flattening
    a, b, inverse = _number(keys, (2057,), 0.0), _number(keys, (2058,), 0.0), _number(keys, (2059,), 0.0)
    if a <= 0:
        return None
    if not inverse and 0 < b < a:
        inverse = a / (a - b)
    return a, inverse


def _is_ellipsoid_of(base: CRS, keys: Mapping[int, Value]) -> bool:
    """Say whether the keys give no other ellipsoid than the code: within 1 m, and 0.0001 of the flattening."""
    if 2057 not in keys or base.ellipsoid is None:
        return True
    given = _ellipsoid(keys)
    if given is None:
        return True
    a, inverse = given
    known = base.ellipsoid
    return (
        abs(a - known.semi_major_metre) < 1
        and abs(inverse - known.inverse_flattening) < 1e-4 * known.inverse_flattening
    )


def _linear_unit(keys: Mapping[int, Value]) -> tuple[str, float]:
    code = keys.get(3076)
    if code == _USER_DEFINED and (size := _number(keys, (3077,), 0.0)) > 0:
        return "unknown", size
    return _LINEAR_UNITS.get(code, _LINEAR_UNITS[9001]) if isinstance(code, int) else _LINEAR_UNITS[9001]


def _number(keys: Mapping[int, Value], sources: tuple[int, ...], default: float) -> float:
    """Give the first of several keys that holds a finite number."""
    for key in sources:
        value = keys.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    return default


def _citation(keys: Mapping[int, Value], key: int) -> str:
    text = keys.get(key)
    return text if isinstance(text, str) and len(text) < 200 and "\n" not in text else ""


def _quoted(name: str) -> str:
    return "".join(character for character in name if character.isprintable()).replace('"', "'")[:200]
