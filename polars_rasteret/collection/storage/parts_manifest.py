"""Which parts of a collection are known without opening them?

The manifest is a hint, and never the truth: the listing says which parts there are. A part that the manifest does not know, by
name and size, is opened. So nothing that happens to parts or manifest loses or doubles a row; a query takes longer.

Programs that read a folder take each Parquet file for a part, and Polars refuses a folder with files of another kind. So the
manifest is a Parquet file of the columns of the first part, without rows, beside that part; its metadata holds the facts.
Writing it belongs in ``writing.noted_parts``.
"""

from __future__ import annotations

import io
import zlib
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.storage.part_facts import facts_in, facts_text, is_our_name
from polars_rasteret.collection.storage.parts import is_remote
from polars_rasteret.collection.storage.untrusted_files import MAX_BYTES, read_small_file
from polars_rasteret.errors import FetchError, FileFormatError
from polars_rasteret.fetch.places import BUCKET_SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polars_rasteret.collection.storage.part_facts import PartFacts
    from polars_rasteret.collection.storage.parts import Part

MANIFEST = "_parts.parquet"
FEWEST_PARTS = 8
"""Fewest parts with a manifest: fewer footers are read side by side as fast as a manifest, and then one of them."""
_KEY = "polars_rasteret_parts"


def with_facts(parts: Sequence[Part], **options: Any) -> list[Part]:
    """Return the parts of a collection, in the order of their listing, with the facts that its manifest has of them."""
    if not parts or not may_have_manifest(parts[0].path):
        return list(parts)
    if sum(is_our_name(name_of(part)) for part in parts) < FEWEST_PARTS:
        return list(parts)
    place = manifest_place(parts)
    try:
        if is_remote(place):
            from polars_rasteret.collection.storage.object_store import get_object

            held = get_object(place, **options)
            data = None if held is None else held.data
        else:
            data = read_small_file(Path(place))
    except (FetchError, FileFormatError):
        return list(parts)
    return known_parts(parts, data or b"")


def known_parts(parts: Sequence[Part], manifest: bytes) -> list[Part]:
    """Return parts with what the bytes of a manifest say of them; of bytes that are no manifest of ours, nothing is believed."""
    known = _facts(manifest) if manifest else {}
    found = []
    for part in parts:
        size, facts = known.get(name_of(part), (None, None))
        found.append(part if facts is None or size != part.n_bytes else replace(part, facts=facts))
    return found


def may_have_manifest(path: str) -> bool:
    """Return whether the place of a path can have a manifest: a disk or a bucket."""
    return not is_remote(path) or path.partition("://")[0] in BUCKET_SCHEMES


def manifest_place(parts: Sequence[Part]) -> str:
    """Return the path or URL of the manifest of parts in the order of their listing: beside the first."""
    first = parts[0].path
    return f"{first.rpartition('/')[0]}/{MANIFEST}" if is_remote(first) else str(Path(first).parent / MANIFEST)


def name_of(part: Part) -> str:
    """Return the name of the file of a part: no folder, because names are used once, and a collection may be moved."""
    return part.path.rpartition("/")[2] if is_remote(part.path) else Path(part.path).name


def manifest_metadata(known: Mapping[str, tuple[int, PartFacts]]) -> dict[str, str]:
    """Return the metadata of a manifest: names of parts to sizes in bytes and facts."""
    return {_KEY: b64encode(zlib.compress(facts_text(known).encode())).decode()}


def says(manifest: bytes, metadata: Mapping[str, str]) -> bool:
    """Return whether the bytes of a manifest have the metadata that `manifest_metadata` returns."""
    try:
        return bool(manifest) and pl.read_parquet_metadata(io.BytesIO(manifest)).items() >= metadata.items()
    except (OSError, pl.exceptions.PolarsError):
        return False


def _facts(manifest: bytes) -> dict[str, tuple[int, PartFacts]]:
    try:
        text = pl.read_parquet_metadata(io.BytesIO(manifest))[_KEY]
        unpacked = zlib.decompressobj().decompress(b64decode(text, validate=True), MAX_BYTES)
        found = facts_in(unpacked.decode())
    except (FileFormatError, KeyError, OSError, ValueError, zlib.error, pl.exceptions.PolarsError):
        return {}
    return {name: one for name, one in found.items() if is_our_name(name)}
