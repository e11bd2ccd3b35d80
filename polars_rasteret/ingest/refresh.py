"""How are the records of files that changed brought up to date?

The parts with changed files are written anew, one after the other, each in one step. Records of unchanged files keep their
values, and the caller's columns stay as they are.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import shapely

from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.reading.part_rows import read_about, read_part
from polars_rasteret.collection.reading.provenance import provenance_of
from polars_rasteret.collection.reading.scan import scan_collection, scan_parts
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.storage.parts import is_all_null, read_schema
from polars_rasteret.collection.writing.native_rasters import with_native_rasters
from polars_rasteret.collection.writing.publishing import NewPart
from polars_rasteret.collection.writing.sink import write_parts
from polars_rasteret.collection.writing.upkeep import changing, folder_of
from polars_rasteret.geo.geometry import parsed
from polars_rasteret.ingest.headers import Header, Unreadable, read_headers
from polars_rasteret.ingest.indexed_files import (
    IndexedFile,
    bands_by_href,
    files_to_read,
    indexed_files,
    provenance_of_files,
    with_unread,
)
from polars_rasteret.ingest.records import BandFiles, own_band_names, records_frame
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.rasteret_format.band_columns import is_rasteret
from polars_rasteret.schema import (
    PIXEL_DTYPES,
    lossless_supertype,
    numpy_dtype,
    pixel_dtype,
    raster_columns,
    raster_dtype,
)
from polars_rasteret.tiff.tile_flags import with_flag

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from polars_rasteret.collection.storage.parts import Part


def refresh(
    path: str | os.PathLike[str],
    *,
    progress: bool | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Index anew the files of a collection that changed, and write their parts again.

    One request per file tells whether its size and ETag (else its time) are as indexed. Only headers of changed files are read,
    and of files that could not be read before. A file that is gone becomes a null raster, with the reason in ``header_error``;
    when the file comes back, the next call finds it. ``id``, ``datetime``, a ``geometry`` of your own and your columns stay. For
    new files, call the build again with the same ``into``.

    A collection that rasteret wrote becomes one of this package, which rasteret cannot read; its hive folders stay.

    Parameters
    ----------
    path
        A collection: a Parquet file or a folder of parts.
    progress
        Whether to show a progress bar of the headers that are read; None: as the options say.
    wait_s
        Seconds to wait for another writer of a local collection.
    storage_options, credential_provider
        As in `polars.scan_parquet`; they also serve for reading the files.

    Returns
    -------
    LazyFrame
        The collection, as `scan_collection` returns it.

    Raises
    ------
    UsageError
        When no collection is there, or another writer is at work.
    FetchError
        When a file cannot be asked, for another reason than being gone. Parts that were written before stay.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> pr.refresh(f"{folder.name}/scenes").select("id", "header_error").collect().rows()
    [('first', None), ('second', None)]
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    with changing(path, wait_s=wait_s, may_be_rasteret=True, **options) as (target, parts):
        accepted = pixel_dtypes(parts, **options)
        known_changes: dict[str, bool] = {}
        for part in parts:
            if is_rasteret(read_schema(part, **options)):
                _make_native(part, target, storage_options, credential_provider)
                continue
            _, indexed = indexed_files(part, **options)
            told_by = provenance_of(target, storage_options)
            named = dict.fromkeys((one.href for one in indexed), told_by)
            remember_stores(named, storage_options, credential_provider, provenance=named)
            hrefs = files_to_read(indexed, known_changes, unknown_is_same=False)
            if hrefs:
                rewrite(part, target, indexed, hrefs, accepted, progress=progress, **options)
    return scan_collection(target, **options)


def _make_native(part: Part, target: str, storage_options: Mapping[str, Any] | None, credential_provider: Any) -> None:
    """Replace a part that rasteret wrote by one of this package, with tables by the headers of its files."""
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    hive = [key for key, _ in part.hive]
    frame = scan_parts([part], target, **options).drop(hive).collect()
    hrefs = {href for name in raster_columns(frame.schema) for href in frame[name].struct.field("href").drop_nulls()}
    named = dict.fromkeys(hrefs, provenance_of(target, storage_options))
    remember_stores(named, storage_options, credential_provider, provenance=named)
    piece = NewPart(folder_of(part, target), with_native_rasters(frame), read_about([part], **options))
    write_parts([piece], target, [part], **options)


def pixel_dtypes(parts: Sequence[Part], **options: Any) -> dict[str, np.dtype[Any]]:
    """Return the pixel dtype of each band of a collection."""
    found: dict[str, dict[np.dtype[Any], list[Part]]] = {}
    for part in parts:
        schema = read_schema(part, **options)
        for band in raster_columns(schema):
            found.setdefault(band, {}).setdefault(numpy_dtype(pixel_dtype(schema[band])), []).append(part)
    result: dict[str, np.dtype[Any]] = {}
    for band, dtypes in found.items():
        settled = lossless_supertype(dtypes)
        if settled is None:
            # A part without values in a band does not count.
            settled = lossless_supertype(
                dtype for dtype, its in dtypes.items() if not all(is_all_null(part, band, **options) for part in its)
            )
        if settled is not None:
            result[band] = np.dtype(settled)
    return result


def rewrite(
    part: Part,
    target: str,
    indexed: Sequence[IndexedFile],
    hrefs: set[str],
    accepted: Mapping[str, np.dtype[Any]],
    *,
    progress: bool | None,
    **options: Any,
) -> None:
    """Read the headers of `hrefs`, and replace a part by one whose records are made from them."""
    rows = sorted({one.row for one in indexed if one.href in hrefs})
    concerned = set(rows)
    # The reasons of a row are told together: all that went wrong with it is looked at again.
    hrefs = hrefs | {one.href for one in indexed if one.is_unread and one.row in concerned}
    bands = bands_by_href(indexed, hrefs)
    headers = read_headers(
        list(bands), list(bands.values()), progress=progress, provenance=provenance_of_files(indexed), **options
    )
    never_read = {one.href for one in indexed if one.is_unread} - {one.href for one in indexed if not one.is_unread}
    if all(isinstance(header, Unreadable) and header.href in never_read for header in headers):
        return
    frame = read_part(part, **options)
    entries = [one for one in indexed if one.row in concerned and one.href in hrefs]
    updated = _updated(frame, rows, entries, headers, accepted)
    write_parts([NewPart(folder_of(part, target), updated, read_about([part], **options))], target, [part], **options)


def _updated(
    frame: pl.DataFrame,
    rows: Sequence[int],
    entries: Sequence[IndexedFile],
    headers: Sequence[Header | Unreadable],
    accepted: Mapping[str, np.dtype[Any]],
) -> pl.DataFrame:
    """Return the frame with the rasters of `entries` made from the headers, and the record columns of `rows` made anew."""
    place = {row: at for at, row in enumerate(rows)}
    number = {header.href: at for at, header in enumerate(headers)}
    planes: dict[str, BandFiles] = {}

    def put(band: str, row: int, file: int, index: int) -> None:
        if band not in planes:
            planes[band] = BandFiles(
                name=band,
                file_id=np.full(len(rows), -1, dtype=np.int64),
                band_index=np.zeros(len(rows), dtype=np.int64),
            )
        planes[band].file_id[place[row]] = file
        planes[band].band_index[place[row]] = index

    known = raster_columns(frame.schema)
    unnamed: list[IndexedFile] = []
    for one in entries:
        header = headers[number[one.href]]
        if one.band is not None:
            put(one.band, one.row, number[one.href], one.band_index)
        elif isinstance(header, Header):
            for index, name in enumerate(own_band_names(header)):
                put(name, one.row, number[one.href], index)
        else:
            unnamed.append(one)
            for name in known:
                put(name, one.row, number[one.href], 0)
    old = frame[list(rows)]
    made = records_frame(old.select("id"), list(planes.values()), headers, on_error="null", accepted=accepted)
    made = with_unread(made, list(planes.values()), headers, own_names=False)
    for one in unnamed:
        # Still unreadable: its bands are still unknown.
        made = made.with_columns(
            pl.when(pl.int_range(pl.len()) == place[one.row]).then(old[UNREAD]).otherwise(UNREAD).alias(UNREAD)
        )
    new = old
    for name, band in planes.items():
        new = new.with_columns(_merged(old, made[name], band.file_id >= 0, name))
    told = {name: made[name] for name in ("indexed_at", "header_error") if name in frame.columns}
    new = new.with_columns(made[UNREAD], *told.values())
    if "datetime" in new.columns and new["datetime"].null_count():
        new = _with_file_times(new, old, entries, {header.href: header for header in headers}, place)
    new = _placed(_projected(new), old)
    kept = np.ones(frame.height, dtype=bool)
    kept[list(rows)] = False
    rest = frame.filter(pl.Series(kept))
    wider = {name: new.schema[name] for name in planes}
    rest = rest.with_columns(
        pl.col(name).cast(dtype)
        if name in rest.columns and rest[name].null_count() < rest.height
        else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in wider.items()
    )
    order = np.argsort(np.concatenate([kept.nonzero()[0], np.asarray(rows)]))
    result: pl.DataFrame = pl.concat([rest, new.select(rest.columns)])[order.tolist()]
    return result


def _merged(old: pl.DataFrame, made: pl.Series, is_new: np.ndarray[Any, Any], name: str) -> pl.Series:
    """Return the new raster where there is a new header, else the old one.

    Nodata, scale and flag that a caller set stay.
    """
    own = pixel_dtype(made.dtype)
    if name not in old.columns or old[name].null_count() == len(old):
        return made.rename(name)
    settled = lossless_supertype([numpy_dtype(own), numpy_dtype(pixel_dtype(old.schema[name]))])
    dtype = raster_dtype(own if settled is None else PIXEL_DTYPES[settled.name])
    both = pl.DataFrame({"old": old[name].cast(dtype), "new": made.cast(dtype), "is_new": is_new})
    new, before = pl.col("new").struct.field, pl.col("old").struct.field
    flagged = [
        None if after is None else with_flag(after, ignore_nodata=True) if was is not None and was[0] & 1 else after
        for was, after in both.select(was=before("tiles"), after=new("tiles")).iter_rows()
    ]
    both = both.with_columns(flagged=pl.Series(flagged, dtype=pl.Binary))
    merged = pl.col("new").struct.with_fields(
        nodata=pl.coalesce(before("nodata"), new("nodata")),
        crs=pl.coalesce(new("crs"), before("crs")),  # an item stated it, where the file has none
        scale=pl.coalesce(new("scale"), before("scale")),
        offset=pl.coalesce(new("offset"), before("offset")),
        tiles=pl.col("flagged"),
    )
    return (
        both.select(
            pl.when(~pl.col("is_new"))
            .then("old")
            .otherwise(pl.when(pl.col("new").is_not_null()).then(merged))
            .alias(name)
        )
        .to_series()
        .cast(dtype)
    )


def _with_file_times(
    new: pl.DataFrame,
    old: pl.DataFrame,
    entries: Sequence[IndexedFile],
    headers: Mapping[str, Header | Unreadable],
    place: Mapping[int, int],
) -> pl.DataFrame:
    """Return the frame with the times of files that were never read before, for records of one file that have no time."""
    times: list[Any] = [None] * old.height
    for row, files in itertools.groupby(sorted(entries, key=lambda one: one.row), key=lambda one: one.row):
        hrefs = {one.href for one in files if one.is_unread}
        header = headers[hrefs.pop()] if len(hrefs) == 1 else None
        times[place[row]] = header.datetime if isinstance(header, Header) else None
    told = pl.Series("datetime", times, dtype=new.schema["datetime"])
    return new.with_columns(pl.coalesce("datetime", told))


def _projected(new: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with ``proj:code`` and ``proj:epsg`` made anew, where it has them."""
    codes = [new[name].struct.field("crs").to_list() for name in raster_columns(new.schema)]
    shared = [{code for code in row if code is not None} for row in zip(*codes, strict=True)]
    code = [row.pop() if len(row) == 1 else None for row in shared]
    code = [one if one is not None and ":" in one and len(one) < 40 else None for one in code]
    epsg = [int(one[5:]) if one is not None and one[:5] == "EPSG:" and one[5:].isdecimal() else None for one in code]
    made = {"proj:code": pl.Series(code, dtype=pl.String), "proj:epsg": pl.Series(epsg, dtype=pl.Int32)}
    return new.with_columns(values.alias(name) for name, values in made.items() if name in new.columns)


def _placed(new: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with footprints and boxes made anew; a footprint that was not made from the images stays."""
    made = with_places(old.drop("geometry", "bbox", strict=False))
    before, then = (parsed(one["geometry"].to_list()) for one in (old, made))
    derived = shapely.is_missing(before) | shapely.equals_exact(before, then, tolerance=1e-9)
    of_images = with_places(new.drop("geometry", "bbox"))
    both = new.drop("bbox").with_columns(
        pl.when(pl.Series(derived)).then(of_images["geometry"]).otherwise("geometry").alias("geometry")
    )
    return with_places(both)
