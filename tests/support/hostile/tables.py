"""How is the packed table of a band damaged, as in a hostile collection?"""

from __future__ import annotations

import hashlib
import random
import struct
import zlib

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.header import read_header


def packed_tables(bases: list[tuple[str, bytes]]) -> list[bytes]:
    """Give the packed tables of all bases."""
    found = []
    for _, data in bases:
        parser = read_header("base")
        try:
            wish = next(parser)
            while True:
                wish = parser.send(data[wish.byte_start : wish.byte_stop])
        except StopIteration as end:
            found.append(end.value.band_tiles(0, file_size=len(data), etag="etag", last_modified=None))
        except FileFormatError:
            continue
    return found


def table_mutant(seed: int, tables: list[bytes]) -> bytes:
    """Damage a packed table: as it is, or inside, with a digest that fits."""
    rng = random.Random(seed)
    packed = rng.choice(tables)
    is_forged = rng.random() < 0.8
    inside = zlib.decompress(packed[15:], -15) if packed[10] else packed[15:]
    data = bytearray(inside if is_forged else packed)
    kind = rng.randrange(5)
    for _ in range(rng.choice([1, 1, 2, 6])):
        at = rng.randrange(len(data))
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            at = rng.randrange(min(len(data), 120))
            data[at : at + 4] = struct.pack(
                "<I", rng.choice([0, 1, 255, 65_535, 1 << 16, 1 << 24, 1 << 31, (1 << 32) - 1])
            )
        elif kind == 2:
            del data[at:]
            break
        elif kind == 3:
            data[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), rng.randbytes(8), b"\xff" * 7 + b"\x7f"])
        else:
            data[at:at] = rng.randbytes(rng.choice([1, 8, 100]))
    if not is_forged:
        return bytes(data)
    is_bomb = rng.random() < 0.01
    body = bytes(data) + bytes((1 << 24) * is_bomb)
    n_body = rng.choice([len(body)] * 20 + [0, 1, (1 << 32) - 1, 1 << 30])
    deflate = rng.random() < 0.5 or is_bomb
    if deflate:
        packer = zlib.compressobj(1, zlib.DEFLATED, -15)
        body = packer.compress(body) + packer.flush()
    tail = struct.pack("<BBI", packed[9] if rng.random() < 0.9 else rng.randrange(256), deflate, n_body) + body
    return packed[:1] + hashlib.blake2b(tail, digest_size=8).digest() + tail
