"""What do the headers of these files say?

The header parser yields byte ranges; this module fetches them, for many files at once. Each href is read once. The results are
plain values, ready to become columns; nothing here knows about records.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from polars_rasteret.engine import admission
from polars_rasteret.engine.header_reads import header_read
from polars_rasteret.errors import FetchError, FileFormatError, UsageError
from polars_rasteret.fetch.sources.byte_source import Terms
from polars_rasteret.fetch.stepwise_reads import BegunReads, StepwiseRead, read_all, read_in_batches
from polars_rasteret.hrefs import Provenance, shown
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.options import current_options
from polars_rasteret.tiff.header import TiffFile
from polars_rasteret.tiff.tile_flags import with_provenance

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Generator, Mapping, Sequence

    import numpy as np

    from polars_rasteret.fetch.sources.byte_source import FileKey
    from polars_rasteret.options import ReadOptions


_MAX_BANDS = 1_024
"""Most bands of a file. Each becomes a column, and a few damaged bytes can claim 65535 of them: minutes and gigabytes."""

FileIdentity: TypeAlias = "tuple[int | None, str | None, dt.datetime | None]"
"""Size, ETag and modification time of a file; None is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of one file, with the packed tile tables of the bands that were asked for."""

    href: str
    crs: str | None
    crs_refusal: str | None
    """Reason why `crs` is None although the file describes one."""
    transform: tuple[float, ...] | None
    width: int
    height: int
    n_bands: int
    dtype: np.dtype[np.generic]
    descriptions: tuple[str | None, ...]
    scales: tuple[float | None, ...]
    offsets: tuple[float | None, ...]
    datetime: dt.datetime | None
    tiles: dict[int, bytes]
    """Band index to its packed ``tiles``."""
    refused: dict[int, str]
    """Band index to the reason why that band cannot be read."""
    identity: FileIdentity


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file whose header could not be read."""

    href: str
    error: FetchError | FileFormatError | UsageError
    identity: FileIdentity = (None, None, None)

    @property
    def reason(self) -> str:
        """The error in one line."""
        return " ".join(str(self.error).split())


def read_headers(
    hrefs: Sequence[str],
    bands: Sequence[Sequence[int] | None],
    *,
    progress: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
    provenance: Mapping[str, Provenance] | None = None,
) -> list[Header | Unreadable]:
    """Read the header of each file, many at once.

    Parameters
    ----------
    hrefs
        Distinct, absolute hrefs.
    bands
        For each file, the 0-based bands whose tile tables are wanted; None means all bands.
    progress
        Whether to show a progress bar of files; None: as the options say.
    storage_options, credential_provider
        For the buckets of the files; remembered, so that their pixels can be read in this process.
    provenance
        Provenance of each href that the caller did not name.

    Returns
    -------
    list of Header or Unreadable
        One per href, in order.

    Raises
    ------
    UsageError
        When not one file can be asked, because the stores are configured wrongly.
    """
    remember_stores(hrefs, storage_options, credential_provider, provenance=provenance)
    headers = _all_headers(hrefs, bands, progress, provenance)
    refuse_misuse(headers)
    return headers


def read_headers_in_batches(
    hrefs: Sequence[str],
    bands: Sequence[Sequence[int] | None],
    n_per_batch: Sequence[int],
    *,
    arrived: Callable[[int], None] | None = None,
    provenance: Mapping[str, Provenance] | None = None,
) -> Generator[list[Header | Unreadable], None, None]:
    """Read the header of each file, many at once, and yield the headers of each batch; at most three batches are held.

    Parameters
    ----------
    hrefs, bands
        As in `read_headers`.
    n_per_batch
        Files of each batch, in order; they add up to all.
    arrived
        Called now and then with the number of files read since the last call.
    provenance
        Provenance of each href that the caller did not name.
    """
    items = list(zip(hrefs, bands, strict=True))
    options = current_options()
    reads = read_in_batches(
        _header_reads(options, provenance),
        items,
        n_per_batch,
        options=options,
        admit=admission(options),
        arrived=arrived,
    )
    with closing(reads) as batches:
        for number, batch in enumerate(batches):
            if number == 0:
                refuse_misuse(batch)
            yield batch


def begin_headers(
    hrefs: Sequence[str],
    bands: Sequence[Sequence[int] | None],
    *,
    provenance: Mapping[str, Provenance] | None = None,
) -> BegunReads[Header | Unreadable]:
    """Begin to read the header of each file, many at once, and return the reads under way; arguments as in `read_headers`."""
    options = current_options()
    items = list(zip(hrefs, bands, strict=True))
    return BegunReads(_header_reads(options, provenance), items, options=options, admit=admission(options))


def refuse_misuse(headers: Sequence[Header | Unreadable]) -> None:
    """Raise where not one file could be asked, because the stores are configured wrongly.

    Raises
    ------
    UsageError
        The first one.
    """
    misused = [one.error for one in headers if isinstance(one, Unreadable) and isinstance(one.error, UsageError)]
    if headers and len(misused) == len(headers):
        raise misused[0]


def _all_headers(
    hrefs: Sequence[str],
    bands: Sequence[Sequence[int] | None],
    progress: bool | None,
    provenance: Mapping[str, Provenance] | None,
) -> list[Header | Unreadable]:
    options = current_options(progress=progress)
    items = list(zip(hrefs, bands, strict=True))
    if not options.progress:
        return read_all(_header_reads(options, provenance), items, options=options, admit=admission(options))
    from tqdm.auto import tqdm

    with tqdm(total=len(items), unit="file", desc="headers") as bar:
        return read_all(
            _header_reads(options, provenance), items, options=options, admit=admission(options), arrived=bar.update
        )


def _header_reads(
    options: ReadOptions, provenance: Mapping[str, Provenance] | None = None
) -> Callable[[tuple[str, Sequence[int] | None]], StepwiseRead[Header | Unreadable]]:
    """Return a function that begins to read the header of a file, as far as the options allow that file."""

    def start(item: tuple[str, Sequence[int] | None]) -> StepwiseRead[Header | Unreadable]:
        terms = Terms.of(options.allowed_hrefs, (provenance or {}).get(item[0], Provenance.HERE))
        return _header(*item, terms)

    return start


def _header(href: str, bands: Sequence[int] | None, terms: Terms | None) -> StepwiseRead[Header | Unreadable]:
    """Read one header, and pack the tile tables of the bands."""
    file, known = yield from header_read(href, terms)
    return header_of(href, file, known, bands, terms)


def header_of(
    href: str,
    file: TiffFile | FetchError | FileFormatError | UsageError,
    known: FileKey,
    bands: Sequence[int] | None,
    terms: Terms | None,
) -> Header | Unreadable:
    """Return a header that was read, with the packed tile tables of the bands.

    Parameters
    ----------
    href, known, terms
        The file, what is known of it, and the terms under which it was read.
    file
        Its header, or the error why it could not be read.
    bands
        0-based bands whose tile tables are wanted; None means all bands.
    """
    if not isinstance(file, TiffFile):
        return Unreadable(href, file, _identity(known))
    try:
        if bands is None and file.n_bands > _MAX_BANDS:
            raise FileFormatError(  # noqa: TRY301 - becomes a reason, like every other refusal
                f"{shown(href)}: the file says it has {file.n_bands} bands; at most {_MAX_BANDS} become columns unasked. "
                "If that is meant, name those you want: bands={'b7': 6}."
            )
        tiles: dict[int, bytes] = {}
        refused: dict[int, str] = {}
        for band_index in range(file.n_bands) if bands is None else bands:
            if band_index >= file.n_bands:
                continue
            try:
                packed = file.band_tiles(
                    band_index, file_size=known.file_size, etag=known.etag, last_modified=known.last_modified
                )
                tiles[band_index] = packed if terms is None else with_provenance(packed, terms.provenance)
            except FileFormatError as error:
                refused[band_index] = " ".join(str(error).split())
    except (FetchError, FileFormatError, UsageError) as error:
        return Unreadable(href, error, _identity(known))
    return Header(
        href=href,
        crs=file.crs,
        crs_refusal=file.crs_refusal,
        transform=file.transform,
        width=file.width,
        height=file.height,
        n_bands=file.n_bands,
        dtype=file.dtype,
        descriptions=file.descriptions,
        scales=file.scales,
        offsets=file.offsets,
        datetime=file.datetime,
        tiles=tiles,
        refused=refused,
        identity=_identity(known),
    )


def _identity(file: FileKey) -> FileIdentity:
    return file.file_size, file.etag, file.last_modified
