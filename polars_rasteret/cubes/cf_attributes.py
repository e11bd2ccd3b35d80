"""Which attributes tell readers of an xarray Dataset its CRS, transform and axes?

They are those of CF, with ``crs_wkt`` and ``GeoTransform``, which rioxarray and odc-geo read. xarray itself is not needed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.geo.crs import is_geographic
from polars_rasteret.proj_thread import on_proj_thread

if TYPE_CHECKING:
    from collections.abc import Sequence


def spatial_ref_attributes(crs: str | None, transform: Sequence[float]) -> dict[str, Any]:
    """Return the attributes of the variable ``spatial_ref``.

    Parameters
    ----------
    crs
        CRS of the grid; None where it is not known.
    transform
        ``a, b, c, d, e, f`` of the grid.

    Examples
    --------
    >>> told = spatial_ref_attributes("EPSG:32632", (10, 0, 500000, 0, -10, 4600000))
    >>> told["GeoTransform"], told["grid_mapping_name"]
    ('500000 10 0 4600000 0 -10', 'transverse_mercator')
    """
    a, b, c, d, e, f = transform
    attributes = {} if crs is None else on_proj_thread(_cf_of, crs)
    return {**attributes, "GeoTransform": " ".join(repr(one) for one in (c, a, b, f, d, e))}


def _cf_of(crs: str) -> dict[str, Any]:
    import pyproj

    return dict(pyproj.CRS.from_user_input(crs).to_cf())


def axis_attributes(crs: str | None, axis: str) -> dict[str, str]:
    """Return the attributes of the coordinate ``x`` or ``y``.

    Examples
    --------
    >>> axis_attributes("EPSG:4326", "y")
    {'axis': 'Y', 'standard_name': 'latitude', 'long_name': 'latitude', 'units': 'degrees_north'}
    """
    if crs is None:
        return {"axis": axis.upper()}
    if is_geographic(crs):
        name, unit = ("longitude", "degrees_east") if axis == "x" else ("latitude", "degrees_north")
        return {"axis": axis.upper(), "standard_name": name, "long_name": name, "units": unit}
    told = {"standard_name": f"projection_{axis}_coordinate", "long_name": f"{axis} coordinate of projection"}
    return {"axis": axis.upper(), **told, "units": on_proj_thread(_unit_of, crs)}


def _unit_of(crs: str) -> str:
    import pyproj

    axes = pyproj.CRS.from_user_input(crs).axis_info
    return axes[0].unit_name if axes else "metre"
