"""How does a collection become Arrow whose geometry other programs know?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.storage.geoparquet import arrow_schema
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_ROWS_AT_ONCE = 10_000


def to_arrow(lf: pl.LazyFrame) -> pa.Table:
    """Return a collection as an Arrow table with ``geoarrow.wkb`` in longitude and latitude on ``geometry``."""
    frame = _placed(lf.collect())
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(arrow_schema(frame))


def to_reader(lf: pl.LazyFrame) -> pa.RecordBatchReader:
    """Return a collection as a reader of batches, like `to_arrow`."""
    import pyarrow as pa

    schema = arrow_schema(_placed(lf.collect_schema().to_frame()))

    def batches() -> Iterator[pa.RecordBatch]:
        for frame in lf.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=True):
            table = _placed(frame).to_arrow(compat_level=pl.CompatLevel.oldest())
            yield from table.cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with a geometry: its own, else the footprints of the rasters."""
    if frame.schema.get("geometry") == pl.Binary or not raster_columns(frame.schema):
        return frame
    return frame.with_columns(with_places(frame)["geometry"])
