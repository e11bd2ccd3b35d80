"""How are records laid out in the files of a collection?

They are cut by hive keys and sorted along the Hilbert curve, so that neighbours on Earth are neighbours in the file. Pure: frames
in, frames out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import polars as pl

from polars_rasteret.collection.queries.extent import bbox_series, bounds_array, with_places
from polars_rasteret.collection.writing.hilbert import hilbert_order
from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RECORDS_PER_PART = 100_000
"""Fewest records of a part where there are as many; a part has less than twice as many."""
_NO_HIVE_VALUE = "__HIVE_DEFAULT_PARTITION__"


def laid_out(
    frame: pl.DataFrame, keys: Sequence[str], *, records_per_part: int | None = None
) -> list[tuple[str, pl.DataFrame]]:
    """Return the records in pieces cut by hive keys, each with its folder below the collection.

    Records get places, and those of each folder are sorted along the Hilbert curve; then they are cut into parts of
    `records_per_part` records, or somewhat more. None: they stay one part.
    """
    frame = _with_keys(placed(frame), keys)
    if keys:
        frame = _without_empty_intervals(frame)
    if not keys or frame.is_empty():
        folders = [("", frame)]
    else:
        folders = [
            (_folder(keys, values), rows.drop(keys)) for values, rows in frame.group_by(keys, maintain_order=True)
        ]
    return [
        (below, ordered[piece])
        for below, rows in folders
        for ordered in [in_hilbert_order(rows)]
        for piece in part_slices(rows.height, records_per_part or rows.height + 1)
    ]


def part_slices(n_records: int, records_per_part: int) -> list[slice]:
    """Return the slices of sorted records that become parts, all of about one size.

    Examples
    --------
    >>> part_slices(7, 3)
    [slice(0, 3, None), slice(3, 7, None)]
    >>> part_slices(2, 3)
    [slice(0, 2, None)]
    """
    n_parts = max(n_records // records_per_part, 1)
    ends = [number * n_records // n_parts for number in range(n_parts + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def folders_of_rows(frame: pl.DataFrame, keys: Sequence[str]) -> list[str]:
    """Return the folder below the collection that each record belongs to."""
    return [_folder(keys, values) for values in _with_keys(frame, keys).select(keys).iter_rows()]


def _folder(keys: Sequence[str], values: Sequence[object]) -> str:
    return "/".join(f"{key}={_folder_name(value)}" for key, value in zip(keys, values, strict=True))


def _with_filterable_boxes(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with boxes that filters can compare.

    A box that crosses the antimeridian, but is too wide for `intersects` to notice, becomes one that goes all around.
    """
    bounds = bounds_array(frame["bbox"])
    _check_boxes(frame, bounds)
    odd = (bounds[:, 0] > bounds[:, 2]) & ((bounds[:, 0] < 0) | (bounds[:, 2] > 0))
    if not odd.any():
        return frame
    bounds[odd, 0], bounds[odd, 2] = -180.0, 180.0
    return frame.with_columns(bbox_series(bounds))


def _check_boxes(frame: pl.DataFrame, bounds: NDArray[np.float64]) -> None:
    """Refuse boxes with NaN, infinities or ymin > ymax: filters by Parquet statistics would skip such records unseen."""
    is_null = np.logical_or.reduce([side.is_null().to_numpy() for side in frame["bbox"].struct.unnest()])
    is_box = np.isfinite(bounds).all(axis=1) & (bounds[:, 1] <= bounds[:, 3])
    wrong = np.flatnonzero(~is_box & ~is_null)
    if len(wrong):
        at = int(wrong[0])
        raise UsageError(
            f"column 'bbox' of record {frame['id'][at]!r} is {bounds[at].tolist()}; expected four finite numbers with ymin <= "
            "ymax, or null for the place of the image itself"
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
    """Drop start and end times that no record has; with them, a filter on time could not rule out a folder by its name."""
    names = [name for name in ("start_datetime", "end_datetime") if name in frame.columns]
    return frame.drop(names) if all(frame[name].null_count() == frame.height for name in names) else frame


def _folder_name(value: object) -> str:
    return _NO_HIVE_VALUE if value is None else quote(str(value), safe=" ")


def placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with ``geometry`` and ``bbox``, made from the rasters where missing; filters can skip by these boxes."""
    return _with_filterable_boxes(with_places(frame))


def in_hilbert_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the records sorted along the Hilbert curve, so that neighbours on Earth are neighbours in the file."""
    order = hilbert_order(bounds_array(frame["bbox"]))
    return frame if np.array_equal(order, np.arange(len(order))) else frame[order]
