"""How does a collection become Arrow whose geometry other programs know?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.storage.geoparquet import arrow_schema
from polars_rasteret.errors import UsageError
from polars_rasteret.schema import raster_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_ROWS_AT_ONCE = 10_000


def to_arrow(lf: pl.LazyFrame, requested_schema: Any = None) -> pa.Table:
    """Return a collection as an Arrow table with ``geoarrow.wkb`` in longitude and latitude on ``geometry``."""
    lf, schema = _answer(lf, requested_schema)
    return _cast(_placed(lf.collect()), schema)


def to_reader(lf: pl.LazyFrame, requested_schema: Any = None) -> pa.RecordBatchReader:
    """Return a collection as a reader of batches, like `to_arrow`."""
    import pyarrow as pa

    lf, schema = _answer(lf, requested_schema)

    def batches() -> Iterator[pa.RecordBatch]:
        for frame in lf.collect_batches(chunk_size=_ROWS_AT_ONCE, maintain_order=True):
            yield from _cast(_placed(frame), schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _answer(lf: pl.LazyFrame, requested: Any) -> tuple[pl.LazyFrame, pa.Schema]:
    """Return the rows with the columns that are needed, and the schema of the answer: its own, or the one requested.

    Raises
    ------
    UsageError
        When a column is not there, or cannot have the type that is requested.
    """
    import pyarrow as pa

    there = lf.collect_schema()
    empty = _placed(there.to_frame())
    own = arrow_schema(empty)
    if requested is None:
        return lf, own
    wanted = pa.schema(requested)
    if missing := [name for name in wanted.names if name not in own.names]:
        raise UsageError(f"requested_schema: there is no column {', '.join(missing)}; there are {', '.join(own.names)}")
    # The CRS of a geometry is known here, whether it is asked for or not.
    fields = [one.with_metadata(own.field(one.name).metadata) if one.metadata is None else one for one in wanted]
    schema = pa.schema(fields, wanted.metadata)
    try:
        _cast(empty, schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UsageError(f"requested_schema: {error}") from error
    makes_geometry = "geometry" in schema.names and "geometry" not in there
    return (lf if makes_geometry else lf.select(schema.names)), schema


def _cast(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def _placed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with a geometry: its own, else the footprints of the rasters."""
    if frame.schema.get("geometry") == pl.Binary or not raster_columns(frame.schema):
        return frame
    return frame.with_columns(with_places(frame)["geometry"])
