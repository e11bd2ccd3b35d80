"""How does a build grow a collection on disk from records that come as a stream, whose end nobody knows?

It is `resumable_build` for a search of an API: parts appear as soon as their records are complete, and what is held of the other
records is 16 bytes each. Records that are there are known by their ids and hrefs; those of earlier builds are looked at last, and
made anew where their files changed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

from polars_rasteret.collection.reading.part_rows import read_about
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.about import NOTHING_SAID, About, united
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.storage.parts import is_one_file, parts_at, plain_path
from polars_rasteret.collection.writing.publishing import NewPart
from polars_rasteret.collection.writing.sink import write_parts
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.ingest.indexed_files import IndexedFile, files_to_read, indexed_files
from polars_rasteret.ingest.joined_parts import SmallParts
from polars_rasteret.ingest.lease import Build, building
from polars_rasteret.ingest.refresh import pixel_dtypes, rewrite
from polars_rasteret.ingest.resumable_build import accept, growing_parts, put_together
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Mapping, Sequence

    import numpy as np
    import polars as pl

    from polars_rasteret.collection.storage.parts import Part
    from polars_rasteret.ingest.resumable_build import Key


class RecordStream(Protocol):
    """The records that a build shall make, as they come."""

    def parts(
        self, are_new: Callable[[Sequence[Key], Sequence[frozenset[str]]], list[bool]]
    ) -> Generator[Callable[[Mapping[str, np.dtype[Any]]], pl.DataFrame], None, None]:
        """Yield functions that make the records of one part each.

        ``are_new(keys, bands)`` is asked about every record, in the order in which they come: with its id and hrefs, and the
        names of the bands it has. It returns which of the records are to be made.
        """
        ...

    def empty(self) -> pl.DataFrame:
        """Return no records, with the columns that are known without any."""
        ...


def build_streamed(
    stream: RecordStream,
    into: str | os.PathLike[str],
    *,
    about: About = NOTHING_SAID,
    progress: bool | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make the records that are missing, refresh those whose files changed, and return a scan of the collection.

    Parameters
    ----------
    stream
        The records to build.
    about
        What the caller says of the collection; one that is there keeps what is said there.
    into, progress, wait_s, storage_options, credential_provider
        As in `resumable_build.build_into`.

    Raises
    ------
    UsageError
        When a file or collection of another kind is there, or a record of the same files with fewer bands.
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    target = plain_path(into)
    with building(target, options, wait_s=wait_s) as build:
        _grow(stream, build, about, progress=progress, options=options)
        has_parts = bool(parts_at(build.folder, **options))
        if has_parts and is_one_file(target):
            put_together(build, target, options)
    return scan_collection(target, **options) if has_parts else stream.empty().drop(UNREAD).lazy()


def _grow(
    stream: RecordStream, build: Build, about: About, *, progress: bool | None, options: Mapping[str, Any]
) -> None:
    parts = growing_parts(build, options)
    about = united([read_about(parts, **options), about])
    accepted = pixel_dtypes(parts, **options)
    there = _Records(parts, build.folder, options)
    small = SmallParts(build, about, options)
    is_grown = False
    with closing(stream.parts(there.are_new)) as made:
        for make in made:
            frame = make(accepted)
            build.renew()
            write_parts([NewPart("", frame, about)], build.folder, [], **options)
            small.wrote(frame.height)
            accept(accepted, frame)
            is_grown = True
    small.end()
    there.refresh([part for part in parts if build.is_from_before(part)], accepted, progress)
    if not parts and not is_grown and raster_columns((empty := stream.empty()).schema):
        write_parts([NewPart("", empty, about)], build.folder, [], **options)


class _Records:
    """The records that a collection had when a build began, known by digests."""

    def __init__(self, parts: Sequence[Part], folder: str, options: Mapping[str, Any]) -> None:
        self._folder, self._options = folder, options
        self._left: Counter[bytes] = Counter()
        self._bands: dict[bytes, frozenset[str | None]] = {}
        self._asked: set[bytes] = set()
        names: dict[frozenset[str | None], frozenset[str | None]] = {}
        for part in parts:
            ids, indexed = indexed_files(part, identities=False, **options)
            for key, files in _keyed(ids, indexed):
                digest = _digest(key)
                self._left[digest] += 1
                bands = frozenset(one.band for one in files)
                self._bands[digest] = names.setdefault(bands, bands)  # records share few sets of names

    def are_new(self, keys: Sequence[Key], bands: Sequence[frozenset[str]]) -> list[bool]:
        """Return which records are not there.

        Raises
        ------
        UsageError
            When a record is there without bands that are asked for: the bands would never come.
        """
        new = []
        for key, names in zip(keys, bands, strict=True):
            digest = _digest(key)
            is_new = not self._left[digest]
            new.append(is_new)
            if is_new:
                continue
            self._left[digest] -= 1
            self._asked.add(digest)
            its = self._bands[digest]
            if None not in its and not names <= its:
                raise UsageError(
                    f"{self._folder} holds record {key[0]!r} of {shown(key[1][0])} with the bands "
                    f"{', '.join(sorted(map(str, its)))}; asked for were {', '.join(sorted(names))}. Build them into another "
                    "path, or pr.remove the records first."
                )
        return new

    def refresh(self, parts: Sequence[Part], accepted: Mapping[str, np.dtype[Any]], progress: bool | None) -> None:
        """Write parts anew in which files of records that were asked for have changed."""
        known_changes: dict[str, bool] = {}
        for part in parts if self._asked else ():
            ids, indexed = indexed_files(part, **self._options)
            asked = [one for key, files in _keyed(ids, indexed) if _digest(key) in self._asked for one in files]
            changed = files_to_read(asked, known_changes, unknown_is_same=True)
            if changed:
                rewrite(part, self._folder, indexed, changed, accepted, progress=progress, **self._options)


def _keyed(
    ids: Sequence[str | None], indexed: Sequence[IndexedFile]
) -> Generator[tuple[Key, list[IndexedFile]], None, None]:
    """Yield the key and the files of each record."""
    of_row: list[list[IndexedFile]] = [[] for _ in ids]
    for one in indexed:
        of_row[one.row].append(one)
    for row, files in enumerate(of_row):
        yield (ids[row], tuple(sorted({one.href for one in files}))), files


def _digest(key: Key) -> bytes:
    name, hrefs = key
    return hashlib.blake2b("\0".join([name or "", *hrefs]).encode(), digest_size=16).digest()
