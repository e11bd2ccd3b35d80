"""Which tiles does a call want, and which source reads each of their files? Columns, checked once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.pending import Request
from polars_rasteret.fetch.sources.byte_source import is_strong
from polars_rasteret.fetch.sources.stores import resolve

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.scheduling.pending import Call, PendingTile, TileKey
    from polars_rasteret.fetch.sources.byte_source import FileKey, RangeReader


@bundle(kw_only=False)
class WantedTiles:
    """The tiles of one call, one entry per tile, sorted by file and start; and the source of each file."""

    files: Sequence[FileKey]
    sources: dict[int, RangeReader]
    versions: dict[int, Hashable]
    """Identity of each file as it was indexed, by its number."""
    file_id: NDArray[np.int64]
    byte_start: NDArray[np.int64]
    byte_stop: NDArray[np.int64]

    @classmethod
    def resolved(
        cls,
        files: Sequence[FileKey],
        file_id: NDArray[np.int64],
        byte_start: NDArray[np.int64],
        byte_stop: NDArray[np.int64],
    ) -> WantedTiles:
        """Return the wanted tiles with the source of each of their files.

        Raises
        ------
        UsageError
            For hrefs that no source reads, and for ranges that end before they begin.
        """
        _check_ranges(file_id, byte_start, byte_stop)
        sources: dict[int, RangeReader] = {}
        versions: dict[int, Hashable] = {}
        begins = np.flatnonzero(np.diff(file_id, prepend=file_id[:1] - 1))
        for one in file_id[begins].tolist():
            sources[one], versions[one] = _source_and_version(files[one])
        return cls(files, sources, versions, file_id, byte_start, byte_stop)

    def keys(self, numbers: dict[int, int], low: int, high: int) -> list[TileKey]:
        """Return the keys of tiles `low` to `high` (half-open); `numbers` holds the number that stands for each file."""
        part = slice(low, high)
        files = map(numbers.__getitem__, self.file_id[part].tolist())
        return list(zip(files, self.byte_start[part].tolist(), self.byte_stop[part].tolist(), strict=True))

    def requests(
        self, call: Call, index: NDArray[np.intp], pending: list[PendingTile], request_id: NDArray[np.int64]
    ) -> list[Request]:
        """Return the requests that fetch some of the tiles.

        Parameters
        ----------
        call
            The call that waits for the tiles.
        index, pending, request_id
            One entry per tile to fetch: its number in the call, its entry among the pending tiles, and its request (dense from 0,
            sorted).
        """
        low = np.flatnonzero(np.diff(request_id, prepend=request_id[0] - 1))
        columns = zip(
            self.file_id[index[low]].tolist(),
            np.minimum.reduceat(self.byte_start[index], low).tolist(),
            np.maximum.reduceat(self.byte_stop[index], low).tolist(),
            low.tolist(),
            [*low[1:].tolist(), len(index)],
            strict=True,
        )
        return [
            Request(
                call, self.sources[one], self.files[one], byte_start=start, byte_stop=stop, tiles=pending[first:last]
            )
            for one, start, stop, first, last in columns
        ]


def files_without_source(files: Sequence[FileKey]) -> dict[int, UsageError]:
    """Return the files whose hrefs no source reads: the number of each file, and the error that says why."""
    found = {}
    for number, file in enumerate(files):
        try:
            _source_and_version(file)
        except UsageError as error:
            found[number] = error
    return found


def version_of(file: FileKey) -> Hashable:
    """Return the identity of a file as it was indexed, under which the cache keeps its tiles.

    Raises
    ------
    UsageError
        For an href that no source reads.
    """
    return _source_and_version(file)[1]


def _source_and_version(file: FileKey) -> tuple[RangeReader, Hashable]:
    source, identity = resolve(file.href)
    version = (file.etag,) if is_strong(file.etag) else (file.file_size, file.last_modified)
    return source, (identity, file.href, file.terms, *version)


def _check_ranges(file_id: NDArray[np.int64], byte_start: NDArray[np.int64], byte_stop: NDArray[np.int64]) -> None:
    if not len(file_id) == len(byte_start) == len(byte_stop):
        raise UsageError(
            f"file_id, byte_start, byte_stop have {len(file_id)}, {len(byte_start)}, {len(byte_stop)} entries; expected as many"
        )
    wrong = np.flatnonzero((byte_start < 0) | (byte_stop < byte_start))
    if len(wrong):
        raise UsageError(
            f"tile {wrong[0]} has byte_start {byte_start[wrong[0]]} and byte_stop {byte_stop[wrong[0]]}; "
            "expected 0 <= byte_start <= byte_stop"
        )
