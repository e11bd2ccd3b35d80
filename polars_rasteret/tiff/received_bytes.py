"""Which bytes of a file are here already, and which must be asked for?

`ReceivedBytes` collects the answers to a parser's requests and says what is missing, merging near neighbours. It asks
nobody.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from polars_rasteret.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

MAX_GAP_BYTES = 16_384
"""Ranges this near to each other are asked for as one."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A half-open range of bytes of a file."""

    byte_start: int
    byte_stop: int


@dataclass(slots=True)
class ReceivedBytes:
    """Pieces of one file, sorted, not overlapping, not touching."""

    href: str
    starts: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    def stop_of(self, byte: int) -> int:
        """Give the end of the piece that holds `byte`, or `byte` itself where it is unknown."""
        index = bisect_right(self.starts, byte) - 1
        return byte if index < 0 else max(byte, self.starts[index] + len(self.pieces[index]))

    def get(self, byte_start: int, byte_stop: int) -> bytes:
        """Give known bytes."""
        index = bisect_right(self.starts, byte_start) - 1
        at = byte_start - self.starts[index]
        return self.pieces[index][at : at + byte_stop - byte_start]

    def add(self, byte_start: int, data: bytes) -> None:
        """Take an answer; `byte_start` is unknown so far, its end may overlap what is known."""
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
        """Ask until all `ranges` (start, stop) are known; `ahead` more bytes are asked for along with each.

        Raises
        ------
        FileFormatError
            The file ends before, which an empty answer says.
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
