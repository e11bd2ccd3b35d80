"""Which columns of a table hold the hrefs of each band?

A column of hrefs, a field of a struct (``"assets.B04"``), or a STAC struct of assets whose GeoTIFFs become bands. What the
hrefs mean belongs in `table_sources`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.ingest.records import check_band_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from polars.datatypes import DataType

_GEOTIFF_TYPES = ("image/tiff", "image/vnd.stac.geotiff")
_WANTED_ROLES = ("data", "cloud", "cloud-shadow", "snow-ice", "water-mask", "saturation", "data-mask")
_UNWANTED_ROLES = ("thumbnail", "overview", "visual")
_BAND_LISTS = ("bands", "raster:bands", "eo:bands")
_TEXTS = (pl.String, pl.Null)


@dataclass(frozen=True, slots=True)
class BandPlace:
    """Where the hrefs of a band are in a table."""

    column: str
    fields: tuple[str, ...]
    """Fields of structs inside the column, from the outside to the one that holds an href or a struct with the field href."""
    index: int | None
    """0-based band of the files; None: the field ``band_index`` beside the href tells, else 0."""

    def value(self) -> pl.Expr:
        """Return the expression of the href, or of the struct that holds it."""
        value = pl.col(self.column)
        for name in self.fields:
            value = value.struct.field(name)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class BandHrefs:
    """The files of one band, row by row."""

    name: str
    hrefs: list[str | None]
    """As the table has them."""
    band_index: NDArray[np.int64]


def places_of_bands(bands: Any, schema: Mapping[str, DataType]) -> dict[str, BandPlace]:
    """Return where the hrefs of each band are; of a struct of assets, of every asset with an href.

    Raises
    ------
    UsageError
        When `bands` has another form, or the table no such column.
    """
    if isinstance(bands, str):
        return dict(_assets(bands, schema))
    if not isinstance(bands, Mapping) or not bands:
        raise UsageError(
            f'bands is {bands!r}; expected {{"B04": "href_b04"}}, {{"R": ("image", 0), "G": ("image", 1)}}, or the name of a '
            'column of STAC assets, "assets"'
        )
    places: dict[str, BandPlace] = {}
    for name, where in bands.items():
        column, index = where if isinstance(where, tuple | list) and len(where) == 2 else (where, None)
        if (
            not isinstance(column, str)
            or isinstance(index, bool)
            or not isinstance(index, int | None)
            or not 0 <= (index or 0) < 65_536
        ):
            raise UsageError(
                f"bands[{name!r}] is {where!r}; expected a column of hrefs, or (column, 0-based band index)"
            )
        found = _found(column, schema)
        if found is None:
            raise UsageError(f"bands[{name!r}] names column {column!r}; the table has {', '.join(_told(schema))}")
        path, dtype = found
        if not _holds_href(dtype):
            raise UsageError(
                f"column {column!r} of band {name!r} is {dtype}; expected String (paths or URLs), or a Struct with a field href"
            )
        places[name] = BandPlace(path[0], path[1:], index)
    check_band_names(list(places))
    return places


def bands_of_rows(bands: Any, places: Mapping[str, BandPlace], frame: pl.DataFrame) -> list[BandHrefs]:
    """Return the files of each band in the rows of a table; of a struct of assets, of those that are GeoTIFFs.

    Raises
    ------
    UsageError
        When no asset of a struct of assets is a GeoTIFF.
    """
    found: list[BandHrefs] = []
    for name, place in places.items():
        value = frame.select(place.value().alias(name)).to_series()
        found += _bands_of_asset(name, value) if isinstance(bands, str) else [_band(name, value, place.index)]
    if isinstance(bands, str):
        if not found:
            raise UsageError(
                f"bands={bands!r}: no asset there is a GeoTIFF of data in any row; assets are {', '.join(places)}. Name the "
                f'bands: bands={{"{next(iter(places))}": "{bands}.{next(iter(places))}"}}'
            )
        check_band_names([one.name for one in found])
    return found


def _assets(bands: str, schema: Mapping[str, DataType]) -> Iterator[tuple[str, BandPlace]]:
    """Yield the assets of a struct column, or of columns whose names are its paths (``assets.B04.href``)."""
    names = [name for name, dtype in _fields(schema.get(bands)).items() if _holds_href(dtype)]
    if names:
        yield from ((name, BandPlace(bands, (name,), None)) for name in names)
        return
    start, end = f"{bands}.", ".href"
    flat = [one for one in schema if one.startswith(start) and one.endswith(end) and schema[one] in _TEXTS]
    if not flat:
        raise UsageError(
            f"bands={bands!r}: expected the name of a column of STAC assets, a Struct whose fields have an href; the table "
            f'has {", ".join(_told(schema))}. Or name the bands, as in bands={{"B04": "href_b04"}}.'
        )
    yield from ((one.removeprefix(start).removesuffix(end), BandPlace(one, (), None)) for one in flat)


def _found(name: str, schema: Mapping[str, DataType]) -> tuple[tuple[str, ...], DataType] | None:
    """Return the path of a column, or of a field as ``column.field``, and its dtype."""
    if name in schema:
        return (name,), schema[name]
    for column, dtype in schema.items():
        if name.startswith(f"{column}.") and (below := _found(name[len(column) + 1 :], _fields(dtype))) is not None:
            return (column, *below[0]), below[1]
    return None


def _fields(dtype: Any) -> dict[str, Any]:
    """Return the fields of a Struct; empty for other dtypes."""
    return {field.name: field.dtype for field in dtype.fields} if isinstance(dtype, pl.Struct) else {}


def _holds_href(dtype: Any) -> bool:
    return _fields(dtype).get("href", dtype) in _TEXTS


def _told(schema: Mapping[str, DataType]) -> list[str]:
    names = list(schema)
    return names if len(names) <= 30 else [*names[:30], f"and {len(names) - 30} more"]


def _band(name: str, value: pl.Series, index: int | None) -> BandHrefs:
    fields = _fields(value.dtype)
    hrefs = value.struct.field("href") if fields else value
    of_row = pl.repeat(index or 0, len(value), dtype=pl.Int64, eager=True)
    if index is None and "band_index" in fields:
        of_row = value.struct.field("band_index").cast(pl.Int64).fill_null(0)
        if (wrong := of_row.filter((of_row < 0) | (of_row > 65_535))).len():
            raise UsageError(f"band {name!r}: band_index {wrong[0]} is none; bands of a file count from 0")
    return BandHrefs(name=name, hrefs=hrefs.to_list(), band_index=of_row.to_numpy())


def _bands_of_asset(name: str, value: pl.Series) -> list[BandHrefs]:
    """Return the bands of an asset in the rows where it is a GeoTIFF of data; none where it is one in no row."""
    if not isinstance(value.dtype, pl.Struct):
        value = value.to_frame("href").to_struct(name)
    dtypes = _fields(value.dtype)
    frame = value.struct.unnest()
    path = pl.col("href").str.to_lowercase().str.replace(r"[?#].*$", "")
    is_tiff = path.str.contains(r"\.(tiff?|gtiff|geotiff|cog)$")
    if dtypes.get("type") == pl.String:
        kind = pl.col("type").str.to_lowercase()
        stated = pl.any_horizontal(kind.str.starts_with(one) for one in _GEOTIFF_TYPES)
        is_tiff = pl.when(kind.is_null()).then(is_tiff).otherwise(stated)
    # Assets from before roles are known by their keys.
    is_data = pl.lit(name not in _UNWANTED_ROLES)
    if dtypes.get("roles") == pl.List(pl.String):
        roles = pl.col("roles")
        wanted = roles.list.set_intersection(list(_WANTED_ROLES)).list.len() > 0
        unwanted = roles.list.set_intersection(list(_UNWANTED_ROLES)).list.len() > 0
        is_data = pl.when(roles.list.len() > 0).then(wanted & ~unwanted).otherwise(is_data)
    is_band = frame.select((pl.col("href").is_not_null() & is_tiff & is_data).fill_null(value=False)).to_series()
    if not is_band.any() and len(value):
        return []
    count = np.ones(len(value), np.int64)
    if "band_index" not in dtypes:
        for one in _BAND_LISTS:
            if isinstance(dtypes.get(one), pl.List):
                count = np.maximum(count, frame[one].list.len().fill_null(0).to_numpy())
    is_band_of = is_band.to_numpy()
    of_rows = {
        name: (is_band_of & (count == 1), None),
        **{
            f"{name}.{n + 1}": (is_band_of & (count > max(n, 1)), n)
            for n in range(int(count[is_band_of].max(initial=1)))
        },
    }
    return [
        _band(own, value.to_frame("asset").select(pl.when(pl.Series(rows)).then("asset")).to_series(), index)
        for own, (rows, index) in of_rows.items()
        if rows.any() or (own == name and not len(value))
    ]
