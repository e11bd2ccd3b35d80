"""How is the manifest of a collection brought up to date after a change?

It is the last step of every writer, and a failure of it is no failure of the change: readers open the parts that a manifest does
not know. What it says of a part is read from the part itself, once. Reading it belongs in ``storage.parts_manifest``.
"""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.reading.part_rows import part_metadata
from polars_rasteret.collection.reading.scan import storage_dtype
from polars_rasteret.collection.storage.durable_writes import sync_folder
from polars_rasteret.collection.storage.geoparquet import bands_without_values
from polars_rasteret.collection.storage.object_store import (
    PutRefusedError,
    delete_objects,
    get_object,
    list_objects,
    put_object,
)
from polars_rasteret.collection.storage.part_facts import PartFacts, is_our_name, range_expressions, ranges_of
from polars_rasteret.collection.storage.parts import (
    is_one_file,
    is_remote,
    parts_at,
    polars_options,
    read_schemas,
    side_by_side,
)
from polars_rasteret.collection.storage.parts_manifest import (
    FEWEST_PARTS,
    MANIFEST,
    known_parts,
    manifest_metadata,
    manifest_place,
    may_be_written,
    metadata_in,
    name_of,
)
from polars_rasteret.collection.storage.untrusted_files import read_small_file
from polars_rasteret.collection.writing.publishing import part_bytes
from polars_rasteret.errors import RasteretError
from polars_rasteret.fetch.hints import HINTS_KEY
from polars_rasteret.rasteret_format.band_columns import is_rasteret
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.collection.storage.object_store import StoredObject
    from polars_rasteret.collection.storage.parts import Part

_PUTS = 5
"""How often a manifest in a store is written anew because another writer was faster; then that one's stays."""


def note_parts(target: str, *, draft: Path | None = None, **options: Any) -> None:
    """Bring the manifest of a collection up to date; what cannot be written down is left out.

    Parameters
    ----------
    target
        The collection, as `plain_path` returns it. If it is local, the caller holds its lock.
    draft
        Path on a stage where a new manifest is written before it takes its place; None for an object store.
    """
    if is_one_file(target) or not may_be_written(target) or target.rstrip("/").rpartition("/")[2][:1] in (".", "_"):
        return
    with contextlib.suppress(RasteretError, OSError, pl.exceptions.PolarsError):
        for _ in range(_PUTS):
            try:
                _note(target, draft, options)
            except PutRefusedError:
                continue
            return


def forget_parts(target: str, **options: Any) -> None:
    """Delete the manifest of a collection.

    Raises
    ------
    FetchError
        When the store refuses.
    """
    _delete(target, _manifests(target, options), options)


def _note(target: str, draft: Path | None, options: dict[str, Any]) -> None:
    parts = parts_at(target, **options)
    place = manifest_place(parts) if len(parts) >= FEWEST_PARTS else None
    held, before = (None, b"") if place is None else _held(place, options)
    metadata = metadata_in(before)
    known = {
        name_of(part): (part.n_bytes, part.facts)
        for part in _with_new_facts(known_parts(parts, metadata), options)
        if part.n_bytes is not None and part.facts is not None
    }
    if len(known) < FEWEST_PARTS:
        place = None
    _delete(target, [one for one in _manifests(target, options) if one != place], options)
    if place is None:
        return
    said = manifest_metadata(known)
    if not said.items() <= metadata.items():
        first = next(facts for _, facts in known.values())
        _write(place, _empty_part(first.columns, said), held, draft, options)


def _held(place: str, options: dict[str, Any]) -> tuple[StoredObject | None, bytes]:
    """Read a manifest, if there is one: the object of a store, and its bytes."""
    if is_remote(place):
        held = get_object(place, **options)
        return held, b"" if held is None else held.data
    return None, read_small_file(Path(place)) or b""


def _with_new_facts(parts: Sequence[Part], options: dict[str, Any]) -> list[Part]:
    """Return parts with facts of those of ours that the manifest does not know."""
    new = [part for part in parts if part.facts is None and is_our_name(name_of(part))]
    columns_of = dict(zip((part.path for part in new), read_schemas(new, **options), strict=True))
    # Parts of rasteret's layout are asked for their columns alone, which are remembered.
    new = [part for part in new if not is_rasteret(columns_of[part.path]) and raster_columns(columns_of[part.path])]
    metadata = side_by_side(lambda part: part_metadata(part, **options), new)
    scans = [
        pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options)).select(
            pl.len().alias("len"), **range_expressions(columns_of[part.path])
        )
        for part in new
    ]
    schema_files: dict[Any, bytes | None] = {}
    facts: dict[str, PartFacts] = {}
    for part, told, rows in zip(new, metadata, pl.collect_all(scans), strict=True):
        columns, empty_bands = columns_of[part.path], bands_without_values(told)
        key = tuple(columns.items())
        if key not in schema_files:
            file = _empty_part(columns, {})
            is_same = pl.scan_parquet(io.BytesIO(file)).collect_schema() == pl.Schema(columns)
            schema_files[key] = file if is_same else None
        schema_file = schema_files[key]
        if empty_bands is not None and schema_file is not None:
            row = rows.row(0, named=True)
            facts[part.path] = PartFacts(
                columns=columns,
                schema_file=schema_file,
                n_rows=row.pop("len"),
                hints=told.get(HINTS_KEY, ""),
                empty_bands=frozenset(empty_bands),
                ranges=ranges_of(row),
            )
    return [replace(part, facts=facts.get(part.path, part.facts)) for part in parts]


def _empty_part(columns: dict[str, pl.DataType], metadata: dict[str, str]) -> bytes:
    """Return a Parquet file with these columns and no row."""
    return part_bytes(pl.DataFrame(schema={name: storage_dtype(dtype) for name, dtype in columns.items()}), metadata)


def _write(place: str, data: bytes, held: StoredObject | None, draft: Path | None, options: dict[str, Any]) -> None:
    if draft is None:
        put_object(place, data, over=held, **options)
        return
    with draft.open("wb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    draft.replace(place)
    sync_folder(Path(place).parent)


def _manifests(target: str, options: dict[str, Any]) -> list[str]:
    """Return the manifests in the folders of a collection; there is one, but for those that killed writers left."""
    if is_remote(target):
        return [one.href for one in list_objects(target, **options) if one.href.endswith(f"/{MANIFEST}")]
    return [str(one) for one in Path(target).rglob(MANIFEST)]


def _delete(target: str, manifests: list[str], options: dict[str, Any]) -> None:
    if is_remote(target):
        delete_objects(manifests, **options)
        return
    for one in manifests:
        Path(one).unlink(missing_ok=True)
