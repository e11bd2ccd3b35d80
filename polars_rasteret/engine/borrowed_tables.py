"""What are the tile tables of files whose collection has only borrowed ones?

A borrowed table was made from what another program wrote down about a file: without byte order, bits per sample, masks and
overviews. Before pixels of such a file are read, its header is read: once per process, by the first thread that needs it, while
the others wait. Pixels are never decoded by a borrowed table.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from polars_rasteret.engine.header_reads import header_read
from polars_rasteret.engine.interruption import interruptible
from polars_rasteret.engine.unpacked_tables import unpacked
from polars_rasteret.errors import FetchError, FileFormatError, StaleIndexError, UsageError
from polars_rasteret.fetch.sources.byte_source import FileKey, Terms
from polars_rasteret.fetch.stepwise_reads import read_all
from polars_rasteret.hrefs import shown
from polars_rasteret.tiff.gdal_metadata import nodata_of
from polars_rasteret.tiff.header import TiffFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from polars_rasteret.engine.budget import Spending
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.plan.windows import PixelReference, WindowRead
    from polars_rasteret.tiff.band_tiles import BandTiles

Fault: TypeAlias = "FetchError | FileFormatError | UsageError"
_Place: TypeAlias = "tuple[str, Terms | None]"
"""A file, and the terms under which it may be read; readers of other terms share nothing."""

_KNOWN_BYTES = 128_000_000
"""Bytes of headers that a process keeps."""
_WAKE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTable:
    """The table of one band by the header of its file."""

    tiles: BandTiles
    transform: tuple[float, ...] | None
    """Affine of the header; None without georeferencing."""
    scale: float | None
    offset: float | None


@dataclass(slots=True, eq=False)
class _Flight:
    """The headers that one thread is reading."""

    ended: threading.Event = field(default_factory=threading.Event)
    faults: dict[_Place, Fault] = field(default_factory=dict)


_known: OrderedDict[_Place, tuple[TiffFile, FileKey, int]] = OrderedDict()
_flights: dict[_Place, _Flight] = {}
_lock = threading.Lock()
_size = 0


def own_tables(
    references: Sequence[PixelReference], options: ReadOptions, *, spending: Spending | None = None
) -> list[OwnTable | Fault | None]:
    """Return the table of each reference by the header of its file; None for a reference whose table is its own already.

    Headers that this process does not know are read, many at once. In a dry run nothing is read: the answer is None, too, for a
    file whose header is not known.

    Parameters
    ----------
    references
        References to rasters.
    options
        Options of the read.
    spending
        The spending that the requests are added to; None without a budget.

    Raises
    ------
    BudgetError
        When a header would exceed the budget.
    QueryTimeoutError
        When the query may take no longer.
    """
    places = [
        (one.href, Terms.of(options.allowed_hrefs, one.tiles.provenance)) if one.tiles.is_borrowed else None
        for one in references
    ]
    wanted = dict.fromkeys(place for place in places if place is not None)
    if not wanted:
        return [None] * len(references)
    found = file_headers(list(wanted), options, spending=spending)
    return [
        None if place is None or place not in found else _own_table(reference, found[place])
        for reference, place in zip(references, places, strict=True)
    ]


def file_headers(
    wanted: Sequence[tuple[str, Terms | None]], options: ReadOptions, *, spending: Spending | None = None
) -> dict[tuple[str, Terms | None], tuple[TiffFile, FileKey] | Fault]:
    """Return the header of each file, or why it cannot be read; a file is read once per process, also by many threads.

    In a dry run nothing is read: files whose headers are not known are left out.

    Parameters
    ----------
    wanted
        Hrefs, each with the terms under which the file may be read.
    options, spending
        As in `own_tables`, with the same errors.
    """
    found: dict[_Place, tuple[TiffFile, FileKey] | Fault] = {}
    while missing := [place for place in wanted if place not in found]:
        with _flying() as flight:
            mine, others = _take(missing, found, flight, only_look=options.dry_run is not None)
            if mine:
                found.update(_read(mine, flight, options, spending))
        for place, other in others.items():
            _wait(other, options)
            if (fault := other.faults.get(place)) is not None:
                found[place] = fault
        if options.dry_run is not None:
            break
    return found


def read_with_own_tables(read: WindowRead, options: ReadOptions, spending: Spending | None) -> WindowRead:
    """Return a read none of whose windows is of a borrowed table; in a dry run, of files whose headers are not known, it is.

    Callers exchange such tables before, because overviews decide what they ask for. Here nothing slips through.

    Raises
    ------
    FetchError, FileFormatError, UsageError
        When the header of a file cannot be read, or is not that of the image that the collection speaks of.
    """
    if not any(one.tiles.is_borrowed for one in read.references):
        return read
    used = np.unique(read.reference_id[(read.reference_id >= 0) & (read.height > 0) & (read.width > 0)]).tolist()
    references = list(read.references)
    for at, table in zip(used, own_tables([references[at] for at in used], options, spending=spending), strict=True):
        if isinstance(table, OwnTable):
            references[at] = replace(references[at], tiles=table.tiles)
        elif table is not None:
            raise table
    return replace(read, references=tuple(references))


def forget_own_table(href: str) -> None:
    """Forget the header of a file, for instance because the file turned out to be another one by now."""
    global _size  # noqa: PLW0603 - one cache per process
    with _lock:
        for place in [place for place in _known if place[0] == href]:
            _size -= _known.pop(place)[2]


def _take(
    missing: Sequence[_Place],
    found: dict[_Place, tuple[TiffFile, FileKey] | Fault],
    flight: _Flight,
    *,
    only_look: bool,
) -> tuple[list[_Place], dict[_Place, _Flight]]:
    """Add what is known to `found`; return the files that this thread has to read, and those that others are reading."""
    mine: list[_Place] = []
    others: dict[_Place, _Flight] = {}
    with _lock:
        for place in missing:
            if (known := _known.get(place)) is not None:
                _known.move_to_end(place)
                found[place] = known[:2]
            elif only_look:
                continue
            elif (other := _flights.get(place)) is not None:
                others[place] = other
            else:
                _flights[place] = flight
                mine.append(place)
    return mine, others


def _read(
    places: Sequence[_Place], flight: _Flight, options: ReadOptions, spending: Spending | None
) -> Mapping[_Place, tuple[TiffFile, FileKey] | Fault]:
    """Read headers, remember them, and let the threads go on that wait for them."""
    results: dict[_Place, tuple[TiffFile, FileKey] | Fault] = {}
    with interruptible() as check:

        def look() -> None:
            options.check_time()
            check()

        headers = read_all(
            lambda place: header_read(*place),
            places,
            options=options,
            admit=None if spending is None else _admission(spending),
            look=look,
        )
        for place, (file, key) in zip(places, headers, strict=True):
            if isinstance(file, TiffFile):
                results[place] = file, key
                _remember(place, file, key)
            else:
                results[place] = flight.faults[place] = file
    return results


@contextmanager
def _flying() -> Iterator[_Flight]:
    """Yield a new flight, and end it whatever happens."""
    flight = _Flight()
    try:
        yield flight
    finally:
        with _lock:
            for place in [place for place, one in _flights.items() if one is flight]:
                del _flights[place]
        flight.ended.set()


def _wait(flight: _Flight, options: ReadOptions) -> None:
    with interruptible() as check:
        while not flight.ended.wait(min(_WAKE_S, options.check_time())):
            check()


def _admission(spending: Spending) -> Callable[[FileKey, int], None]:
    def admit(file: FileKey, n_bytes: int) -> None:
        spending.admit(0, [file], np.zeros(1, np.int64), np.array([n_bytes], np.int64))

    return admit


def _remember(place: _Place, file: TiffFile, key: FileKey) -> None:
    global _size  # noqa: PLW0603 - one cache per process
    n_bytes = 1_000 + sum(2 * image.byte_start.nbytes for image in (*file.images, *file.masks))
    with _lock:
        if place not in _known:
            _known[place] = file, key, n_bytes
            _size += n_bytes
        while _size > _KNOWN_BYTES and len(_known) > 1:
            _size -= _known.popitem(last=False)[1][2]


def _own_table(reference: PixelReference, header: tuple[TiffFile, FileKey] | Fault) -> OwnTable | Fault:
    """Return the table of a band, or why it cannot be the one that the collection speaks of."""
    if not isinstance(header, tuple):
        return header
    (file, key), borrowed = header, reference.tiles
    full = borrowed.images[0]
    if (file.width, file.height) != (full.width, full.height) or reference.band_index >= file.n_bands:
        return StaleIndexError(
            f"{shown(reference.href)}: the collection says that band {reference.band_index} has {full.width} x {full.height} "
            f"pixels, the file has {file.n_bands} bands of {file.width} x {file.height}. It was probably replaced since the "
            "collection was made: make the collection anew."
        )
    try:
        own = unpacked(
            file.band_tiles(
                reference.band_index, file_size=key.file_size, etag=key.etag, last_modified=key.last_modified
            )
        )
    except (FileFormatError, UsageError) as error:
        return error
    tiles = replace(
        own,
        ignore_nodata=borrowed.ignore_nodata,
        provenance=borrowed.provenance,
        masks=tuple(replace(mask, provenance=borrowed.provenance) for mask in own.masks),
        # A nodata value that the collection knows and the file does not say was put there by its maker.
        nodata=_nodata(own, borrowed) if own.nodata is None else own.nodata,
    )
    at = reference.band_index
    return OwnTable(tiles=tiles, transform=file.transform, scale=file.scales[at], offset=file.offsets[at])


def _nodata(own: BandTiles, borrowed: BandTiles) -> np.generic | None:
    value = None if borrowed.nodata is None else nodata_of(str(borrowed.nodata.item()), own.dtype)
    return None if value is None else own.dtype.type(value)


def _forget_flights() -> None:
    """Make a new lock in a forked child, where the threads that read are gone."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _flights.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_flights)
