"""How does a build grow a collection on disk, part by part, so that it can be killed and go on?

Every `RECORDS_PER_PART` records become a part, which appears whole; see `joined_parts` for what becomes of it. Parts that came
since the build began (see `lease`) belong to this build, and their records are kept as they are after a kill. Records of earlier
parts are kept when their files are unchanged. How a record is made belongs in `build_from_files` and `build_from_table`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_rows import read_about, read_unread
from polars_rasteret.collection.reading.scan import scan_collection, scan_parts
from polars_rasteret.collection.storage.about import NOTHING_SAID, About, united
from polars_rasteret.collection.storage.parts import Part, is_one_file, parts_at, plain_path
from polars_rasteret.collection.writing.publishing import NewPart
from polars_rasteret.collection.writing.sink import write_parts
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.ingest.headers import Header, Unreadable, read_headers_in_batches
from polars_rasteret.ingest.indexed_files import IndexedFile, files_to_read, indexed_files, indexed_headers
from polars_rasteret.ingest.joined_parts import SmallParts
from polars_rasteret.ingest.lease import Build, building
from polars_rasteret.ingest.refresh import pixel_dtypes, rewrite
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.options import current_options
from polars_rasteret.schema import lossless_supertype, numpy_dtype, pixel_dtype, raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Generator, Mapping, Sequence

    import numpy as np

    from polars_rasteret.collection.storage.object_store import ListedObject
    from polars_rasteret.hrefs import Provenance

RECORDS_PER_PART = 2_000
"""Records of a part that a build writes; a kill loses at most the headers of three parts."""

Key = tuple[str | None, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPlan:
    """The records that a build shall make."""

    keys: Sequence[Key]
    """Id of each record, and the distinct hrefs of its files, sorted."""
    bands: Sequence[str] | None
    """Names of the band columns; None: the files name them."""
    bands_of: Callable[[int], set[str]] | None = None
    """``bands_of(row)`` returns the names of the bands that a record has a file for; None: all records have all bands."""
    indices: Callable[[str], Sequence[int] | None]
    """``indices(href)`` returns the bands to read of a file; None: all bands."""
    is_made_of_rasters: bool
    """Whether a record needs nothing of a file but what a raster column holds: neither its time nor the names of its bands."""
    frame: Callable[[Sequence[int], Mapping[str, Header | Unreadable], Mapping[str, np.dtype[Any]]], pl.DataFrame]
    """``frame(rows, headers, accepted)`` returns records by number; `accepted` holds the pixel dtypes of the collection so
    far."""
    about: About = NOTHING_SAID
    """What the caller says of the collection; a build that adds to one keeps what is said there."""
    provenance: Mapping[str, Provenance] | None = None
    """Provenance of each href that the caller did not name."""


def build_into(
    plan: RecordPlan,
    into: str | os.PathLike[str],
    *,
    progress: bool | None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
    listed: Mapping[str, ListedObject] | None = None,
) -> pl.LazyFrame:
    """Make the records that are missing, refresh those whose files changed, and return a scan of the collection.

    Parameters
    ----------
    plan
        The records to build.
    into
        The collection. A path that ends in ``.parquet`` grows in a folder beside it, and is written at the end.
    progress
        Whether to show a progress bar of files; None: as the options say.
    wait_s
        Seconds to wait for another writer, where `into` is local.
    listed
        Files of a bucket as a listing showed them; a file that is unchanged there is not asked.

    Raises
    ------
    UsageError
        When a file or collection of another kind is there.
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    target = plain_path(into)
    hrefs = sorted({href for _, of_record in plan.keys for href in of_record})
    remember_stores(hrefs, storage_options, credential_provider, provenance=plan.provenance)
    with building(target, options, wait_s=wait_s) as build:
        _grow(plan, build, progress=progress, listed=listed or {}, options=options)
        if is_one_file(target):
            put_together(build, target, options)
    return scan_collection(target, **options)


def _grow(
    plan: RecordPlan,
    build: Build,
    *,
    progress: bool | None,
    listed: Mapping[str, ListedObject],
    options: Mapping[str, Any],
) -> None:
    parts = growing_parts(build, options)
    about = united([read_about(parts, **options), plan.about])
    accepted = pixel_dtypes(parts, **options)
    known_changes: dict[str, bool] = {}
    todo = _rows_to_make(plan, build, parts, accepted, known_changes, listed=listed, progress=progress, options=options)
    known = _known_headers(plan, build, todo, known_changes, options)
    small = SmallParts(build, about, options)
    with closing(_frames(plan, todo, known, accepted, progress)) as frames:
        for frame in frames:
            build.renew()
            write_parts([NewPart("", frame, about)], build.folder, [], **options)
            small.wrote(frame.height)
    small.end()
    if not todo and not parts:
        write_parts([NewPart("", plan.frame([], {}, {}), about)], build.folder, [], **options)


def growing_parts(build: Build, options: Mapping[str, Any]) -> list[Part]:
    """Return the parts that are there when a build begins.

    Raises
    ------
    UsageError
        When they lie in hive folders.
    """
    parts = parts_at(build.folder, **options)
    if any(part.hive for part in parts):
        raise UsageError(
            f"into={build.folder!r} is partitioned by {', '.join(key for key, _ in parts[0].hive)}, and a build writes "
            "parts without hive folders; leave out into= and append with sink_collection(path, mode='append', partition_by=...)"
        )
    return parts


def put_together(build: Build, target: str, options: Mapping[str, Any]) -> None:
    """Join the parts of a build into one file, unless they are the parts from before."""
    parts = parts_at(build.folder, **options)
    if build.of is not None and len(parts) == len(build.before) and all(map(build.is_from_before, parts)):
        return
    unread = pl.concat([read_unread(part, **options) for part in parts])
    frame = scan_parts(parts, target, **options).collect().with_columns(unread)
    write_parts([NewPart("", frame, read_about(parts, **options))], target, build.over, **options)


def _rows_to_make(
    plan: RecordPlan,
    build: Build,
    parts: Sequence[Part],
    accepted: Mapping[str, np.dtype[Any]],
    known_changes: dict[str, bool],
    *,
    listed: Mapping[str, ListedObject],
    progress: bool | None,
    options: Mapping[str, Any],
) -> list[int]:
    """Return the numbers of the records that no part holds.

    Parts from before the build whose files changed are written anew here.
    """
    wanted = Counter(plan.keys)
    bands_of = {} if plan.bands_of is None else {key: plan.bands_of(row) for row, key in enumerate(plan.keys)}
    there: Counter[Key] = Counter()
    for part in parts:
        is_from_before = build.is_from_before(part)
        ids, indexed = indexed_files(part, identities=is_from_before, **options)
        of_row: list[list[IndexedFile]] = [[] for _ in ids]
        for one in indexed:
            of_row[one.row].append(one)
        asked: list[IndexedFile] = []
        for row, files in enumerate(of_row):
            key = (ids[row], tuple(sorted({one.href for one in files})))
            if there[key] < wanted[key]:
                there[key] += 1
                if (bands := bands_of.get(key, plan.bands)) is not None:
                    _refuse_other_bands(bands, key, files, build.folder)
                asked += files
        if is_from_before:
            for one in asked:
                if (seen := listed.get(one.href)) is not None and (one.identity[0], one.identity[1]) == (
                    seen.size,
                    seen.etag,
                ):
                    known_changes.setdefault(one.href, False)
            changed = files_to_read(asked, known_changes, unknown_is_same=True)
            if changed:
                rewrite(part, build.folder, indexed, changed, accepted, progress=progress, **options)
    todo = []
    for row, key in enumerate(plan.keys):
        if there[key]:
            there[key] -= 1
        else:
            todo.append(row)
    return todo


def _refuse_other_bands(bands: Collection[str], key: Key, files: Sequence[IndexedFile], target: str) -> None:
    names = {one.band for one in files}
    # An indexed record is not read again, so a band that it does not have would never come.
    if names and None not in names and not names.issuperset(bands):
        raise UsageError(
            f"{target} holds record {key[0]!r} of {shown(key[1][0])} with the bands {', '.join(sorted(map(str, names)))}; "
            f"asked for were {', '.join(sorted(bands))}. Build them into another path, or pr.remove the records first."
        )


def _known_headers(
    plan: RecordPlan, build: Build, todo: Sequence[int], known_changes: dict[str, bool], options: Mapping[str, Any]
) -> dict[str, Header]:
    """Return the headers of files that indexed records share with records to be made.

    A header is known where the rasters of the indexed records hold everything that is asked of the file.
    """
    if not plan.is_made_of_rasters:
        return {}
    wanted = {href: plan.indices(href) or () for row in todo for href in plan.keys[row][1]}
    found: dict[str, Header] = {}
    for part in parts_at(build.folder, **options) if wanted else ():
        some = indexed_headers(part, wanted, **options)
        if build.is_from_before(part):
            asked = [IndexedFile(0, None, href, 0, header.identity, is_unread=False) for href, header in some.items()]
            changed = files_to_read(asked, known_changes, unknown_is_same=True)
            some = {href: header for href, header in some.items() if href not in changed}
        found |= some
    return found


def _frames(
    plan: RecordPlan,
    todo: Sequence[int],
    known: Mapping[str, Header],
    accepted: dict[str, np.dtype[Any]],
    progress: bool | None,
) -> Generator[pl.DataFrame, None, None]:
    """Yield the records of each part to be written; a header is read once, and held until its last record is made."""
    chunks = [todo[start : start + RECORDS_PER_PART] for start in range(0, len(todo), RECORDS_PER_PART)]
    last: dict[str, int] = {}
    batches: list[list[str]] = []
    for number, rows in enumerate(chunks):
        batches.append([])
        for row in rows:
            for href in plan.keys[row][1]:
                if href not in last and href not in known:
                    batches[-1].append(href)
                last[href] = number
    hrefs = [href for batch in batches for href in batch]
    headers: dict[str, Header | Unreadable] = {**known}
    indices = [plan.indices(href) for href in hrefs]
    n_per_batch = [len(batch) for batch in batches]
    with (
        _bar(len(hrefs), progress) as arrived,
        closing(
            read_headers_in_batches(hrefs, indices, n_per_batch, arrived=arrived, provenance=plan.provenance)
        ) as read,
    ):
        for number, (rows, batch) in enumerate(zip(chunks, read, strict=True)):
            headers |= {header.href: header for header in batch}
            frame = plan.frame(rows, headers, accepted)
            yield frame
            accept(accepted, frame)
            headers = {href: header for href, header in headers.items() if last[href] > number}


def accept(accepted: dict[str, np.dtype[Any]], frame: pl.DataFrame) -> None:
    """Widen the pixel dtypes of a collection to hold those of a part."""
    for band in raster_columns(frame.schema):
        if frame[band].null_count() < frame.height:
            own = numpy_dtype(pixel_dtype(frame.schema[band]))
            settled = lossless_supertype([own, accepted.get(band, own)])
            assert settled is not None
            accepted[band] = settled


class _bar:  # noqa: N801 - reads as a verb
    """A progress bar where one is wanted; entering it returns a function to call with the number of files that arrived."""

    def __init__(self, total: int, progress: bool | None) -> None:
        self._bar: Any = None
        if current_options(progress=progress).progress:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="file", desc="headers")

    def __enter__(self) -> Callable[[int], None] | None:
        return None if self._bar is None else self._bar.update

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()
