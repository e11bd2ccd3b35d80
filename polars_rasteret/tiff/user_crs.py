"""Which CRS do GeoKeys with parameters describe, beside a code or instead of one?

The CRS is built from the geographic base (``user_datum``) and a projection. `geokeys` turns it into WKT2, or into a code where
PROJ knows an equal CRS (70% confidence, as in rasterio). The source is GeoTIFF 1.1, section 7. Names and meanings are GDAL's,
also where the standard differs: a Mercator projection with a latitude of origin and no scale has its standard parallel there,
and a conic projection with one standard parallel has both at 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pyproj import CRS, Transformer
from pyproj.crs import (  # type: ignore[attr-defined]  # public, but not in its __all__
    BoundCRS,
    CoordinateOperation,
)
from pyproj.crs.coordinate_operation import ToWGS84Transformation
from pyproj.exceptions import ProjError

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.user_datum import (
    USER_DEFINED,
    Json,
    Value,
    code_of,
    degrees_per_unit,
    geographic_base,
    number_of,
    units,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_Sources: TypeAlias = "dict[str, tuple[int, ...]]"
"""Parameter to the GeoKeys that may hold its value, in order. Without any of the keys, its value is in `_DEFAULTS`, else 0."""
_LAT = (3081, 3085, 3089)
_LON = (3080, 3084, 3088)
_EAST = (3082, 3090, 3086)
_NORTH = (3083, 3091, 3087)
_SCALE = (3092, 3093)
_FIRST, _SECOND = (3078,), (3079,)
_OFFSETS: _Sources = {"false_easting": _EAST, "false_northing": _NORTH}
_ORIGIN: _Sources = {"latitude_of_origin": _LAT, "central_meridian": _LON}
_CENTRE: _Sources = {"latitude_of_center": _LAT, "longitude_of_center": _LON}
_SCALED: _Sources = {**_ORIGIN, "scale_factor": _SCALE}
_CONIC: _Sources = {"standard_parallel_1": _FIRST, "standard_parallel_2": _SECOND}
_OBLIQUE: _Sources = {**_CENTRE, "azimuth": (3094,), "rectified_grid_angle": (3096,), "scale_factor": _SCALE}
_DEFAULTS = {"scale_factor": 1.0, "rectified_grid_angle": 90.0}
_IN_KEY_UNITS = frozenset({*_ORIGIN, *_CENTRE, *_CONIC, "rectified_grid_angle"})
"""Parameters that are angles in the unit of key 2054. GDAL reads azimuths in degrees."""
_METHODS: dict[int, tuple[str, _Sources]] = {
    1: ("Transverse_Mercator", _SCALED),
    3: ("Hotine_Oblique_Mercator", _OBLIQUE),
    4: ("Laborde_Oblique_Mercator", {**_CENTRE, "azimuth": (3094,), "scale_factor": _SCALE}),
    7: ("Mercator_1SP", _SCALED),
    8: ("Lambert_Conformal_Conic_2SP", {**_ORIGIN, **_CONIC}),
    9: ("Lambert_Conformal_Conic_1SP", _SCALED),
    10: ("Lambert_Azimuthal_Equal_Area", _CENTRE),
    11: ("Albers_Conic_Equal_Area", {**_CENTRE, **_CONIC}),
    12: ("Azimuthal_Equidistant", _CENTRE),
    13: ("Equidistant_Conic", {**_CENTRE, **_CONIC}),
    14: ("Stereographic", {**_SCALED, "scale_factor": (3092,)}),
    15: ("Polar_Stereographic", {**_SCALED, "central_meridian": (3095, *_LON)}),
    16: ("Oblique_Stereographic", _SCALED),
    17: ("Equirectangular", {**_ORIGIN, "standard_parallel_1": _FIRST}),
    18: ("Cassini_Soldner", _ORIGIN),
    19: ("Gnomonic", _ORIGIN),
    20: ("Miller_Cylindrical", _CENTRE),
    21: ("Orthographic", _ORIGIN),
    22: ("Polyconic", _ORIGIN),
    23: ("Robinson", {"longitude_of_center": _LON}),
    24: ("Sinusoidal", {"longitude_of_center": _LON}),
    25: ("VanDerGrinten", {"central_meridian": _LON}),
    26: ("New_Zealand_Map_Grid", _ORIGIN),
    27: ("Transverse_Mercator_South_Orientated", _SCALED),
    28: ("Cylindrical_Equal_Area", {"standard_parallel_1": _FIRST, "central_meridian": _LON}),
    9815: ("Hotine_Oblique_Mercator_Azimuth_Center", _OBLIQUE),
}
_WEB = "Popular Visualisation Pseudo Mercator"
"""Method of CRSs for which GDAL uses the code alone, whatever other keys are given."""
_PLACE_KEYS = (2048, 2050, 2056, 3074, 3075)
"""Keys any of which makes GDAL use all keys, beside the code of a projected CRS."""


def geographic_crs(keys: Mapping[int, Value]) -> CRS:
    """Return the geographic CRS of GeoKeys.

    Raises
    ------
    FileFormatError, pyproj.exceptions.CRSError
        When the keys describe no geographic CRS.
    """
    code = code_of(keys, 2048)
    if code is not None:
        known = CRS.from_epsg(code)
        # In GDAL other keys change only a CRS with a plain datum.
        if not known.is_geographic or known.to_json_dict().get("datum", {}).get("type") != "GeodeticReferenceFrame":
            return known
    return _bound(CRS.from_json_dict(geographic_base(keys, code)), keys)


def projected_crs(keys: Mapping[int, Value]) -> CRS:
    """Return the projected CRS of GeoKeys.

    Raises
    ------
    FileFormatError, pyproj.exceptions.CRSError
        When the keys describe no projected CRS.
    """
    crs = _esri(keys)
    if crs is not None:
        return crs
    code = code_of(keys, 3072)
    known = None if code is None else CRS.from_epsg(code)
    is_spherical = (
        known is not None and known.to_json_dict().get("conversion", {}).get("method", {}).get("name") == _WEB
    )
    if known is not None and (not known.is_projected or is_spherical or not any(key in keys for key in _PLACE_KEYS)):
        return _in_key_units(known, keys)
    base_code = code_of(keys, 2048)
    if known is not None and 2048 not in keys and known.geodetic_crs is not None:
        base_code = known.geodetic_crs.to_epsg()
    base = geographic_base(keys, base_code)
    described = _described(keys, known, base)
    described.pop("id", None)
    described["base_crs"] = {name: part for name, part in base.items() if name != "$schema"}
    built = CRS.from_json_dict(described)
    try:
        Transformer.from_crs(built, built.geodetic_crs or built)
    except ProjError as error:
        raise FileFormatError(f"a projection that PROJ cannot compute: {error}") from error
    if known is not None and built.equals(known, ignore_axis_order=True):
        return known
    return _bound(built, keys)


def _in_key_units(crs: CRS, keys: Mapping[int, Value]) -> CRS:
    """Return a projected CRS in the linear unit of key 3076, which overrides the unit of the code; else the CRS unchanged."""
    return _in_unit(crs, *_linear_unit(keys)) if 3076 in keys and crs.is_projected else crs


def _in_unit(crs: CRS, name: str, factor: float) -> CRS:
    if abs(crs.axis_info[0].unit_conversion_factor / factor - 1) < 1e-9:
        return crs
    description = crs.to_json_dict()
    description.pop("id", None)
    for axis in description["coordinate_system"]["axis"]:
        axis["unit"] = {"type": "LinearUnit", "name": name, "conversion_factor": factor}
    return CRS.from_json_dict(description)


def _esri(keys: Mapping[int, Value]) -> CRS | None:
    """Return the CRS in the WKT that ArcGIS writes into a citation; None without such WKT."""
    for key in (3073, 1026, 2049):
        text = keys.get(key)
        if isinstance(text, str) and text.startswith("ESRI PE String = "):
            crs = CRS.from_wkt(text.removeprefix("ESRI PE String = "))
            return crs.sub_crs_list[0] if crs.is_compound else crs
    return None


def _described(keys: Mapping[int, Value], known: CRS | None, base: Json) -> Json:
    """Return a projected CRS with the projection of the keys, as PROJJSON. The caller replaces its geographic base."""
    name = _citation(keys, 3073) or _citation(keys, 1026) or "unnamed"
    method = keys.get(3075)
    if method == 7 and known is not None:
        raise FileFormatError("a Mercator projection beside the code of another, of which GDAL leaves parameters in it")
    if method is not None and method != USER_DEFINED:
        unit = _linear_unit(keys)
        if known is not None and 3076 not in keys:
            axis = known.axis_info[0]
            unit = axis.unit_name, axis.unit_conversion_factor
        return _projected(keys, degrees_per_unit(base), name, unit)
    if known is not None:
        return _in_key_units(known, keys).to_json_dict()
    code = code_of(keys, 3074)
    if code is None:
        raise FileFormatError(
            "a projected CRS without the code of a CRS or projection, and without a method (key 3075)"
        )
    described: Json = CRS.from_wkt(
        _WKT.format(name=_quoted(name), method="Robinson", parameters="", unit="metre", factor=1.0)
    ).to_json_dict()
    described["conversion"] = CoordinateOperation.from_epsg(code).to_json_dict()
    return _in_unit(CRS.from_json_dict(described), *_linear_unit(keys)).to_json_dict()


_WKT = (
    'PROJCS["{name}",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],'
    'UNIT["degree",0.0174532925199433]],PROJECTION["{method}"],{parameters}UNIT["{unit}",{factor!r}],'
    'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
)


def _projected(keys: Mapping[int, Value], degrees: float, name: str, unit: tuple[str, float]) -> Json:
    """Return a projected CRS on WGS 84 as PROJJSON; `degrees` are the degrees per unit of the angles in the keys."""
    number = keys.get(3075)
    if not isinstance(number, int) or number not in _METHODS:
        raise FileFormatError(f"projection method {number} (key 3075), which GDAL does not read either")
    method, sources = _METHODS[number]
    values = {
        parameter: number_of(keys, given, _DEFAULTS.get(parameter, 0.0))
        * (degrees if parameter in _IN_KEY_UNITS else 1.0)
        for parameter, given in sources.items()
    }
    if number == 7 and (3078 in keys or values["latitude_of_origin"] != 0):
        if values["latitude_of_origin"] != 0 and (3078 in keys or values["scale_factor"] != 1):
            raise FileFormatError(
                "a Mercator projection with a latitude of origin and a scale or a standard parallel, which PROJ does not compute"
            )
        parallel = number_of(keys, _FIRST, 0.0) * degrees if 3078 in keys else values["latitude_of_origin"]
        method = "Mercator_2SP"
        values = {"standard_parallel_1": parallel, "central_meridian": values["central_meridian"]}
    elif number == 8 and 3079 not in keys:
        values["standard_parallel_1"] = 0.0
    values |= {parameter: number_of(keys, given, 0.0) for parameter, given in _OFFSETS.items()}
    parameters = "".join(f'PARAMETER["{parameter}",{value!r}],' for parameter, value in values.items())
    wkt = _WKT.format(name=_quoted(name), method=method, parameters=parameters, unit=unit[0], factor=unit[1])
    if number == 27:
        wkt = wkt.replace("EAST]", "WEST]").replace("NORTH]", "SOUTH]")
    return CRS.from_wkt(wkt).to_json_dict()


def _bound(crs: CRS, keys: Mapping[int, Value]) -> CRS:
    """Return a CRS with the shift to WGS 84 of key 2062, which GDAL applies where the datum has no code."""
    shift, geodetic = keys.get(2062), crs.geodetic_crs
    has_code = any(code_of(keys, key) is not None for key in (2048, 2050, 3072))
    if has_code or not isinstance(shift, tuple) or len(shift) not in {3, 7} or not any(shift) or geodetic is None:
        return crs
    return BoundCRS(crs, "EPSG:4326", ToWGS84Transformation(geodetic, *shift))


def _linear_unit(keys: Mapping[int, Value]) -> tuple[str, float]:
    code = keys.get(3076)
    if code in {None, USER_DEFINED} and (size := number_of(keys, (3077,), 0.0)) > 0:
        return "unknown", size
    return units("linear").get(str(code), ("metre", 1.0))


def _citation(keys: Mapping[int, Value], key: int) -> str:
    text = keys.get(key)
    return text if isinstance(text, str) and len(text) < 200 and "\n" not in text else ""


def _quoted(name: str) -> str:
    return "".join(character for character in name if character.isprintable()).replace('"', "'")[:200]
