"""How are files that a command names read: collections, GeoTIFFs, tables of places?"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIFF = (".tif", ".tiff")
_PARQUET = (".parquet", ".geoparquet", ".pq")
_GEOJSON = (".geojson", ".json")
_ARROW = (".arrow", ".feather", ".ipc")


def open_scenes(path: str, storage_options: Mapping[str, Any] | None = None) -> pl.LazyFrame:
    """Return a collection: what `pr.scan_collection` opens, or GeoTIFFs (path, URL or glob), whose headers are read now."""
    if names_tiffs(path):
        return pr.build_from_files(path, on_error="raise", storage_options=storage_options)
    return pr.scan_collection(path, storage_options=storage_options)


def scan_if_collection(path: str, storage_options: Mapping[str, Any] | None = None) -> pl.LazyFrame | None:
    """Return the scan of a collection; None where the path is a table, or files of another kind."""
    if names_tiffs(path):
        return None
    try:
        return pr.scan_collection(path, storage_options=storage_options)
    except UsageError:
        return None


def names_tiffs(path: str) -> bool:
    """Return whether a path names GeoTIFFs: by its suffix, or as a folder or prefix that is no table."""
    path = path.partition("?")[0] if "://" in path else path
    is_table = path == "-" or path.lower().endswith((*_PARQUET, *_GEOJSON, *_ARROW, ".csv"))
    is_folder = path.endswith("/") or Path(path).is_dir()
    return path.lower().endswith(_TIFF) or (is_folder and not is_table and not list(Path(path).rglob("*.parquet"))[:1])


def names_parquet(path: str) -> bool:
    """Return whether a path names Parquet."""
    return path.lower().endswith(_PARQUET) or path.startswith("hf://")


def read_table(path: str) -> pl.LazyFrame:
    """Return a table of a Parquet, CSV or Arrow file; ``-`` is CSV from stdin.

    Raises
    ------
    UsageError
        When the file is not there, or of another kind.
    """
    table = places(path)
    if not isinstance(table, pl.LazyFrame):
        raise UsageError(f"{shown(path)} is GeoJSON; a table of hrefs is Parquet, CSV or Arrow")
    return table


def clear_way(into: str, *, force: bool, storage_options: Mapping[str, Any] | None, refuse: bool = False) -> None:
    """Delete the collection that a build is to replace; without `force` it stays, and with `refuse` that is an error."""
    if (force or refuse) and scan_if_collection(into, storage_options) is not None:
        if not force:
            raise UsageError(f"{shown(into)} exists already; say --force to replace it")
        from polars_rasteret.collection.writing.deletion import delete_collection

        delete_collection(into, storage_options=storage_options)


def places(path: str) -> Any:
    """Return what a verb takes for places: a LazyFrame, or the object of a GeoJSON."""
    if path == "-":
        return pl.read_csv(io.BytesIO(sys.stdin.buffer.read()), try_parse_dates=True).lazy()
    suffix = Path(path).suffix.lower()
    if "://" not in path and not Path(path).is_file():
        raise UsageError(f"{shown(path)} is not there: expected a Parquet, CSV, Arrow or GeoJSON file")
    if suffix in _PARQUET:
        return pl.scan_parquet(path, glob=False)
    if suffix == ".csv":
        return pl.scan_csv(path, glob=False, try_parse_dates=True)
    if suffix in _ARROW:
        return pl.scan_ipc(path, glob=False)
    if suffix in _GEOJSON and "://" not in path:
        return _geojson(path)
    raise UsageError(
        f"{shown(path)}: files of places end in {', '.join((*_PARQUET, '.csv', *_ARROW, *_GEOJSON))}; or - is CSV from stdin"
    )


def _geojson(path: str) -> Any:
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no GeoJSON: expected a FeatureCollection, a Feature or a geometry")
    return found


def stated_geometry(path: str) -> tuple[str, Any] | None:
    """Return the geometry column of a GeoParquet file and its CRS; None for any other file.

    The CRS is None where the file says that it is not known. The columns themselves do not hold what the file says.
    """
    if Path(path).suffix.lower() not in _PARQUET:
        return None
    geo = pl.read_parquet_metadata(path).get("geo")
    if geo is None:
        return None
    try:
        stated = json.loads(geo)
        name = stated["primary_column"]
        column = stated["columns"][name]
        encoding, crs = column["encoding"], column.get("crs", "OGC:CRS84")
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError):
        raise UsageError(f"{shown(path)}: its metadata 'geo' is not that of GeoParquet") from None
    if encoding != "WKB":
        return None
    return str(name), json.dumps(crs) if isinstance(crs, dict) else crs
