"""Which damaged file belongs to a seed?"""

from __future__ import annotations

import random
import struct

from tests.support.hostile.headers import HEADERS, outline
from tests.support.hostile.tiles import tiles


def mutant(seed: int, bases: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Give (what was done to which file, the damaged file); the same for the same seed and files."""
    rng = random.Random(seed)
    name, base = rng.choice(bases)
    data = bytearray(base)
    out = outline(base)
    n = rng.choice([1, 1, 1, 2, 3])
    changes = [tiles if rng.random() < 0.45 else rng.choice(HEADERS) for _ in range(n)]
    if rng.random() < 0.02:
        changes *= 6
    done = []
    for change in changes:
        try:
            change(rng, data, out)
        except (struct.error, ValueError, IndexError):  # an earlier change cut away what this one wanted
            continue
        done.append(change.__name__)
    return f"{name}: {'+'.join(done)}", bytes(data)
