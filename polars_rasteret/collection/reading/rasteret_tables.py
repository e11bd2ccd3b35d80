"""How does a table of rasteret's that is in memory open as a collection?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.rasteret_format.band_columns import bands_of, is_rasteret
from polars_rasteret.rasteret_format.pixel_dtypes import dtype_names_of_frame, settled_dtypes
from polars_rasteret.rasteret_format.places_of_files import FilePlaces
from polars_rasteret.rasteret_format.records import own_records
from polars_rasteret.schema import raster_columns


def open_table(table: Any) -> pl.LazyFrame:
    """Return a table as a collection: one of ours as it is, one of rasteret's with a raster column per band.

    Parameters
    ----------
    table
        A LazyFrame, a DataFrame, or anything with ``__arrow_c_stream__``. Of a LazyFrame, the dtypes of the bands are collected.

    Raises
    ------
    UsageError
        When the table is neither.
    """
    lf = (table if isinstance(table, pl.LazyFrame | pl.DataFrame) else pl.DataFrame(table)).lazy()
    schema = dict(lf.collect_schema())
    extensions = [name for name, dtype in schema.items() if isinstance(dtype, pl.BaseExtension)]
    if extensions:
        lf = lf.with_columns(pl.col(name).ext.storage() for name in extensions)
        schema = dict(lf.collect_schema())
    if raster_columns(schema):
        return lf
    if not is_rasteret(schema):
        raise UsageError(
            f"the table is no collection: it has neither raster columns nor assets with metadata of bands beside them; it has "
            f"{', '.join(schema) or 'no columns'}. Make one with build_from_table."
        )
    names = dtype_names_of_frame(lf, bands_of(schema))
    return own_records(lf, schema, settled_dtypes([names], "the table"), FilePlaces.beside(str(Path.cwd())))
