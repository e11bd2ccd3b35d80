"""Which collections are in this folder?"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.collection.queries.extent import bounds_array, place_expression
from polars_rasteret.collection.queries.periods import begin_and_end
from polars_rasteret.collection.reading.part_rows import part_metadata
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.about import about_in, joined, source_in, times_in, united
from polars_rasteret.collection.storage.geoparquet import bounds_in, total_bounds
from polars_rasteret.collection.storage.object_store import list_objects
from polars_rasteret.collection.storage.parts import is_remote, parts_at, plain_path, side_by_side
from polars_rasteret.errors import FileFormatError, UsageError
from polars_rasteret.schema import BBOX, TIME, raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

_SCHEMA = pl.Schema(
    {
        "name": pl.String(),
        "path": pl.String(),
        "records": pl.Int64(),
        "bands": pl.List(pl.String()),
        "bbox": BBOX,
        "start": TIME,
        "end": TIME,
        "source": pl.String(),
        "description": pl.String(),
        "parts": pl.Int64(),
        "bytes": pl.Int64(),
    }
)


def list_collections(
    folder: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> pl.DataFrame:
    """List the collections directly below a folder; only footers are read.

    Parameters
    ----------
    folder
        A local folder, a folder of an object store, or of a dataset at Hugging Face (``hf://``). HTTP has no listing.
    storage_options, credential_provider
        As in `polars.scan_parquet`.

    Returns
    -------
    DataFrame
        One row per collection, sorted by name; files and folders that are no collection are left out. ``name`` (of the folder
        or file), ``path``, ``records`` (Int64), ``bands`` (List(String)), ``bbox`` (Struct of xmin, ymin, xmax, ymax in longitude
        and latitude, null without places), ``start`` and ``end`` (Datetime, null without times), ``source`` and
        ``description`` (String, null where nobody said any), ``parts`` (Int64) and ``bytes`` (Int64, null where unknown).

    Raises
    ------
    UsageError
        When there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> pr.testing.example_scenes().raster.sink_collection(f"{folder.name}/scenes")
    >>> pr.list_collections(folder.name).select("name", "records", "bands").rows()
    [('scenes', 2, ['red', 'nir'])]
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    target = plain_path(folder).rstrip("/") or "/"
    rows = []
    for name in _children(target, options):
        child = f"{target.rstrip('/')}/{name}"
        with contextlib.suppress(UsageError, FileFormatError):
            rows.append({"name": name, **collection_facts(child, **options)})
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def collection_facts(
    path: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> dict[str, Any]:
    """Return what `list_collections` tells of one collection; only its footers are read.

    Raises
    ------
    UsageError
        When no collection is there.
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    scan = scan_collection(path, **options)
    bands = raster_columns(scan.collect_schema())
    parts = parts_at(path, **options)
    told = side_by_side(lambda part: part_metadata(part, **options), parts)
    sizes = [part.n_bytes for part in parts]
    try:
        boxes = np.array([bounds_in(one) for one in told], dtype=np.float64).reshape(-1, 4)
        times = [range_ for one in told if (range_ := times_in(one)) is not None]
        start, end = (min(one[0] for one in times), max(one[1] for one in times)) if times else (None, None)
    except LookupError:
        # Parts of another program: their columns tell.
        begin, finish = begin_and_end(scan.collect_schema()) or (pl.lit(None, dtype=TIME), pl.lit(None, dtype=TIME))
        wanted = [place_expression(scan).implode(), begin.min().alias("begin"), finish.max().alias("finish")]
        places, start, end = scan.select(wanted).collect().row(0)
        boxes = bounds_array(pl.Series(places, dtype=BBOX))
    box = total_bounds(boxes)
    return {
        "path": plain_path(path),
        "records": scan.select(pl.len()).collect().item(),
        "bands": bands,
        "bbox": None if box is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        "start": start,
        "end": end,
        "source": joined(source_in(one) for one in told),
        "description": united(map(about_in, told)).description,
        "parts": len(parts),
        "bytes": None if None in sizes else sum(size for size in sizes if size is not None),
    }


def _children(target: str, options: Mapping[str, Any]) -> list[str]:
    if target.startswith("hf://"):
        from polars_rasteret.collection.storage.hugging_face import parquet_files

        below = "/".join(target.removeprefix("hf://").split("/")[3:])  # after datasets, organisation and name
        files = parquet_files(target, storage_options=options["storage_options"])
        return sorted({one.path.removeprefix(below).strip("/").partition("/")[0] for one in files})
    if is_remote(target):
        found = list_objects(target, **options)
        return sorted({one.href.removeprefix(target).strip("/").partition("/")[0] for one in found} - {""})
    if not Path(target).is_dir():
        raise UsageError(f"{target} is not a folder; expected one that holds collections")
    return sorted(one.name for one in Path(target).iterdir() if not one.name.startswith((".", "_")))
