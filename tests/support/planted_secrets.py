"""Which secrets do tests use, and does one of them stand in a text, a table or a file, in whatever form?

A test that gives the package a secret takes it from `planted`, so that what the run wrote, said and raised is searched for it at
the end (`tests/conftest.py`).
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_secrets: set[str] = set()
SHORTEST = 8


def planted(secret: str) -> str:
    """Return a secret, which from now on must not be found in anything that leaves the package."""
    assert len(secret) >= SHORTEST, "a shorter one would be found by chance"
    _secrets.add(secret)
    return secret


def forms(secret: str) -> set[bytes]:
    """Give the bytes by which a secret is recognised: plain, percent-encoded, and in base64 at any position of a longer text."""
    data = secret.encode()
    found = {data}
    for one in (quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe=""), safe="")):
        found |= {one.encode(), one.lower().encode()} if "%" in one else set()
    for before in range(3):
        # The characters that only bytes of the secret decide.
        n_open = -(-before * 8 // 6)
        n_whole = (before + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"\0" * before + data)[n_open:n_whole])
    return found


def secrets_in(data: bytes | str, secrets: Iterable[str] | None = None) -> list[str]:
    """Give the planted secrets that stand in a text or in bytes, in any form."""
    data = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    known = _secrets if secrets is None else secrets
    return [one for one in sorted(known) if any(form in data for form in forms(one))]


def secrets_in_file(path: Path, secrets: Iterable[str] | None = None) -> list[str]:
    """Give the planted secrets in a file; of a Parquet file in its values and its metadata, too, as they are read."""
    parts = [path.read_bytes()]
    if path.suffix == ".parquet":
        parts += _decoded(path)
    return sorted({one for part in parts for one in secrets_in(part, secrets)})


def _decoded(path: Path) -> Iterator[bytes]:
    try:
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
        yield repr(pl.read_parquet_metadata(path)).encode()
    except (pl.exceptions.PolarsError, OSError):
        return  # a part that a killed writer left, or damage that a test made
    plain = io.BytesIO()
    frame.select(pl.exclude(pl.Object)).write_ipc(
        plain, compression="uncompressed", compat_level=pl.CompatLevel.oldest()
    )
    yield plain.getvalue()


def are_planted() -> bool:
    """Tell whether any test of this process has planted a secret."""
    return bool(_secrets)
