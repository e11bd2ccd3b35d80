"""What are the rows of one part?

Rows are read as they are stored, before other parts of the collection widen their dtypes or add columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.storage.about import about_in, united
from polars_rasteret.collection.storage.geoparquet import unread_files
from polars_rasteret.collection.storage.parts import polars_options, side_by_side
from polars_rasteret.errors import FileFormatError
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polars_rasteret.collection.storage.about import About
    from polars_rasteret.collection.storage.parts import Part


def read_part(part: Part, **options: Any) -> pl.DataFrame:
    """Read all columns of one part as they are stored, with geometry as plain WKB, and the column `UNREAD`."""
    frame = pl.read_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    extensions = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.BaseExtension)]
    frame = frame.with_columns(pl.col(name).ext.storage() for name in extensions)
    return frame.with_columns(_unread(part, frame.height, **options))


def read_unread(part: Part, **options: Any) -> pl.DataFrame:
    """Read the files of one part that gave no raster: column `UNREAD`, one row per record."""
    return _unread(part, n_records(part, **options), **options).to_frame()


def read_about(parts: Iterable[Part], **options: Any) -> About:
    """Read what the callers said who wrote these parts, together."""
    return united(map(about_in, side_by_side(lambda part: part_metadata(part, **options), list(parts))))


def part_metadata(part: Part, **options: Any) -> dict[str, str]:
    """Read the key-value metadata of one part."""
    return dict(pl.read_parquet_metadata(part.path, **polars_options(**options)))


def _unread(part: Part, n_rows: int, **options: Any) -> pl.Series:
    try:
        return unread_files(part_metadata(part, **options), n_rows)
    except FileFormatError as error:
        raise FileFormatError(f"{shown(part.path)}: {error}") from error


def n_records(part: Part, **options: Any) -> int:
    """Return the number of records of one part, from its footer."""
    scan = pl.scan_parquet(part.path, glob=False, hive_partitioning=False, **polars_options(**options))
    return int(scan.select(pl.len()).collect().item())
