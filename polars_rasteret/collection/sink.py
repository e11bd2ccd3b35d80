"""How is a frame of records written as a collection?

One GeoParquet file, or a folder of immutable parts, whose records lie along a curve. How files appear is `part_files`' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np
import polars as pl

from polars_rasteret.collection.curve import curve_order
from polars_rasteret.collection.extent import bbox_series, bounds_array, with_places
from polars_rasteret.collection.part_files import replace_parts, write_file, write_folder, write_remote
from polars_rasteret.collection.parts import (
    Part,
    is_all_null,
    is_one_file,
    is_remote,
    parts_at,
    plain_path,
    read_schema,
)
from polars_rasteret.collection.scan import scan_collection, storage_dtype
from polars_rasteret.collection.schemas import Columns, united_schema
from polars_rasteret.collection.unsigned import with_keys_kept_back
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

ROW_GROUP_SIZE = 512
"""A few hundred rows: spatial filters read little more than what they select."""
_NO_HIVE_VALUE = "__HIVE_DEFAULT_PARTITION__"


def sink_collection(
    lf: pl.LazyFrame | pl.DataFrame,
    path: str | os.PathLike[str],
    *,
    mode: Literal["error", "overwrite", "append"] = "error",
    partition_by: str | Sequence[str] | None = None,
    row_group_size: int = ROW_GROUP_SIZE,
    format: Literal["native", "rasteret"] = "native",  # noqa: A002 - Polars' word
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Write records as a collection: GeoParquet 1.1, neighbours on Earth next to each other, small row groups.

    Parameters
    ----------
    lf
        Records with an ``id`` and at least one raster column. Missing ``geometry`` and ``bbox`` are made from the rasters.
    path
        A path that ends in ``.parquet`` is one file, any other one a folder of parts. Local or an object store.
    mode
        What to do when something is there: ``"error"`` refuse; ``"overwrite"`` replace it; ``"append"`` add the records (a
        folder gets a part, a file is replaced by a longer one).
    partition_by
        Columns that become hive folders ``column=value``. ``year`` and ``month`` are made from ``datetime`` (else
        ``start_datetime``) when there are no such columns.
    row_group_size
        Rows per row group.
    format
        ``"native"``.
    storage_options, credential_provider
        As in `polars.LazyFrame.sink_parquet`.

    Raises
    ------
    UsageError
        When something is there (``mode="error"``), the frame is not a collection, or an appended column has a dtype that
        does not fit the parts that are there.

    Examples
    --------
    >>> import tempfile
    >>> import polars_rasteret as pr
    >>> folder = tempfile.TemporaryDirectory()
    >>> sink_collection(pr.testing.example_scenes(), f"{folder.name}/scenes", partition_by="month")
    >>> pr.scan_collection(f"{folder.name}/scenes").select("id", "month").collect().rows()
    [('first', 5), ('second', 6)]
    >>> folder.cleanup()
    """
    options: dict[str, Any] = {"storage_options": storage_options, "credential_provider": credential_provider}
    _check_words(mode, row_group_size, format)
    target = plain_path(path)
    keys = [partition_by] if isinstance(partition_by, str) else list(partition_by or [])
    if keys and is_one_file(target):
        raise UsageError(
            f"partition_by={keys} makes a folder of parts; {target} names one file, so leave out its suffix"
        )
    there = parts_at(target, **options)
    if there and mode == "error":
        raise UsageError(f"{target} exists already; say mode='overwrite' to replace it or mode='append' to add to it")
    if there and mode == "append" and (known := [key for key, _ in there[0].hive]) != keys:
        if keys:
            raise UsageError(
                f"{target} is partitioned by {known or 'nothing'}, not by {keys}; append with the same partition_by"
            )
        keys = known
    frame = with_keys_kept_back(_checked(lf.lazy().collect(), target))
    if there and mode == "append":
        united = _united_with(frame, there, options)
        if is_one_file(target):
            before = scan_collection(target, **options).collect()
            frame = pl.concat([_widened(before, united), _widened(frame, united)], how="diagonal_relaxed")
            mode = "overwrite"
    if frame.is_empty() and mode == "append" and there:
        return
    frame = _with_filterable_boxes(with_places(frame))
    frame = _with_keys(frame, keys)
    if keys:
        frame = _without_empty_intervals(frame)
    pieces = _pieces(frame, [] if frame.is_empty() else keys)
    if is_remote(target):
        write_remote(pieces, target, there if mode == "overwrite" else [], row_group_size, options)
    elif is_one_file(target):
        write_file(pieces[0][1], Path(target), replace=mode == "overwrite", row_group_size=row_group_size)
    else:
        write_folder(pieces, Path(target), overwrite=mode == "overwrite", row_group_size=row_group_size)


def write_parts(
    pieces: Iterable[tuple[str, pl.DataFrame]],
    target: str,
    old: Sequence[Part],
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
) -> None:
    """Put new parts in the place of `old` ones (of none: beside those that are there), in one step.

    Parameters
    ----------
    pieces
        The folder of each part below the collection, and its records with ``geometry`` and ``bbox``; each is sorted along the
        curve here, and written before the next one is asked for.
    target
        As `plain_path` gives it; for a single file there is one piece.
    old
        Parts of this collection that go.
    """
    placed = ((below, _sorted(_with_filterable_boxes(with_places(frame)))) for below, frame in pieces)
    if is_remote(target):
        options = {"storage_options": storage_options, "credential_provider": credential_provider}
        write_remote(placed, target, old, ROW_GROUP_SIZE, options)
    elif is_one_file(target):
        for _, frame in placed:
            write_file(frame, Path(target), replace=True, row_group_size=ROW_GROUP_SIZE)
    else:
        files = [Path(part.path) for part in old]
        replace_parts(placed, Path(target), files, row_group_size=ROW_GROUP_SIZE)


def _check_words(mode: str, row_group_size: int, format_: str) -> None:
    if mode not in ("error", "overwrite", "append"):
        raise UsageError(f"mode is {mode!r}; expected 'error', 'overwrite' or 'append'")
    if format_ == "rasteret":
        raise UsageError("format='rasteret' comes later; write format='native'")
    if format_ != "native":
        raise UsageError(f"format is {format_!r}; expected 'native'")
    if isinstance(row_group_size, bool) or not isinstance(row_group_size, int) or row_group_size < 1:
        raise UsageError(f"row_group_size is {row_group_size!r}; expected rows, 1 or more")


def _checked(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    if not raster_columns(frame.schema):
        raise UsageError(
            f"{target}: the frame has no raster column, so it is not a collection; it has {', '.join(frame.columns)}. "
            "For other frames use sink_parquet."
        )
    if "id" not in frame.columns:
        raise UsageError(
            f"{target}: the frame has no column 'id', which a collection needs; it has {', '.join(frame.columns)}"
        )
    extensions = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.BaseExtension)]
    return frame.with_columns(pl.col(name).ext.storage() for name in extensions)


def _united_with(frame: pl.DataFrame, there: Sequence[Part], options: Mapping[str, Any]) -> Columns:
    """Give the columns of a collection with a frame appended; refuse what a scan could not put together again."""
    schemas = [read_schema(part, **options) for part in there]
    columns = [{name: storage_dtype(dtype) for name, dtype in schema.items()} for schema in schemas]
    hive = {key for part in there for key, _ in part.hive}
    new = {name: dtype for name, dtype in frame.schema.items() if name not in hive}

    def nothing(part: int, band: str) -> bool:
        if part == len(there):
            return frame[band].null_count() == frame.height
        return is_all_null(there[part], band, **options)

    return united_schema([*columns, new], [*(part.path for part in there), "what is to be appended"], nothing)


def _widened(frame: pl.DataFrame, united: Columns) -> pl.DataFrame:
    """Bring bands to the dtype they have together."""
    bands = [name for name in raster_columns(frame.schema) if frame.schema[name] != united[name]]
    return frame.with_columns(
        pl.lit(None, dtype=united[name]).alias(name)
        if frame[name].null_count() == frame.height
        else pl.col(name).cast(united[name])
        for name in bands
    )


def _with_filterable_boxes(frame: pl.DataFrame) -> pl.DataFrame:
    """Let boxes that cross the antimeridian, and are too wide for `intersects` to see that, go all around."""
    bounds = bounds_array(frame["bbox"])
    _check_boxes(frame, bounds)
    odd = (bounds[:, 0] > bounds[:, 2]) & ((bounds[:, 0] < 0) | (bounds[:, 2] > 0))
    if not odd.any():
        return frame
    bounds[odd, 0], bounds[odd, 2] = -180.0, 180.0
    return frame.with_columns(bbox_series(bounds))


def _check_boxes(frame: pl.DataFrame, bounds: NDArray[np.float64]) -> None:
    """Refuse NaN and infinities: statistics of Parquet leave NaN out, so that filters would pass over the record unseen."""
    is_null = np.logical_or.reduce([side.is_null().to_numpy() for side in frame["bbox"].struct.unnest()])
    wrong = np.flatnonzero(~np.isfinite(bounds).all(axis=1) & ~is_null)
    if len(wrong):
        at = int(wrong[0])
        raise UsageError(
            f"column 'bbox' of record {frame['id'][at]!r} is {bounds[at].tolist()}; expected four finite numbers, or null for "
            "the place of the image itself"
        )


def _with_keys(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    made: dict[str, pl.Expr] = {}
    for key in keys:
        if key in frame.columns:
            dtype = frame.schema[key]
            if dtype.is_nested() or dtype == pl.Binary:
                raise UsageError(f"partition_by={key!r}: the column is {dtype}, which is no name for a folder")
            continue
        if key not in ("year", "month") or "datetime" not in frame.columns:
            raise UsageError(f"partition_by={key!r}: there is no such column; there are {', '.join(frame.columns)}")
        time = pl.coalesce("datetime", "start_datetime") if "start_datetime" in frame.columns else pl.col("datetime")
        made[key] = time.dt.year() if key == "year" else time.dt.month()
    return frame.with_columns(**made)


def _without_empty_intervals(frame: pl.DataFrame) -> pl.DataFrame:
    """Drop start and end times that no record has: a filter on time could not rule out a folder by its name otherwise."""
    names = [name for name in ("start_datetime", "end_datetime") if name in frame.columns]
    return frame.drop(names) if all(frame[name].null_count() == frame.height for name in names) else frame


def _pieces(frame: pl.DataFrame, keys: Sequence[str]) -> list[tuple[str, pl.DataFrame]]:
    """Cut the frame by hive keys, and sort each piece along the curve; the folder of each below the collection."""
    if not keys:
        return [("", _sorted(frame))]
    return [
        (
            "/".join(f"{key}={_folder_name(value)}" for key, value in zip(keys, values, strict=True)),
            _sorted(piece.drop(keys)),
        )
        for values, piece in frame.group_by(keys, maintain_order=True)
    ]


def _folder_name(value: object) -> str:
    return _NO_HIVE_VALUE if value is None else quote(str(value), safe=" ")


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    order = curve_order(bounds_array(frame["bbox"]))
    return frame if np.array_equal(order, np.arange(len(order))) else frame[order]
