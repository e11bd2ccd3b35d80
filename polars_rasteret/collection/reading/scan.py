"""How is a collection opened as a LazyFrame?

Parts share one Parquet scan where they can, so that filters skip parts and row groups, and only selected columns are read. The
other parts are scans of their own; all scans are concatenated.
"""

from __future__ import annotations

import datetime as dt
import operator
import os
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_statistics import scan_words
from polars_rasteret.collection.reading.provenance import provenance_of, scan_with_provenance
from polars_rasteret.collection.reading.schemas import Columns, instance, united_schema
from polars_rasteret.collection.storage.parts import (
    Part,
    is_all_null,
    parts_at,
    plain_path,
    polars_options,
    read_schemas,
)
from polars_rasteret.collection.storage.parts_manifest import with_facts
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.rasteret_format.band_columns import bands_of, is_rasteret
from polars_rasteret.schema import is_raster_dtype, lossless_supertype, numpy_dtype, pixel_dtype, raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CASTS = pl.ScanCastOptions(
    integer_cast=["upcast", "allow-float"],
    float_cast="upcast",
    datetime_cast=["nanosecond-downcast", "millisecond-upcast", "microsecond-upcast", "convert-timezone"],
    missing_struct_fields="insert",
    categorical_to_string="allow",
)
_NO_HIVE_VALUE = "__HIVE_DEFAULT_PARTITION__"


def scan_collection(
    path: Any,
    *,
    index: str | os.PathLike[str] | None = None,
    descriptor: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Open a collection: a Parquet file, a folder of parts (hive folders too), a glob, or a list of these; local or remote.

    Only footers are read here. Parts may differ in pixel dtype and in columns: each band gets the smallest dtype that holds
    the values of all parts, a column that a part does not have is null there. Filters on columns and on ``bbox`` fields skip row
    groups. A collection that rasteret wrote opens as it is.

    Parameters
    ----------
    path
        A local path, ``s3://``, ``gs://``, ``az://`` or http(s) (one file; HTTP has no listing), or
        ``hf://datasets/org/name[@revision]/path`` (``HF_ENDPOINT`` names another hub; ``HF_TOKEN`` opens private lists). Of a
        list, records come in the order of the list. Or a table in memory: a frame, or anything with ``__arrow_c_stream__``.
    index
        A narrow table with a row per record, where `path` has wide tables of rasteret's: filters choose records in the index, and
        what is known of their bands is read for these alone.
    descriptor
        What the columns of `index` are: a descriptor of the catalog, or a mapping with its words (``columns``, ``bands``,
        ``rewrite``).
    storage_options, credential_provider
        As in `polars.scan_parquet`; for the Parquet files only. Pixels use ``configure_store``.

    Returns
    -------
    LazyFrame
        The geometry column is plain WKB (Binary).

    Raises
    ------
    UsageError
        When nothing is there, the files are no collection, or the parts do not fit together.

    Notes
    -----
    Of a collection that rasteret wrote, times are UTC, a whole number as ``datetime`` is a year (``start_datetime`` and
    ``end_datetime`` are its ends), and hrefs are relative to the folder of the collection, else to that in which Python works.
    What rasteret knows of a file does not do to read its pixels, so the header of a file is read before its first pixels, in one
    request in most cases.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> scenes = pr.scan_collection(f"{folder.name}/scenes")
    >>> scenes.filter(pl.col("datetime").dt.month() == 6).select("id").collect().item()
    'second'
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    if index is not None:
        from polars_rasteret.collection.reading.record_index import scan_record_index

        indexed = scan_record_index(path, index, descriptor, **options)
        provenance = max(provenance_of(os.fspath(one), storage_options) for one in (path, index))
        return scan_with_provenance(indexed, raster_columns(indexed.collect_schema()), provenance)
    if descriptor is not None:
        raise UsageError("scan_collection: a descriptor says what the columns of a record index are; pass index=, too")
    if isinstance(path, pl.LazyFrame | pl.DataFrame) or hasattr(path, "__arrow_c_stream__"):
        from polars_rasteret.collection.reading.rasteret_tables import open_table

        return open_table(path)
    paths = list(path) if isinstance(path, Iterable) and not isinstance(path, str | bytes | os.PathLike) else [path]
    if not paths:
        raise UsageError("the list of paths is empty: expected at least one Parquet file, folder or glob")
    parts: list[Part] = []
    for one in paths:
        found = parts_at(one, **options)
        if not found:
            raise UsageError(
                f"nothing is at {shown(plain_path(one))}: expected a Parquet file, or a folder or glob that holds some. "
                "GeoTIFFs become a collection by pr.build_from_files"
            )
        parts += with_facts(found, **options)
    provenances = {provenance_of(part.path, storage_options) for part in parts}
    if len(provenances) > 1:
        raise UsageError(
            "the paths lie partly on this machine and partly elsewhere, and hrefs from elsewhere may not name everything: scan "
            "each place by itself, and put the frames together with pl.concat"
        )
    scan = scan_parts(parts, plain_path(paths[0]), **options)
    return scan_with_provenance(scan, raster_columns(scan.collect_schema()), provenances.pop())


def scan_parts(parts: Sequence[Part], target: str, **options: Any) -> pl.LazyFrame:
    """Open some parts of a collection, and no other ones, as they are stored; errors name the collection as `target`.

    Raises
    ------
    UsageError
        When the files are not parts of a collection, or do not fit together.
    """
    schemas = read_schemas(parts, **options)
    stored = [{name: storage_dtype(dtype) for name, dtype in schema.items()} for schema in schemas]
    columns = [_columns_here(part, one, **options) for part, one in zip(parts, stored, strict=True)]
    paths = [part.path for part in parts]
    united = united_schema(columns, paths, lambda part, band: has_no_value(parts[part], stored[part], band, **options))
    if not raster_columns(united):
        raise UsageError(
            f"{shown(target)} is not a collection: no column of it is a raster column (a Struct with href, band_index, crs, "
            f"transform, ...); it has {', '.join(united) or 'no columns'}. Make one with build_from_table."
        )
    hive = _hive_dtypes(parts)
    needs = [
        ("rasteret", part.folder) if is_rasteret(stored[number]) else _what_it_needs(schema, columns[number], united)
        for number, (part, schema) in enumerate(zip(parts, schemas, strict=True))
    ]
    # Only parts that follow each other share a scan: the order of records decides ties.
    runs = [[number for number, _ in run] for _, run in groupby(enumerate(needs), key=operator.itemgetter(1))]
    frames = [
        _scan_rasteret([parts[number] for number in run], [stored[number] for number in run], united, hive, options)
        if is_rasteret(stored[run[0]])
        else _scan_run([parts[number] for number in run], schemas[run[0]], united, hive, options)
        for run in runs
    ]
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical")


def _columns_here(part: Part, stored: Columns, **options: Any) -> dict[str, pl.DataType]:
    """Return the columns that a part has here: its own, or those that are made of rasteret's."""
    if not is_rasteret(stored):
        return dict(stored)
    from polars_rasteret.collection.reading.rasteret_parts import schema_here

    return schema_here(part, stored, **options)


def storage_dtype(dtype: pl.DataType) -> pl.DataType:
    """Return the plain dtype below an extension type, any other dtype unchanged."""
    return instance(dtype.ext_storage()) if isinstance(dtype, pl.BaseExtension) else dtype


def _what_it_needs(schema: Columns, plain: Columns, target: Columns) -> tuple[Any, ...]:
    """Return what keeps a part from sharing a scan: extension columns, and all-null bands whose dtype cannot be widened."""
    extensions = tuple((name, str(dtype)) for name, dtype in schema.items() if isinstance(dtype, pl.BaseExtension))
    return (extensions, _unfit_bands(plain, target))


def _unfit_bands(plain: Columns, target: Columns) -> tuple[str, ...]:
    unfit = []
    for name, dtype in plain.items():
        if is_raster_dtype(dtype) and dtype != target[name]:
            own, settled = numpy_dtype(pixel_dtype(dtype)), numpy_dtype(pixel_dtype(target[name]))
            if lossless_supertype([own, settled]) != settled:
                unfit.append(name)
    return tuple(unfit)


def _scan_run(
    parts: Sequence[Part], schema: Columns, target: Columns, hive: Mapping[str, pl.DataType], options: Mapping[str, Any]
) -> pl.LazyFrame:
    extensions = {name: dtype for name, dtype in schema.items() if isinstance(dtype, pl.BaseExtension)}
    plain = {name: storage_dtype(dtype) for name, dtype in schema.items()}
    unfit = _unfit_bands(plain, target)
    wanted = {name: extensions.get(name, dtype) for name, dtype in target.items() if name not in unfit}
    scanned, outside = _scan_files(parts, wanted, hive, options)
    if extensions:
        scanned = scanned.with_columns(pl.col(name).ext.storage() for name in extensions)
    if unfit:
        scanned = scanned.with_columns(pl.lit(None, dtype=target[name]).alias(name) for name in unfit)
    # With statistics, a row index must not become one of the scan: see `scan_words`. Polars takes the step away when it may.
    if unfit or outside or any(part.facts is not None for part in parts):
        scanned = scanned.select([*(name for name in target if name not in hive), *hive])
    return scanned


def _scan_rasteret(
    parts: Sequence[Part],
    stored: Sequence[Columns],
    target: Columns,
    hive: Mapping[str, pl.DataType],
    options: Mapping[str, Any],
) -> pl.LazyFrame:
    """Return the records of parts that rasteret wrote, with the columns of the collection."""
    from polars_rasteret.rasteret_format.places_of_files import FilePlaces
    from polars_rasteret.rasteret_format.records import own_records, scanned_schema

    raw = united_schema(stored, [part.path for part in parts], lambda *_: False)
    wanted = scanned_schema(raw)
    scanned, _ = _scan_files(parts, wanted, hive, options)
    pixels = {band: pixel_dtype(target[band]) for band in bands_of(raw)}
    records = own_records(scanned, {**wanted, **hive}, pixels, FilePlaces.beside(parts[0].folder))
    made = records.collect_schema()
    columns = [
        (pl.col(name) if made[name] == dtype else pl.col(name).cast(dtype))
        if name in made
        else pl.lit(None, dtype).alias(name)
        for name, dtype in {**target, **hive}.items()
    ]
    return records if made == pl.Schema({**target, **hive}) else records.select(columns)


def _scan_files(
    parts: Sequence[Part], wanted: Columns, hive: Mapping[str, pl.DataType], options: Mapping[str, Any]
) -> tuple[pl.LazyFrame, set[str]]:
    """Return a scan of files as columns of a schema and hive columns, and the hive keys above the collection."""
    outside: set[str] = set()
    hive_schema: dict[str, pl.DataType] | None = None
    if hive:
        outside = {
            piece.partition("=")[0] for part in parts for piece in part.path.split("/")[:-1] if "=" in piece
        } - hive.keys()
        hive_schema = {**dict.fromkeys(outside, pl.String()), **hive}
        wanted = {name: dtype for name, dtype in wanted.items() if name not in hive_schema}
    scanned = pl.scan_parquet(
        [part.path for part in parts],
        glob=False,
        hive_partitioning=bool(hive),
        hive_schema=hive_schema,
        schema=wanted,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=_CASTS,
        **scan_words(parts, wanted),
        **polars_options(**options),
    )
    return scanned, outside


def has_no_value(part: Part, stored: Columns, band: str, **options: Any) -> bool:
    """Return whether a part has no value in a band."""
    if is_rasteret(stored):
        from polars_rasteret.collection.reading.rasteret_parts import band_dtypes

        return not band_dtypes(part, stored, **options)[band]
    return is_all_null(part, band, **options)


def _hive_dtypes(parts: Sequence[Part]) -> dict[str, pl.DataType]:
    """Return the dtype of each hive key by all its values: Int64, Date or String."""
    values: dict[str, set[str]] = {}
    for part in parts:
        for key, value in part.hive:
            values.setdefault(key, set()).add(value)
    return {key: _hive_dtype(key, found - {_NO_HIVE_VALUE}) for key, found in values.items()}


def _hive_dtype(key: str, values: set[str]) -> pl.DataType:
    if values and all(value.lstrip("-").isdecimal() and len(value) < 18 for value in values):
        # "007" is a name, but a month may be written "05".
        is_whole = key in ("year", "month", "day") or all(str(int(value)) == value for value in values)
        return pl.Int64() if is_whole else pl.String()
    try:
        for value in values:
            dt.date.fromisoformat(value)
    except ValueError:
        return pl.String()
    return pl.Date() if values else pl.String()
