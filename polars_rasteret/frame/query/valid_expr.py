"""What do the names in the caller's ``valid=`` expression mean?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from polars_rasteret.arguments import first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.row_wise import looks_at_other_rows
from polars_rasteret.pixels.valid_mask import ValidExpr
from polars_rasteret.schema import pixel_dtype, raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolved_valid(
    what: str,
    expr: pl.Expr,
    *,
    target_schema: Mapping[str, pl.DataType],
    record_schema: Mapping[str, pl.DataType],
    outputs: Mapping[str, str],
) -> ValidExpr:
    """Return a ``valid=`` expression with its names resolved: to a band, else to the caller's column, else to the record's.

    Parameters
    ----------
    outputs
        Name in the answer to the record column; the record columns' own names are accepted, too.

    Raises
    ------
    UsageError
        When a name is unknown, the result is not Boolean, or a value depends on other rows.
    """
    if not isinstance(expr, pl.Expr):
        raise UsageError(f'{what}: valid={expr!r}; expected a Polars expression, such as pl.col("SCL").is_in([4, 5])')
    rasters = raster_columns(record_schema)
    bands: list[str] = []
    targets: list[str] = []
    records: dict[str, str] = {}
    schema: dict[str, pl.DataType] = {}
    for name in dict.fromkeys(expr.meta.root_names()):
        if name in rasters:
            bands.append(name)
            schema[name] = pixel_dtype(record_schema[name])
        elif name in target_schema:
            targets.append(name)
            schema[name] = target_schema[name]
        elif (column := outputs.get(name, name)) in record_schema:
            records[name] = column
            schema[name] = record_schema[column]
        else:
            raise UsageError(
                f"{what}: valid names {name!r}, which is no band ({', '.join(rasters)}), no column of your frame "
                f"({', '.join(target_schema)}) and none of the collection"
            )
    try:
        result = pl.LazyFrame(schema={**schema, "\0": pl.Null()}).select(expr).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{what}: valid={str(expr)[:200]} cannot be evaluated: {first_line(error)}") from error
    if len(result) != 1 or next(iter(result.values())) != pl.Boolean:
        raise UsageError(
            f"{what}: valid gives {', '.join(map(str, result.values()))}; expected one Boolean per pixel, such as "
            'pl.col("SCL").is_in([4, 5])'
        )
    if (found := looks_at_other_rows(expr, schema)) is not None:
        raise UsageError(
            f"{what}: valid is asked of one pixel at a time, but {found} may look at others; make such a column of your frame "
            "or of the collection before the verb"
        )
    return ValidExpr(expr=expr, bands=tuple(bands), targets=tuple(targets), records=records)
