"""Which table did the caller mean, and what does its file say about its geometries?

A LazyFrame, a DataFrame, anything that hands out Arrow, or Parquet at a path or URL. Only the columns and rows that a build asks
for are read of it. Which columns mean what belongs in `table_columns` and `table_bands`.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.provenance import provenance_of
from polars_rasteret.collection.storage.hugging_face import web_address
from polars_rasteret.collection.storage.parts import is_remote, parts_at, plain_path, polars_options, read_metadata
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import Provenance, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from polars_rasteret.collection.storage.parts import Part

_OTHER_FORMATS = {".csv": "scan_csv", ".ndjson": "scan_ndjson", ".jsonl": "scan_ndjson", ".arrow": "scan_ipc"}
_ENCODINGS = ("point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon")
_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[/\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of records to be, not read yet."""

    frame: pl.LazyFrame
    geo: Mapping[str, Any] = field(default_factory=dict)
    """The GeoParquet metadata (key ``geo``) of the table; empty without any."""
    folder: str | None = None
    """Where relative hrefs begin; None: in the folder of the process."""
    provenance: Provenance = Provenance.HERE
    """Who named the hrefs."""

    @property
    def primary_geometry(self) -> str | None:
        """The geometry column that the GeoParquet metadata names first."""
        name = self.geo.get("primary_column")
        return name if isinstance(name, str) else None

    def stating_crs(self, geometry: pl.Series) -> pl.Series:
        """Return a geometry column of the table as a GeoArrow column, so that its dtype states encoding and CRS."""
        columns = self.geo.get("columns")
        told = columns.get(geometry.name) if isinstance(columns, dict) else None
        if not isinstance(told, dict) or isinstance(geometry.dtype, pl.BaseExtension):
            return geometry
        encoding = str(told.get("encoding", "WKB")).lower()
        if encoding not in _ENCODINGS and geometry.dtype != pl.Binary:
            return geometry
        # GeoParquet: no CRS means longitude and latitude, null means that the CRS is not known.
        stated = {"crs": told.get("crs", "OGC:CRS84"), "edges": told.get("edges")}
        metadata = json.dumps({name: value for name, value in stated.items() if value is not None})
        name = f"geoarrow.{encoding if encoding in _ENCODINGS else 'wkb'}"
        return geometry.ext.to(pl.Extension(name, geometry.dtype, metadata))


def table_of(
    source: Any, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> Table:
    """Return the table that a caller named; no row is read.

    Parameters
    ----------
    source
        LazyFrame, DataFrame, GeoDataFrame, anything with ``__arrow_c_stream__``, a pyarrow Dataset, or the path of Parquet: a
        file, a folder, a glob; local, in a bucket, ``hf://`` or http(s).
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Raises
    ------
    UsageError
        When nothing is there, or the source is of another kind.
    """
    if isinstance(source, str | os.PathLike):
        return _parquet(source, storage_options, credential_provider)
    if isinstance(source, pl.LazyFrame):
        return Table(frame=source)
    if isinstance(source, pl.DataFrame):
        return Table(frame=source.lazy())
    if hasattr(source, "to_arrow") and hasattr(source, "active_geometry_name"):
        source = source.to_arrow(index=False)
    geo = _metadata_of(source)
    if hasattr(source, "__arrow_c_stream__"):
        return Table(frame=pl.DataFrame(source).lazy(), geo=geo)
    if type(source).__module__.startswith("pyarrow") and hasattr(source, "scanner"):
        return Table(frame=pl.scan_pyarrow_dataset(source), geo=geo)
    raise UsageError(
        f"frame is a {type(source).__name__}; expected a LazyFrame, a DataFrame, an Arrow table, or the path of a Parquet table. "
        "Files go to build_from_files."
    )


def narrowed(
    table: Table,
    *,
    filter: pl.Expr | None,  # noqa: A002 - Polars' word
    columns: Sequence[str] | None,
    column_map: Mapping[str, str] | None,
) -> tuple[Table, list[str]]:
    """Return a table of some rows under the caller's names, and the names of the columns to be kept.

    Raises
    ------
    UsageError
        When a name is not there or is taken, or `filter` does not fit the table.
    """
    frame, schema = table.frame, table.frame.collect_schema()
    if columns is not None:
        if isinstance(columns, str):
            raise UsageError(f"columns is {columns!r}; expected a list of names, [{columns!r}]")
        _check_names("columns", columns, schema)
    if filter is not None:
        if not isinstance(filter, pl.Expr):
            raise UsageError(f"filter is a {type(filter).__name__}; expected an expression, as pl.col('year') == 2024")
        try:
            frame = frame.filter(filter)
            frame.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"filter {filter}: {error}; the table has {', '.join(schema)}") from error
    names = dict(column_map or {})
    if column_map is not None and not all(isinstance(one, str) and one for one in names.values()):
        raise UsageError(f'column_map is {column_map!r}; expected {{"name in the table": "name in the collection"}}')
    _check_names("column_map", names, schema)
    new = [names.get(name, name) for name in schema]
    if repeated := sorted({name for name in new if new.count(name) > 1}):
        raise UsageError(
            f"column_map={column_map!r}: {', '.join(repeated)} would be there twice; give the other column another name, too"
        )
    kept = [names.get(name, name) for name in (schema if columns is None else columns)]
    geo = dict(table.geo)
    if names and isinstance(told := geo.get("columns"), dict):
        geo["columns"] = {names.get(name, name): value for name, value in told.items()}
        geo["primary_column"] = names.get(str(geo.get("primary_column")), geo.get("primary_column"))
    return replace(table, frame=frame.rename(names) if names else frame, geo=geo), kept


def _check_names(word: str, names: Iterable[str], schema: Mapping[str, Any]) -> None:
    for name in names:
        if name not in schema:
            raise UsageError(f"{word} names {name!r}; the table has {', '.join(schema)}")


def href_resolver(table: Table, rewrite: Mapping[str, str] | None) -> Callable[[str], str]:
    """Return a function from an href of the table to the absolute href that is read.

    Parameters
    ----------
    table
        The table whose folder relative hrefs begin in.
    rewrite
        Prefix of hrefs to what stands there instead; the longest prefix that fits counts.

    Raises
    ------
    UsageError
        When `rewrite` is no mapping of texts.
    """
    if not isinstance(rewrite, Mapping | None) or not all(
        isinstance(one, str) and one and isinstance(other, str) for one, other in (rewrite or {}).items()
    ):
        raise UsageError(f'rewrite is {rewrite!r}; expected prefixes, as in {{"https://host/": "s3://bucket/"}}')
    pairs = dict(rewrite or {})
    prefixes = sorted(pairs, key=len, reverse=True)
    known: dict[str, str] = {}

    def resolved(href: str) -> str:
        if (full := known.get(href)) is None:
            full, folder = href, table.folder
            if (prefix := next((one for one in prefixes if href.startswith(one)), None)) is not None:
                full, folder = pairs[prefix] + href[len(prefix) :], None  # the caller's word, not the table's
            full = known[href] = _absolute(web_address(full), folder)
        return full

    return resolved


def _absolute(href: str, folder: str | None) -> str:
    if _WITH_SCHEME.match(href):
        return href
    if folder is not None and href and href[0] not in "/~" and not Path(href).is_absolute():
        if not is_remote(folder):
            return os.path.normpath(Path(folder) / href)
        root, slashes, place = folder.partition("://")
        host, _, path = place.partition("/")
        return f"{root}{slashes}{host}{posixpath.normpath(f'/{path}/{href}')}"
    return plain_path(href) if href else href


def _parquet(
    source: str | os.PathLike[str], storage_options: Mapping[str, Any] | None, credential_provider: Any
) -> Table:
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    text = os.fspath(source)
    suffix = os.path.splitext(text)[1].lower()  # noqa: PTH122 - may be a URL
    if (reader := _OTHER_FORMATS.get(suffix)) is not None:
        raise UsageError(f"{shown(text)}: expected Parquet; open it with pl.{reader}(path), and pass the frame")
    parts = parts_at(text, **options)
    if not parts:
        raise UsageError(f"nothing is at {shown(text)}: expected a Parquet file, or a folder or glob that holds some")
    try:
        metadata = read_metadata(parts[0], **options)
    except UsageError as error:
        raise UsageError(
            f"{error}. Where pyarrow can read it (as GeoParquet with native geometries), pass pyarrow.parquet.read_table(path)."
        ) from error
    frame = pl.scan_parquet(
        [part.path for part in parts],
        glob=False,
        hive_partitioning=any(part.hive for part in parts),
        missing_columns="insert",
        extra_columns="ignore",
        **polars_options(**options),
    )
    return Table(
        frame=frame,
        geo=_parsed_geo(metadata.get("geo")),
        folder=_common_folder(parts),
        provenance=max(provenance_of(part.path, storage_options) for part in parts),
    )


def _common_folder(parts: Sequence[Part]) -> str:
    """Return the deepest folder that holds all parts, without hive folders."""
    folders = [part.path.split("/")[: -1 - len(part.hive)] for part in parts]
    shared = 0
    while all(len(one) > shared and one[shared] == folders[0][shared] for one in folders):
        shared += 1
    return "/".join(folders[0][:shared]) or "/"


def _metadata_of(source: Any) -> Mapping[str, Any]:
    metadata = getattr(getattr(source, "schema", None), "metadata", None)
    return _parsed_geo(metadata.get(b"geo") if isinstance(metadata, dict) else None)


def _parsed_geo(text: str | bytes | None) -> Mapping[str, Any]:
    try:
        geo = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return geo if isinstance(geo, dict) else {}
