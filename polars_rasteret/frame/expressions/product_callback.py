"""How does an expression read a product for the rows of one Polars batch?

The callback can be pickled and holds names and options only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from polars_rasteret.bundles import bundle
from polars_rasteret.engine import Spending, load_ahead, running
from polars_rasteret.frame.columns.forms import STACK, Form, in_form
from polars_rasteret.frame.expressions.elementwise import asked_rows, in_batches, same_length
from polars_rasteret.frame.query.plan_objects import PlanObject
from polars_rasteret.options import current_options
from polars_rasteret.pixels.product import ReadCall
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of
from polars_rasteret.pixels.readable_bands import readable_bands
from polars_rasteret.pixels.reading import warn_of_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from polars_rasteret.frame.expressions.places import Place
    from polars_rasteret.options import OnError, ReadOptions

ADVICE = (
    "An expression answers a whole Polars batch at once: use the verb lf.raster.with_columns(...), which works in bounded units, "
    "or raise pr.options(max_answer_bytes=...)"
)


@bundle
class ProductCallback(PlanObject):
    """Callback that returns a product's answer for raster columns, followed by the columns of a place."""

    what: str
    """Name of the expression, for messages."""
    product: Any
    """`Product` without bands; each batch adds its own."""
    place: Place
    n_bands: int | None
    """Number of raster columns; None: the first series is a Struct of all raster columns."""
    crs: str | None
    """CRS in the caller's argument, normalized or ``"native"``; None: not passed."""
    unscale: bool
    form: Form
    options: ReadOptions
    spending: Spending | None

    def __call__(self, series: Sequence[pl.Series], return_dtype: pl.DataType | None = None) -> pl.Series:
        """Return the column of one batch; Polars calls it."""
        if return_dtype is not None and any(len(one) == 0 for one in series):
            return pl.Series(series[0].name, [], dtype=return_dtype)  # Polars asks so, too, before the first rows
        with running():
            if self.n_bands is None:
                bands = series[0].struct.unnest().get_columns()
                return self._answer(bands, series[1:], return_dtype)
            return self._answer(series[: self.n_bands], series[self.n_bands :], return_dtype)

    def _answer(
        self, bands: Sequence[pl.Series], where: Sequence[pl.Series], return_dtype: pl.DataType | None
    ) -> pl.Series:
        inputs = same_length([*bands, *where])
        rasters, where = inputs[: len(bands)], inputs[len(bands) :]
        names = {one.name: one.dtype for one in rasters}
        product = replace(self.product, bands=names, unscale=frozenset(names) if self.unscale else frozenset())
        place = self.place.located(where, len(inputs[0]), product, what=self.what)
        targets_in = None if place.targets is None else place.targets.crs
        columns = raster_columns_of(rasters, targets_in=targets_in)
        place.check(columns, self.crs, what=self.what)
        wanted = product.outputs.keys() if self.form == "fields" else product.outputs.keys() & {*names, STACK}
        call = ReadCall(options=in_batches(self.options), advice=ADVICE, spending=self.spending)
        bands_of_rows = readable_bands(asked_rows(columns, place.windows_of), product, wanted, call)
        answer = product.read(bands_of_rows, wanted, call)
        warn_of_errors(answer.errors, self.what)
        has_raster = np.logical_or.reduce([column.reference_id >= 0 for column in columns])
        result = in_form(answer.columns, self.form, band=rasters[0].name, has_raster=has_raster)
        return result.cast(return_dtype) if self.form == "stack" and return_dtype is not None else result


def product_callback(*, on_error: OnError | None, **words: Any) -> ProductCallback:
    """Return a callback with the options that are in force now; `words` are its other fields."""
    options = current_options(on_error=on_error)
    load_ahead()
    return ProductCallback(**words, options=options, spending=Spending.of(options))
