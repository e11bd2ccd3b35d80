"""Which pixels does the caller's own expression call valid?

The expression sees raw pixel values under their bands' names, and columns of the record and of the caller; where it is false or
null, the pixel counts as nodata in every band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.errors import UsageError
from polars_rasteret.frame.answers import scalar_series
from polars_rasteret.frame.arguments import first_line
from polars_rasteret.frame.row_wise import looks_at_other_rows
from polars_rasteret.schema import pixel_dtype, raster_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from polars_rasteret.frame.keys import KeyColumns
    from polars_rasteret.frame.patches import Patch
    from polars_rasteret.frame.units import PairedRows

CONTEXT = "\0context "
"""Prefix of record columns that only the expression needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """A ``valid=`` expression and where its names come from."""

    expr: pl.Expr
    bands: tuple[str, ...]
    targets: tuple[str, ...]
    """Columns of the caller."""
    records: Mapping[str, str]
    """Name in the expression to column of the collection."""


def settled_validity(
    what: str,
    expr: pl.Expr,
    *,
    target_schema: Mapping[str, pl.DataType],
    record_schema: Mapping[str, pl.DataType],
    outputs: Mapping[str, str],
) -> Validity:
    """Settle what the names of a ``valid=`` expression mean: a band, else the caller's column, else the record's.

    Parameters
    ----------
    outputs
        Record columns by the name the caller sees them under; their own names serve, too.

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
    return Validity(expr=expr, bands=tuple(bands), targets=tuple(targets), records=records)


class Judge:
    """A `Validity` together with the rows it is asked about."""

    def __init__(self, validity: Validity, rows: PairedRows, keys: KeyColumns) -> None:
        self.bands = validity.bands
        self._expr = validity.expr
        named = {CONTEXT + column: name for name, column in validity.records.items()}
        self._context = keys.frame(rows, {*validity.targets, *named}).rename(named, strict=False)

    def of(self, rows: NDArray[np.int64], patches: Mapping[str, Patch], size: int) -> NDArray[np.bool_]:
        """Say which pixels of patches are valid, shape ``(n, size, size)``.

        Parameters
        ----------
        rows
            Rows of the batch, one per patch.
        patches
            Of the bands that the expression names.
        size
            Of the patches.
        """
        bands = {name: (patches[name].values.reshape(-1), patches[name].valid.reshape(-1)) for name in self.bands}
        return self.of_pixels(np.repeat(rows, size * size), bands).reshape(-1, size, size)

    def of_pixels(
        self, rows: NDArray[np.int64], bands: Mapping[str, tuple[NDArray[Any], NDArray[np.bool_]]]
    ) -> NDArray[np.bool_]:
        """Say which pixels are valid.

        Parameters
        ----------
        rows
            Row of the batch of each pixel.
        bands
            Values and validity of each pixel, of the bands that the expression names.
        """
        frame = self._context[rows].with_columns([scalar_series(name, *bands[name]) for name in self.bands])
        result = frame.lazy().select(self._expr.alias("valid")).collect()["valid"].fill_null(value=False)
        if len(result) not in (1, len(rows)):
            raise UsageError(
                f"valid={str(self._expr)[:200]} gave {len(result)} values for {len(rows)} pixels; expected an elementwise "
                "expression"
            )
        return np.array(np.broadcast_to(result.to_numpy(), len(rows)))
