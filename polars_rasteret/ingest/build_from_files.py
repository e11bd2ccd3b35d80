"""How does a list of files become a collection with one record per file?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from polars_rasteret.collection.storage.about import about_of_caller
from polars_rasteret.collection.storage.geoparquet import UNREAD
from polars_rasteret.collection.writing.signed_hrefs import with_keys_kept_back
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import shown
from polars_rasteret.ingest.headers import Header, Unreadable, read_headers
from polars_rasteret.ingest.indexed_files import with_unread
from polars_rasteret.ingest.records import BandFiles, check_band_names, own_band_names, records_frame
from polars_rasteret.ingest.resumable_build import RecordPlan, build_into
from polars_rasteret.ingest.source_files import file_stem, hrefs_of
from polars_rasteret.ingest.times import times_of_values
from polars_rasteret.schema import TIME

if TYPE_CHECKING:
    import os

    from polars_rasteret.collection.storage.object_store import ListedObject


def build_from_files(
    sources: Any,
    *,
    bands: Sequence[str] | Mapping[str, int] | None = None,
    id: Sequence[str] | pl.Series | Callable[[str], str] | None = None,  # noqa: A002 - the column's name
    datetime: Sequence[Any] | pl.Series | Callable[[str], Any] | None = None,
    into: str | os.PathLike[str] | None = None,
    on_error: Literal["raise", "null"] = "null",
    progress: bool | None = None,
    description: str | None = None,
    source: str | None = None,
    wait_s: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.LazyFrame:
    """Make a collection with one record per GeoTIFF; only headers are read.

    Parameters
    ----------
    sources
        Path, URL, glob or folder, or a list or Series of them. Folders are searched to the bottom for GeoTIFFs.
    bands
        A name for every band of the files, in order (``["red", "nir"]``), or a choice: band name to 0-based index
        (``{"nir": 3}``). None: the band descriptions of each file where all bands have one, else ``b1, b2, ...``.
    id, datetime
        One value per file, or a function of the href. Defaults: the file's name without suffix, and the DateTime tag of the
        TIFF, taken as UTC. Times are datetimes with a zone, dates, or ISO 8601 strings with a zone.
    into
        A folder that the collection is written to, in parts, as headers arrive. Records that are there are kept: the header of
        an unchanged file (size, and ETag or time) is not read again, the record of a changed file is made anew, and a build that
        was killed goes on where it was. A path that ends in ``.parquet`` is one file, written at the end; until then its parts
        are in a folder beside it. None: the collection is built in memory.
    on_error
        ``"null"``: a file that cannot be used keeps its record, with null rasters and the reason in ``header_error``.
        ``"raise"``: such a file raises an error.
    progress
        Whether to show a progress bar of files; None: as the options say.
    description, source
        What the files of `into` say of the collection, as in ``sink_collection``.
    wait_s
        Seconds to wait for another writer of a local `into`.
    storage_options, credential_provider
        As in `polars.scan_parquet`: for listing and opening `sources` in buckets, and for writing `into`. They are remembered for
        these buckets, as by ``configure_store``, so that their pixels can be read.

    Returns
    -------
    LazyFrame
        ``id``, ``datetime``, ``geometry``, ``bbox``, ... and one raster column per band.

    Raises
    ------
    UsageError
        When `sources` names no file, or names and values do not fit the files: a list of names must have one name per band of
        the files. Where the list fits some files, the others are files that cannot be used.
    FileFormatError, FetchError
        The first file that cannot be used, with ``on_error="raise"``.

    Warns
    -----
    UserWarning
        When none of the files can be used, and nothing is written: all pixels would be null.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> _ = pr.testing.example_scenes()
    >>> hrefs = ["memory://example-scenes/first.tif", "memory://example-scenes/gone.tif"]
    >>> scenes = pr.build_from_files(hrefs, bands={"nir": 1}, datetime=["2024-05-01", None])
    >>> scenes.select("id", "datetime", pl.col("header_error").str.head(24)).collect().rows()
    [('first', datetime.datetime(2024, 5, 1, 0, 0, tzinfo=...UTC...), None), ('gone', None, 'nir: memory://example-sc')]
    """
    if on_error not in ("raise", "null"):
        raise UsageError(f"on_error is {on_error!r}; expected 'raise' or 'null'")
    about = about_of_caller(description, source, is_kept=into is not None)
    wanted = _wanted_bands(bands)
    listed: dict[str, ListedObject] = {}
    hrefs = hrefs_of(sources, storage_options=storage_options, credential_provider=credential_provider, listed=listed)
    hrefs = with_keys_kept_back(pl.DataFrame({"href": hrefs}, schema={"href": pl.String}))["href"].to_list()
    indices = None if wanted is None else sorted(set(wanted.values()))
    ids = with_keys_kept_back(_ids(id, hrefs).to_frame(), told=True).to_series()
    if datetime is not None and not callable(datetime):
        datetime = times_of_values(
            datetime if isinstance(datetime, pl.Series) else _one_per_file(datetime, hrefs, "datetime"), name="datetime"
        )
        _one_per_file(datetime, hrefs, "datetime")

    def frame(
        rows: Sequence[int], headers: Mapping[str, Header | Unreadable], accepted: Mapping[str, np.dtype[Any]]
    ) -> pl.DataFrame:
        some = [hrefs[row] for row in rows]
        number = {href: at for at, href in enumerate(dict.fromkeys(some))}
        its = [headers[href] for href in number]
        if wanted is not None and not isinstance(bands, Mapping):
            its = _of_as_many_bands(its, list(wanted), fits_others=bool(accepted))
        file_id = np.array([number[href] for href in some], dtype=np.int64)
        times = datetime[list(rows)] if isinstance(datetime, pl.Series) else _times(datetime, some, headers)
        base = pl.DataFrame({"id": ids[list(rows)], "datetime": times})
        planes = _band_files(wanted, its, file_id, list(accepted))
        made = records_frame(base, planes, its, on_error=on_error, accepted=accepted)
        return with_unread(made, planes, its, own_names=wanted is None)

    options = {"storage_options": storage_options, "credential_provider": credential_provider}
    if into is not None:
        plan = RecordPlan(
            keys=[(one, (href,)) for one, href in zip(ids.to_list(), hrefs, strict=True)],
            bands=None if wanted is None else list(wanted),
            indices=lambda _href: indices,
            is_made_of_rasters=wanted is not None and datetime is not None,
            frame=frame,
            about=about,
        )
        return build_into(plan, into, progress=progress, wait_s=wait_s, listed=listed, **options)
    distinct = list(dict.fromkeys(hrefs))
    headers = read_headers(distinct, [indices] * len(distinct), progress=progress, **options)
    made = frame(range(len(hrefs)), {one.href: one for one in headers}, {}).drop(UNREAD)
    reasons: list[str] = made["header_error"].drop_nulls().to_list()
    if len(reasons) == made.height > 0:
        told = f"none of the {made.height} file(s) can be used; the first: {reasons[0].rstrip('.')}"
        advice = "The reasons are in the column header_error; on_error='raise' makes the first an error"
        warnings.warn(f"build_from_files: {told}. {advice}", stacklevel=2)
    return made.lazy()


def _wanted_bands(bands: Any) -> dict[str, int] | None:
    """Return band name to index; None where each file names its own bands."""
    if bands is None:
        return None
    if isinstance(bands, str):
        raise UsageError(
            f"bands is {bands!r}; expected a list of names, [{bands!r}], or a dict of name to 0-based index"
        )
    if isinstance(bands, Mapping):
        for name, index in bands.items():
            if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < 65_536:
                raise UsageError(f"bands[{name!r}] is {index!r}; expected the 0-based index of a band in the file")
        wanted = {name: int(index) for name, index in bands.items()}
    elif isinstance(bands, Iterable):
        names = list(bands)
        check_band_names(names)
        wanted = {name: index for index, name in enumerate(names)}
    else:
        raise UsageError(
            f"bands is a {type(bands).__name__}; expected a list of names or a dict of name to 0-based index"
        )
    if not wanted:
        raise UsageError("bands is empty; name at least one band, or leave it out to take them all")
    check_band_names(list(wanted))
    return wanted


def _of_as_many_bands(
    headers: Sequence[Header | Unreadable], names: Sequence[str], *, fits_others: bool
) -> list[Header | Unreadable]:
    """Return the headers, with files refused that have more or fewer bands than names.

    In such a file it is not known which band a name means.

    Raises
    ------
    UsageError
        When the list fits no file.
    """
    told = [
        Unreadable(one.href, _other_length(one, names), one.identity)
        if isinstance(one, Header) and one.n_bands != len(names)
        else one
        for one in headers
    ]
    refused = [new for new, old in zip(told, headers, strict=True) if new is not old]
    if refused and not fits_others and not any(isinstance(one, Header) for one in told):
        raise refused[0].error  # type: ignore[union-attr]  # they were made above
    return told


def _other_length(header: Header, names: Sequence[str]) -> UsageError:
    choice = ", ".join(f"{name!r}: {index}" for index, name in enumerate(names[: header.n_bands]))
    return UsageError(
        f"{shown(header.href)} has {header.n_bands} band(s), and bands is a list of {len(names)}: {list(names)}. Name every "
        f"band, or choose some by their 0-based index: bands={{{choice}}}"
    )


def _band_files(
    wanted: dict[str, int] | None,
    headers: Sequence[Header | Unreadable],
    file_id: np.ndarray[Any, np.dtype[np.int64]],
    known: Sequence[str],
) -> list[BandFiles]:
    """Return which band of which file each band column holds."""
    if wanted is not None:
        return [
            BandFiles(name=name, file_id=file_id, band_index=np.full(len(file_id), index, dtype=np.int64))
            for name, index in wanted.items()
        ]
    names_of_file = [own_band_names(header) if isinstance(header, Header) else None for header in headers]
    names = list(dict.fromkeys(name for own in names_of_file for name in own or ())) or list(known) or ["b1"]
    index_of = {name: np.full(len(headers), -1, dtype=np.int64) for name in names}
    for file, own in enumerate(names_of_file):
        for index, name in enumerate(own or ()):
            index_of[name][file] = index
    unreadable = np.array([own is None for own in names_of_file], dtype=bool)
    result = []
    for name in names:
        index = index_of[name][file_id]
        # A file that could not be read might have had any band: its reason is told for all of them.
        has = (index >= 0) | unreadable[file_id]
        result.append(BandFiles(name=name, file_id=np.where(has, file_id, -1), band_index=np.maximum(index, 0)))
    return result


def _ids(given: Any, hrefs: Sequence[str]) -> pl.Series:
    if given is None:
        values: list[Any] = [file_stem(href) for href in hrefs]
    elif callable(given):
        values = [given(href) for href in hrefs]
    else:
        values = _one_per_file(given, hrefs, "id")
    for value in values:
        if value is not None and not isinstance(value, str | int):
            raise UsageError(f"id {value!r} is a {type(value).__name__}; expected a text")
    return pl.Series("id", [None if value is None else str(value) for value in values], dtype=pl.String)


def _times(given: Any, hrefs: Sequence[str], headers: Mapping[str, Header | Unreadable]) -> pl.Series:
    if given is None:
        files = [headers[href] for href in hrefs]
        return pl.Series("datetime", [one.datetime if isinstance(one, Header) else None for one in files], dtype=TIME)
    return times_of_values([given(href) for href in hrefs], name="datetime")


def _one_per_file(given: Any, hrefs: Sequence[str], name: str) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(f"{name} is {given!r}; expected one value per file, or a function of the href")
    values = list(given)
    if len(values) != len(hrefs):
        raise UsageError(
            f"{name} has {len(values)} values for {len(hrefs)} files; expected one per file, in their order"
        )
    return values
