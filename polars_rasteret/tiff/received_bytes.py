"""Which header bytes of a file were received, and which must still be requested?

`ReceivedBytes` collects the answers to a parser's requests and yields the missing ranges, with near neighbours merged. Fetching
does not belong here.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polars_rasteret.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

MAX_GAP_BYTES = 16_384
"""Unwanted bytes between two ranges up to which both are requested as one."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Half-open range of bytes of a file."""

    byte_start: int
    byte_stop: int


@dataclass(slots=True)
class ReceivedBytes:
    """Received pieces of one file: sorted, not overlapping, not touching."""

    href: str
    starts: list[int] = field(default_factory=list)
    """First byte of each piece in the file."""
    pieces: list[bytes] = field(default_factory=list)

    def stop_of(self, byte: int) -> int:
        """Return the end of the piece that holds `byte`, or `byte` itself when it was not received."""
        index = bisect_right(self.starts, byte) - 1
        return byte if index < 0 else max(byte, self.starts[index] + len(self.pieces[index]))

    def get(self, byte_start: int, byte_stop: int) -> bytes:
        """Return bytes that were received."""
        index = bisect_right(self.starts, byte_start) - 1
        at = byte_start - self.starts[index]
        return self.pieces[index][at : at + byte_stop - byte_start]

    def add(self, byte_start: int, data: bytes) -> None:
        """Add received bytes. The byte `byte_start` must be new; the end may overlap a piece received earlier."""
        index = bisect_right(self.starts, byte_start)
        if index and self.starts[index - 1] + len(self.pieces[index - 1]) == byte_start:
            index -= 1
            byte_start, data = self.starts[index], self.pieces[index] + data
            del self.starts[index], self.pieces[index]
        byte_stop = byte_start + len(data)
        while index < len(self.starts) and self.starts[index] <= byte_stop:
            data += self.pieces[index][byte_stop - self.starts[index] :]
            byte_stop = byte_start + len(data)
            del self.starts[index], self.pieces[index]
        self.starts.insert(index, byte_start)
        self.pieces.insert(index, data)

    def fetch(self, ranges: Iterable[tuple[int, int]], what: str, ahead: int = 0) -> Generator[ByteRange, bytes, None]:
        """Request bytes until all `ranges` (start, stop) are received; each request asks for `ahead` more bytes.

        Raises
        ------
        FileFormatError
            When the file ends before a range does: the answer is empty.
        """
        wanted = sorted(ranges)
        merged: list[list[int]] = []
        for start, stop in wanted:
            missing = self.stop_of(start)
            if missing >= stop:
                continue
            if merged and missing - merged[-1][1] <= MAX_GAP_BYTES:
                merged[-1][1] = max(merged[-1][1], stop)
            else:
                merged.append([missing, stop])
        for start, stop in merged:
            at = self.stop_of(start)
            while at < stop:
                data = yield ByteRange(at, stop + ahead)
                if not data:
                    raise FileFormatError(
                        f"{self.href}: the file ends at byte {at}; expected {what} in bytes {start}..{stop}. "
                        "The file is truncated or its header is damaged: get it again."
                    )
                self.add(at, bytes(data[: stop + ahead - at]))
                at = self.stop_of(at)
