"""How are headers of TIFF files damaged? By someone who knows where the numbers are."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_GRID = (256, 257, 258, 277, 278, 284, 322, 323)
_CODING = (259, 262, 266, 317, 338, 339, 347, 50674)
_PLACE = (33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 306)
_TABLES = (273, 279, 324, 325)


@dataclass
class Tag:
    """One entry: where it lies in the file, and what it says."""

    at: int
    tag: int
    kind: int
    count: int
    value_at: int
    """Of the first value, in the entry or elsewhere."""


@dataclass
class Outline:
    """Where the numbers of a file are."""

    order: str
    is_big: bool
    tags: list[list[Tag]] = field(default_factory=list)
    """Per directory."""
    links: list[int] = field(default_factory=list)
    """Where the offset of each directory is written, that of the first and one more behind the last."""
    starts: list[int] = field(default_factory=list)

    def number(self, data: bytes, tag: Tag, index: int = 0) -> int:
        code = _CODES.get(tag.kind, "B")
        at = tag.value_at + index * _SIZES.get(tag.kind, 1)
        return struct.unpack_from(self.order + code, data, at)[0]

    def put(self, data: bytearray, tag: Tag, index: int, value: int) -> None:
        size = _SIZES.get(tag.kind, 1)
        at = tag.value_at + index * size
        if at + size <= len(data):
            data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(
                size, "little" if self.order == "<" else "big"
            )

    def find(self, directory: int, number: int) -> Tag | None:
        return next((one for one in self.tags[directory] if one.tag == number), None)


def outline(data: bytes) -> Outline:
    """Read a sound file."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = struct.unpack_from(order + "H", data, 2)[0] == 43
    found = Outline(order, is_big)
    offset_code, n_offset, entry = ("Q", 8, "HHQ") if is_big else ("I", 4, "HHI")
    link = 8 if is_big else 4
    while len(found.starts) < 20:
        found.links.append(link)
        (at,) = struct.unpack_from(order + offset_code, data, link)
        if not at or at in found.starts:
            break
        found.starts.append(at)
        (n,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)
        at += 8 if is_big else 2
        tags = []
        for index in range(n):
            where = at + index * (20 if is_big else 12)
            tag, kind, count = struct.unpack_from(order + entry, data, where)
            value_at = where + (12 if is_big else 8)
            if _SIZES.get(kind, 1) * count > n_offset:
                (value_at,) = struct.unpack_from(order + offset_code, data, value_at)
            tags.append(Tag(where, tag, kind, count, value_at))
        found.tags.append(tags)
        link = at + n * (20 if is_big else 12)
    return found


_TELLING = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 17, 64, 255, 256, 1000, 65_535, 65_536, 60_000, 1 << 20, (1 << 24) + 1, (1 << 31) - 1),
    *(
        1 << 31,
        (1 << 32) - 1,
        (1 << 32) - 8,
        1 << 33,
        1 << 40,
        (1 << 56) - 1,
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        (1 << 64) - 1,
    ),
)


def _numbers(rng: random.Random, n_bytes: int) -> int:
    sizes = (n_bytes, n_bytes - 1, n_bytes + 1, n_bytes // 2)
    return rng.choice((*_TELLING, *sizes, rng.randrange(1 << 16), rng.randrange(1 << 32), rng.randrange(40)))


def _pick(rng: random.Random, out: Outline, wanted: tuple[int, ...] = ()) -> Tag | None:
    tags = [one for one in rng.choice(out.tags) if not wanted or one.tag in wanted]
    return rng.choice(tags) if tags else None


def bits(rng: random.Random, data: bytearray, out: Outline) -> None:
    for _ in range(rng.choice([1, 1, 2, 8])):
        tags = rng.choice(out.tags)
        low, high = tags[0].at - 8, tags[-1].at + 24
        at = rng.randrange(max(low, 0), min(high, len(data)))
        data[at] ^= 1 << rng.randrange(8)


def grid_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out, _GRID)) is not None:
        out.put(data, tag, 0, _numbers(rng, len(data)))


def small_grid_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out, _GRID)) is not None:
        out.put(data, tag, 0, out.number(data, tag) + rng.choice([-17, -2, -1, 1, 2, 16, 160]))


def giant(rng: random.Random, data: bytearray, out: Outline) -> None:
    """An image of few tiles, each of them huge."""
    width, height = rng.choice(
        [(50, 1 << 23), (1 << 25, 16), (20_000, 20_000), (1 << 14, 1 << 14), (1 << 30, 1), (30_000, 1)]
    )
    for number, value in ((256, width), (257, height), (322, width), (323, height), (278, height)):
        if (tag := out.find(0, number)) is not None:
            out.put(data, tag, 0, value)


def coding_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out, _CODING)) is not None:
        known = [0, 1, 2, 3, 4, 5, 6, 7, 8, 32946, 32773, 34712, 34887, 34925, 34933, 50000, 50001, 50002, 65_535]
        out.put(data, tag, rng.randrange(max(1, min(tag.count, 4))), rng.choice(known))


def place_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out, _PLACE)) is not None:
        n_bytes = min(_SIZES.get(tag.kind, 1) * tag.count, max(0, len(data) - tag.value_at))
        if n_bytes:
            at = tag.value_at + rng.randrange(n_bytes)
            new = rng.choice(
                [rng.randbytes(1), rng.randbytes(8), b"\0" * 8, b"\xff" * 8, b"<!", b"\x7f\xf0" + bytes(6)]
            )
            data[at : at + len(new)] = new


def any_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        out.put(data, tag, rng.randrange(max(1, min(tag.count, 1000))), _numbers(rng, len(data)))


def table_value(rng: random.Random, data: bytearray, out: Outline) -> None:
    """Offsets and byte counts that are 0, huge, overlapping or past the end."""
    if (tag := _pick(rng, out, _TABLES)) is None:
        return
    for _ in range(rng.choice([1, 1, 3])):
        index = rng.randrange(max(1, min(tag.count, 10_000)))
        if rng.random() < 0.4:
            value = out.number(data, tag, rng.randrange(max(1, tag.count))) + rng.choice([0, 0, 1, -1, 4, 100])
        else:
            value = _numbers(rng, len(data))
        out.put(data, tag, index, value)


def count(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        value = rng.choice([_numbers(rng, len(data)), max(0, tag.count + rng.choice([-1, 1])), 0])
        size = 8 if out.is_big else 4
        data[tag.at + 4 : tag.at + 4 + size] = (value & ((1 << 8 * size) - 1)).to_bytes(
            size, "little" if out.order == "<" else "big"
        )


def kind(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        value = rng.choice([*range(20), 255, 65_535])
        data[tag.at + 2 : tag.at + 4] = struct.pack(out.order + "H", value)


def offset(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        size, at = (8, tag.at + 12) if out.is_big else (4, tag.at + 8)
        value = rng.choice([_numbers(rng, len(data)), tag.at, rng.randrange(len(data))])
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if out.order == "<" else "big")


def number_of_tag(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        value = rng.choice([*_GRID, *_CODING, *_PLACE, *_TABLES, 254, 255, 330, rng.randrange(65_536)])
        data[tag.at : tag.at + 2] = struct.pack(out.order + "H", value)


def link(rng: random.Random, data: bytearray, out: Outline) -> None:
    """Loops of directories, and chains that lead nowhere."""
    size = 8 if out.is_big else 4
    value = rng.choice([*out.starts, *out.starts, 0, 4, 8, len(data), len(data) - 2, _numbers(rng, len(data))])
    at = rng.choice(out.links)
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little" if out.order == "<" else "big")


def sub_directories(rng: random.Random, data: bytearray, out: Outline) -> None:
    if (tag := _pick(rng, out)) is not None:
        size = 8 if out.is_big else 4
        pointer = rng.choice([*out.starts, len(data), rng.randrange(len(data))])
        head = struct.pack(
            out.order + ("HHQ" if out.is_big else "HHI"), 330, rng.choice([4, 13, 16, 18]), rng.choice([1, 1, 2, 60])
        )
        data[tag.at : tag.at + len(head) + size] = head + pointer.to_bytes(
            size, "little" if out.order == "<" else "big"
        )


def cut(rng: random.Random, data: bytearray, out: Outline) -> None:
    del data[rng.randrange(0 if rng.random() < 0.1 else 4, len(data)) :]


def head(rng: random.Random, data: bytearray, out: Outline) -> None:
    """Swap the byte order, or classic and big."""
    if rng.random() < 0.5:
        data[:2] = b"MM" if data[:2] == b"II" else b"II"
    if rng.random() < 0.5:
        data[2:4] = rng.choice([b"\x2a\0", b"\0\x2a", b"\x2b\0", b"\0\x2b"])


def copied(rng: random.Random, data: bytearray, out: Outline) -> None:
    n = rng.choice([1, 2, 4, 12, 20])
    tags = rng.choice(out.tags)
    source, target = rng.choice(tags).at, rng.choice(tags).at + rng.choice([0, 0, 2, 4, 8])
    data[target : target + n] = data[source : source + n]


HEADERS = (
    bits, giant, grid_value, grid_value, small_grid_value, coding_value, place_value, any_value, table_value, table_value,
    count, kind, offset, number_of_tag, link, sub_directories, cut, head, copied,
)  # fmt: skip
