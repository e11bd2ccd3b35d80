"""From which files were the records of a collection made, and have those files changed?

A file is unchanged when its size, and its ETag or else its time, are equal to the indexed ones. One request for the first 16
bytes tells all three, also on a server or store without HEAD and conditional requests. So no header is read to find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_rows import read_unread
from polars_rasteret.collection.storage.geoparquet import UNREAD, UNREAD_DTYPE
from polars_rasteret.collection.storage.parts import Part, polars_options, read_schema
from polars_rasteret.engine import admission
from polars_rasteret.errors import FetchError, StaleIndexError
from polars_rasteret.fetch.failures import MissingFileError
from polars_rasteret.fetch.sources.byte_source import Answer, FileKey, Terms, checked
from polars_rasteret.fetch.stepwise_reads import FileRange, StepwiseRead, read_all
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.headers import FileIdentity, Header, Unreadable
from polars_rasteret.options import current_options
from polars_rasteret.schema import raster_columns
from polars_rasteret.tiff.tile_flags import flags_of, with_flag
from polars_rasteret.tiff.tile_table import file_identity, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from polars_rasteret.ingest.records import BandFiles

N_CHECK_BYTES = 16
"""Bytes that are asked for to learn size, ETag and time of a file."""
UNKNOWN: FileIdentity = (None, None, None)


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """The file of one band of one record; also a file that gave no raster."""

    row: int
    band: str | None
    """Band column of the file; None: all bands of an unread file, under the names of that file."""
    href: str
    band_index: int
    identity: FileIdentity
    is_unread: bool
    provenance: Provenance = Provenance.HERE


def indexed_files(part: Part, *, identities: bool = True, **options: Any) -> tuple[list[str | None], list[IndexedFile]]:
    """Read the ids of a part, and the files that its records were made from.

    Without `identities` the large column ``tiles`` is not read, and the identity of each file is unknown.
    """
    schema = read_schema(part, **options)
    fields = ("href", "band_index", "tiles") if identities else ("href", "band_index")
    names = raster_columns(schema)
    scan = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    frame = scan.select(
        pl.col("id"), *(pl.struct(pl.col(name).struct.field(field) for field in fields).alias(name) for name in names)
    ).collect()
    known: dict[bytes, FileIdentity] = {}
    indexed: list[IndexedFile] = []
    for name in names:
        columns = frame[name].struct.unnest()
        tiles = columns["tiles"].to_list() if identities else [None] * frame.height
        for row, (href, index, packed) in enumerate(
            zip(columns["href"].to_list(), columns["band_index"].to_list(), tiles, strict=True)
        ):
            if href is None:
                continue
            identity, provenance = UNKNOWN, Provenance.HERE
            if packed:
                provenance = flags_of(packed)[1]
                digest = packed[1:9]
                if digest not in known:
                    known[digest] = file_identity(packed)
                identity = known[digest]
            indexed.append(IndexedFile(row, name, href, index, identity, is_unread=False, provenance=provenance))
    for row, entries in enumerate(read_unread(part, **options)[UNREAD].to_list()):
        for one in entries or ():
            identity = (one["file_size"], one["etag"], one["last_modified"])
            indexed.append(IndexedFile(row, one["band"], one["href"], one["band_index"] or 0, identity, is_unread=True))
    return frame["id"].cast(pl.String).to_list(), indexed


def indexed_headers(part: Part, wanted: Mapping[str, Sequence[int]], **options: Any) -> dict[str, Header]:
    """Return headers made from the rasters of a part, for the files in `wanted` all of whose wanted bands are there.

    Nodata and its flag, where a caller set them, are not taken over. Descriptions and time of the file are not known.
    """
    names = raster_columns(read_schema(part, **options))
    scan = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    hrefs = pl.Series(list(wanted), dtype=pl.String)
    rasters: dict[str, dict[int, dict[str, Any]]] = {}
    for name in names:
        fields = pl.col(name).struct.unnest()
        frame = (
            scan.select(fields).filter(pl.col("href").is_in(hrefs.implode())).unique(["href", "band_index"]).collect()
        )
        for one in frame.iter_rows(named=True):
            rasters.setdefault(one["href"], {}).setdefault(one["band_index"], one)
    return {
        href: _header_of(bands) for href, bands in rasters.items() if bands.keys() >= set(wanted[href]) and wanted[href]
    }


def _header_of(bands: Mapping[int, Mapping[str, Any]]) -> Header:
    one = next(iter(bands.values()))
    n_bands = max(bands) + 1
    return Header(
        href=one["href"],
        crs=one["crs"],
        crs_refusal=None,  # told when the file was read
        transform=None if one["transform"] is None else tuple(one["transform"]),
        width=one["width"],
        height=one["height"],
        n_bands=n_bands,
        dtype=unpack(one["tiles"]).dtype,
        descriptions=(None,) * n_bands,
        scales=tuple(bands[index]["scale"] if index in bands else None for index in range(n_bands)),
        offsets=tuple(bands[index]["offset"] if index in bands else None for index in range(n_bands)),
        datetime=None,
        tiles={index: with_flag(raster["tiles"], ignore_nodata=False) for index, raster in bands.items()},
        refused={},
        identity=file_identity(one["tiles"]),
    )


def files_to_read(indexed: Iterable[IndexedFile], known_changes: dict[str, bool], *, unknown_is_same: bool) -> set[str]:
    """Return the hrefs whose headers must be read again; each file that `known_changes` does not hold is asked.

    Parameters
    ----------
    indexed
        The files of some records.
    known_changes
        Href to whether the file changed; filled here.
    unknown_is_same
        Whether a file counts as unchanged when its source tells neither size nor ETag nor time.

    Returns
    -------
    set of str
        Includes files that are gone, and unread files of which no size, ETag or time is known.

    Raises
    ------
    FetchError
        When a file cannot be asked, for another reason than being gone.
    """
    indexed = list(indexed)
    known = {one.href: one.identity for one in indexed if one.href not in known_changes}
    for one in indexed:
        if one.is_unread and one.identity == UNKNOWN:
            known_changes.setdefault(one.href, True)
    asked = [(href, identity) for href, identity in known.items() if href not in known_changes]
    options, provenances = current_options(), provenance_of_files(indexed)

    def start(item: tuple[str, FileIdentity]) -> StepwiseRead[bool]:
        terms = Terms.of(options.allowed_hrefs, provenances[item[0]])
        return _is_changed(*item, terms, unknown_is_same=unknown_is_same)

    answers = read_all(start, asked, options=options, admit=admission(options))
    known_changes.update({href: answer for (href, _), answer in zip(asked, answers, strict=True)})
    return {one.href for one in indexed if known_changes[one.href]}


def with_unread(
    frame: pl.DataFrame, bands: Sequence[BandFiles], headers: Sequence[Header | Unreadable], *, own_names: bool
) -> pl.DataFrame:
    """Return the frame with the column `UNREAD`: the files of each record that gave no raster.

    Parameters
    ----------
    frame
        The records that `records_frame` made of `bands` and `headers`.
    own_names
        Whether each file names its own bands, so that the bands of an unreadable file are not known.
    """
    rows: list[dict[tuple[str | None, str], dict[str, Any]]] = [{} for _ in range(frame.height)]
    for band in bands:
        missing = frame[band.name].is_null().to_numpy() & (band.file_id >= 0)
        for row in missing.nonzero()[0].tolist():
            header = headers[int(band.file_id[row])]
            whole = own_names and isinstance(header, Unreadable)
            size, etag, modified = header.identity
            rows[row].setdefault(
                (None if whole else band.name, header.href),
                {
                    "band": None if whole else band.name,
                    "href": header.href,
                    "band_index": None if whole else int(band.band_index[row]),
                    "file_size": size,
                    "etag": etag,
                    "last_modified": modified,
                },
            )
    told = [list(entries.values()) or None for entries in rows]
    return frame.with_columns(pl.Series(UNREAD, told, dtype=UNREAD_DTYPE))


def bands_by_href(indexed: Iterable[IndexedFile], hrefs: set[str]) -> Mapping[str, list[int] | None]:
    """Return the bands to read of each file; None means all bands."""
    wanted: dict[str, set[int] | None] = {}
    for one in indexed:
        if one.href in hrefs:
            if one.band is None:
                wanted[one.href] = None
            elif (indices := wanted.setdefault(one.href, set())) is not None:
                indices.add(one.band_index)
    return {href: None if indices is None else sorted(indices) for href, indices in wanted.items()}


def provenance_of_files(indexed: Iterable[IndexedFile]) -> dict[str, Provenance]:
    """Return the provenance of each href; of several, the farthest counts."""
    provenances: dict[str, Provenance] = {}
    for one in indexed:
        provenances[one.href] = max(one.provenance, provenances.get(one.href, Provenance.HERE))
    return provenances


def _is_changed(href: str, identity: FileIdentity, terms: Terms | None, *, unknown_is_same: bool) -> StepwiseRead[bool]:
    size, etag, modified = identity
    try:
        answer = yield FileRange(FileKey(href, terms=terms), 0, N_CHECK_BYTES)
    except MissingFileError:
        return True
    if etag is not None and answer.etag is not None:
        return etag != answer.etag or (size is not None and answer.file_size is not None and size != answer.file_size)
    told = (answer.file_size, answer.etag, answer.last_modified)
    if not any(before is not None and now is not None for before, now in zip(identity, told, strict=True)):
        return not unknown_is_same
    try:
        key = FileKey(href, etag, size, modified)
        checked(key, 0, memoryview(answer.data).nbytes, Answer(answer.data, *told))
    except (StaleIndexError, FetchError):
        return True
    return False
