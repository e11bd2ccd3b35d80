"""Which tiles does a call want, and who answers for their files? Columns, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.jobs import Job
from polars_rasteret.fetch.sources import is_strong
from polars_rasteret.fetch.stores import resolve

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.cache import TileKey
    from polars_rasteret.fetch.jobs import Call, Flight
    from polars_rasteret.fetch.sources import FileKey, RangeReader


@dataclass(frozen=True, slots=True)
class WantedTiles:
    """The tiles of one call: one entry per tile, sorted by file and start; and who answers for their files."""

    files: Sequence[FileKey]
    sources: dict[int, RangeReader]
    versions: dict[int, Hashable]
    """What tells each file, as it was indexed, apart from all others."""
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
        """Find the source of every file that is wanted.

        Raises
        ------
        UsageError
            For hrefs that nothing reads, and for ranges that are none.
        """
        _check_ranges(file_id, byte_start, byte_stop)
        sources: dict[int, RangeReader] = {}
        versions: dict[int, Hashable] = {}
        begins = np.flatnonzero(np.diff(file_id, prepend=file_id[:1] - 1))
        for one in file_id[begins].tolist():
            sources[one], versions[one] = _source_and_version(files[one])
        return cls(files, sources, versions, file_id, byte_start, byte_stop)

    def keys(self, numbers: dict[int, int], low: int, high: int) -> list[TileKey]:
        """Give the keys of tiles `low` to `high`, with the number that stands for each file."""
        part = slice(low, high)
        files = map(numbers.__getitem__, self.file_id[part].tolist())
        return list(zip(files, self.byte_start[part].tolist(), self.byte_stop[part].tolist(), strict=True))

    def cut(self, call: Call, led: NDArray[np.intp], flights: list[Flight], request: NDArray[np.int64]) -> list[Job]:
        """Make one job per request of the tiles `led`, whose flights and requests are given."""
        low = np.flatnonzero(np.diff(request, prepend=request[0] - 1))
        columns = zip(
            self.file_id[led[low]].tolist(),
            np.minimum.reduceat(self.byte_start[led], low).tolist(),
            np.maximum.reduceat(self.byte_stop[led], low).tolist(),
            low.tolist(),
            [*low[1:].tolist(), len(led)],
            strict=True,
        )
        return [
            Job(call, self.sources[one], self.files[one], byte_start=start, byte_stop=stop, flights=flights[first:last])
            for one, start, stop, first, last in columns
        ]


def refused(files: Sequence[FileKey]) -> dict[int, UsageError]:
    """Give the files whose hrefs nothing reads, by number, and why."""
    found = {}
    for number, file in enumerate(files):
        try:
            _source_and_version(file)
        except UsageError as error:
            found[number] = error
    return found


def version_of(file: FileKey) -> Hashable:
    """Give what tells a file, as it was indexed, apart from all others: the cache keeps its tiles under it.

    Raises
    ------
    UsageError
        For an href that nothing reads.
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
