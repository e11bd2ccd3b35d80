"""Is this a table of rasteret's, and which bands does it have?

Schemas in, names out; no row is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polars.datatypes import DataType, DataTypeClass

SUFFIX = "_metadata"
_NEEDED = {"image_width", "image_height", "dtype", "transform"}
"""Fields without which nothing can be made of the metadata of a band."""
MARK = "rasteret_collection_version"
"""Key of the Parquet metadata by which rasteret knows its own files."""


def is_rasteret(schema: Mapping[str, DataType | DataTypeClass]) -> bool:
    """Return whether a table has assets and metadata of bands as rasteret writes them, and no raster column of ours."""
    return not raster_columns(schema) and bool(bands_of(schema))


def bands_of(schema: Mapping[str, DataType | DataTypeClass]) -> list[str]:
    """Return the bands of a table of rasteret's: fields of ``assets`` with metadata beside them, in the order of ``assets``.

    Examples
    --------
    >>> asset = pl.Struct({"href": pl.String})
    >>> known = pl.Struct(dict.fromkeys(["image_width", "image_height", "dtype", "transform"], pl.Int32))
    >>> bands_of({"assets": pl.Struct({"R": asset, "thumbnail": asset}), "R_metadata": known})
    ['R']
    """
    assets = schema.get("assets")
    if not isinstance(assets, pl.Struct):
        return []
    return [one.name for one in assets.fields if _has_href(one.dtype) and _is_metadata(schema.get(one.name + SUFFIX))]


def asset_fields(schema: Mapping[str, DataType | DataTypeClass], band: str) -> list[str]:
    """Return the names of the fields of one asset."""
    assets = schema["assets"]
    assert isinstance(assets, pl.Struct)
    asset = next(one.dtype for one in assets.fields if one.name == band)
    assert isinstance(asset, pl.Struct)
    return [one.name for one in asset.fields]


def _has_href(dtype: DataType | DataTypeClass) -> bool:
    return isinstance(dtype, pl.Struct) and any(one.name == "href" for one in dtype.fields)


def _is_metadata(dtype: DataType | DataTypeClass | None) -> bool:
    return isinstance(dtype, pl.Struct) and {one.name for one in dtype.fields} >= _NEEDED
