"""Which bands and formulas does ``bands=`` of an area verb mean?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from polars_rasteret.arguments import checked_unscale, first_line
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.question import raster_dtypes
from polars_rasteret.frame.query.row_wise import looks_at_other_rows
from polars_rasteret.pixels.formulas import Formula
from polars_rasteret.schema import PIXEL_DTYPES, pixel_dtype, raster_columns

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedBands:
    """Raster columns that are read, and what is made of them."""

    dtypes: Mapping[str, pl.DataType]
    """Raster columns with their dtypes."""
    unscale: frozenset[str]
    formulas: Mapping[str, Formula]
    """By the name of the value; empty where the values are the bands themselves."""
    names: tuple[str, ...] | None
    """Bands that were named; None: all."""


def asked_bands(what: str, records: pl.LazyFrame, bands: Any, unscale: bool | Sequence[str]) -> AskedBands:
    """Return the bands and formulas of ``bands=``: names, or a dict from the name of each value to a band or an expression.

    Raises
    ------
    UsageError
        When a formula names other than bands, looks at other pixels, or gives no number.
    """
    if not isinstance(bands, Mapping):
        dtypes = raster_dtypes(what, records, bands)
        names = None if bands is None else tuple(dtypes)
        return AskedBands(dtypes=dtypes, unscale=checked_unscale(what, unscale, dtypes), formulas={}, names=names)
    if not bands or not all(isinstance(name, str) and name for name in bands):
        raise UsageError(
            f'{what}: bands={bands!r}; expected a dict from names to bands and formulas, such as {{"red": "B04"}}'
        )
    exprs = {name: _as_formula(what, name, value) for name, value in bands.items()}
    known = raster_columns(records.collect_schema())
    roots = {name: _root_names(what, name, expr, known) for name, expr in exprs.items()}
    dtypes = raster_dtypes(what, records, list(dict.fromkeys(band for some in roots.values() for band in some)))
    unscaled = checked_unscale(what, unscale, dtypes)
    pixels = {name: pl.Float64() if name in unscaled else pixel_dtype(dtype) for name, dtype in dtypes.items()}
    formulas = {name: _formula(what, name, expr, roots[name], pixels) for name, expr in exprs.items()}
    return AskedBands(dtypes=dtypes, unscale=unscaled, formulas=formulas, names=tuple(dtypes))


def _as_formula(what: str, name: str, value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    if isinstance(value, str):
        return pl.col(value)
    raise UsageError(f"{what}: bands[{name!r}]={value!r}; expected the name of a band, or an expression over bands")


def _root_names(what: str, name: str, expr: pl.Expr, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(expr.meta.root_names()))
    unknown = [one for one in names if one not in known]
    if unknown or not names:
        raise UsageError(
            f"{what}: bands[{name!r}] names {', '.join(map(repr, unknown)) or 'no band'}; expected bands of the collection: "
            f"{', '.join(known)}"
        )
    return names


def _formula(what: str, name: str, expr: pl.Expr, names: tuple[str, ...], pixels: Mapping[str, pl.DataType]) -> Formula:
    schema = {one: pixels[one] for one in names}
    try:
        result = pl.LazyFrame(schema=schema).select(expr).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"{what}: bands[{name!r}]={str(expr)[:200]} cannot be evaluated: {first_line(error)}"
        ) from error
    dtype = next(iter(result.values()), None)
    if len(result) != 1 or dtype not in PIXEL_DTYPES.values():
        raise UsageError(
            f"{what}: bands[{name!r}] gives {', '.join(map(str, result.values()))}; expected one number per pixel, such as "
            "a Boolean's .cast(pl.UInt8)"
        )
    if (found := looks_at_other_rows(expr, schema)) is not None:
        raise UsageError(
            f"{what}: bands[{name!r}] is asked of one pixel at a time, but {found} may look at others; use it in a query of "
            "Polars above pixels()"
        )
    assert isinstance(dtype, pl.DataType)
    return Formula(expr=expr, bands=names, dtype=dtype)
