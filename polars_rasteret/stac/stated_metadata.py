"""What do STAC items say about the CRS, nodata, scale and offset of a band?

Each field is looked for by itself, from the most to the least specific place. Whether the file knows better (as for the CRS) is
for whoever holds its header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from polars_rasteret.schema import numpy_dtype, pixel_dtype

_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def stated_crs(item: Mapping[str, Any], key: str) -> str | None:
    """Return the CRS that an asset states, else its item: a code, WKT or PROJJSON as text; None where neither does."""
    for where in (item["assets"][key], item["properties"]):
        if isinstance(code := where.get("proj:code"), str) and code:
            return code
        epsg = where.get("proj:epsg")
        if isinstance(epsg, int) and not isinstance(epsg, bool):
            return f"EPSG:{epsg}"
        if isinstance(wkt := where.get("proj:wkt2"), str) and wkt:
            return wkt
        if isinstance(projjson := where.get("proj:projjson"), Mapping):
            return json.dumps(projjson)
    return None


def stated_number(item: Mapping[str, Any], key: str, band_index: int, field: str) -> float | int | None:
    """Return the ``nodata``, ``scale`` or ``offset`` that an item states for a band; None where the file decides."""
    for where in _places(item, key, band_index):
        for name in (field, f"raster:{field}"):
            if (number := _number(where.get(name))) is not None:
                return number
    return None


def held(nodata: float | None, dtype: np.dtype[Any]) -> float | int | None:
    """Return a nodata value that pixels of a dtype can be equal to; None for another, which marks no pixel."""
    if nodata is None or dtype.kind == "f":
        return nodata
    if not math.isfinite(nodata) or nodata != int(nodata):
        return None
    info = np.iinfo(dtype)
    return int(nodata) if info.min <= nodata <= info.max else None


def with_stated(
    raster: pl.Series,
    *,
    nodata: Sequence[float | None],
    scale: Sequence[float | None],
    offset: Sequence[float | None],
) -> pl.Series:
    """Return a raster column in which stated values win over those of the files; None leaves what the file says."""
    dtype = pixel_dtype(raster.dtype)
    kept = [held(value, numpy_dtype(dtype)) for value in nodata]
    stated = {
        "nodata": pl.Series("nodata", kept, dtype=dtype, strict=False),
        "scale": pl.Series("scale", scale, dtype=pl.Float64, strict=False),
        "offset": pl.Series("offset", offset, dtype=pl.Float64, strict=False),
    }
    frame = pl.DataFrame([raster.alias("raster"), *stated.values()])
    fields = [pl.coalesce(name, pl.col("raster").struct.field(name)).alias(name) for name in stated]
    made = pl.when(pl.col("raster").is_not_null()).then(pl.col("raster").struct.with_fields(fields))
    return frame.select(made).to_series().rename(raster.name)


def _places(item: Mapping[str, Any], key: str, band_index: int) -> Iterator[Mapping[str, Any]]:
    asset = item["assets"][key]
    yield from _band(asset.get("bands"), band_index)
    yield asset
    yield from _band(asset.get("raster:bands"), band_index)
    yield from _band(item["properties"].get("raster:bands"), band_index)
    yield item["properties"]


def _band(bands: Any, index: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(bands, list) and index < len(bands) and isinstance(bands[index], Mapping):
        yield bands[index]


def _number(value: Any) -> float | int | None:
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
