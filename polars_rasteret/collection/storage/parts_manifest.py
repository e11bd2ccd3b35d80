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
from polars_rasteret.collection.storage.parts import is_remote, polars_options
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
    if sum(is_our_name(name_of(part)) for part in parts) < FEWEST_PARTS:
        return list(parts)
    try:
        return known_parts(parts, _read(manifest_place(parts), options))
    except (FetchError, FileFormatError, OSError, pl.exceptions.PolarsError):
        return list(parts)


def _read(place: str, options: Mapping[str, Any]) -> Mapping[str, str]:
    """Read the metadata of a manifest; none where no manifest is."""
    if not is_remote(place):
        return metadata_in(read_small_file(Path(place)) or b"")
    if not may_be_written(place):  # a file of a hub
        return pl.read_parquet_metadata(place, **polars_options(**options))
    from polars_rasteret.collection.storage.object_store import get_object

    held = get_object(place, **options)
    return {} if held is None else metadata_in(held.data)


def known_parts(parts: Sequence[Part], metadata: Mapping[str, str]) -> list[Part]:
    """Return parts with what the metadata of a manifest says of them; nothing is believed that is not ours."""
    known = _facts(metadata)
    found = []
    for part in parts:
        size, facts = known.get(name_of(part), (None, None))
        found.append(part if facts is None or size != part.n_bytes else replace(part, facts=facts))
    return found


def may_be_written(path: str) -> bool:
    """Return whether a manifest can be written at the place of a path: on a disk or in a bucket."""
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


def metadata_in(manifest: bytes) -> Mapping[str, str]:
    """Return the metadata in the bytes of a manifest; none where they are no Parquet file."""
    try:
        return pl.read_parquet_metadata(io.BytesIO(manifest)) if manifest else {}
    except (OSError, pl.exceptions.PolarsError):
        return {}


def _facts(metadata: Mapping[str, str]) -> dict[str, tuple[int, PartFacts]]:
    try:
        unpacked = zlib.decompressobj().decompress(b64decode(metadata[_KEY], validate=True), MAX_BYTES)
        found = facts_in(unpacked.decode())
    except (FileFormatError, KeyError, ValueError, zlib.error):
        return {}
    return {name: one for name, one in found.items() if is_our_name(name)}
