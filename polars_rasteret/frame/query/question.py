"""What does a verb ask: which product, of which records, for whose rows?

A `Question` is written once, when the verb is called. Names and dtypes of its columns must not be put here: see `resolved`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from polars_rasteret.arguments import checked_bands
from polars_rasteret.fetch import process
from polars_rasteret.grids.choosing import FINEST
from polars_rasteret.options import ReadOptions, current_options
from polars_rasteret.pairing.listed_places import as_lazy_frame
from polars_rasteret.pairing.records import checked_raster_columns
from polars_rasteret.pairing.targets import named_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from polars_rasteret.pairing.words import Pairing
    from polars_rasteret.pixels.product import Product

_ARGUMENTS = {"sample_points": "points", "read_windows": "aois", "zonal_stats": "zones", "pixels": "zones"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A verb with its arguments."""

    verb: str
    records: pl.LazyFrame
    targets: pl.LazyFrame
    bands: tuple[str, ...] | None
    """As they were named; None: all."""
    product: Product
    pairing: Pairing
    """Checked; its places are names of columns of `targets`."""
    grid: str
    options: ReadOptions
    is_part: bool = False
    """Whether rows and records are a part of those of a query that was judged as a whole, and every row of it is wanted."""

    @property
    def whose(self) -> str:
        """The frame that is paired with records, for messages."""
        return whose_frame(self.verb)

    @property
    def reads_pixels(self) -> bool:
        """Whether any column of the answer costs requests."""
        return not self.product.outputs.keys() <= self.product.free_outputs

    @property
    def tells_errors(self) -> bool:
        """Whether a column of the answer says why rows were not read."""
        return self.reads_pixels and self.options.on_error == "null"

    @property
    def one_row_each(self) -> bool:
        """Whether every target has exactly one row."""
        return self.pairing.match != "all" and self.pairing.unmatched == "null" and not self.many_rows

    @property
    def many_rows(self) -> bool:
        """Whether a target and a record have any number of rows."""
        return self.product.many_rows


def ask(
    verb: str,
    records: pl.LazyFrame,
    targets: Any,
    bands: str | Sequence[str] | None,
    *,
    product: Product,
    pairing: Pairing,
    grid: str = FINEST,
) -> Question:
    """Return the question of a verb, with the options in force.

    Parameters
    ----------
    verb
        For messages.
    records, targets
        The collection, and the caller's rows in any form that `as_lazy_frame` takes.
    bands
        As the caller named them.
    product
        What is read.
    pairing
        Which records answer.
    grid
        On which the bands of a row meet.

    Raises
    ------
    UsageError
        For words that are wrong.
    """
    words = pairing.checked(verb)
    frame, places = named_places(
        as_lazy_frame(targets, what=whose_frame(verb)),
        {"x": words.x, "y": words.y, "geometry": words.geometry},
        what=whose_frame(verb),
    )
    return Question(
        verb=verb,
        records=records,
        targets=frame,
        bands=None if bands is None else checked_bands(verb, bands),
        product=product,
        pairing=replace(words, x=places["x"], y=places["y"], geometry=places["geometry"]),
        grid=grid,
        options=current_options(on_error=words.on_error, budget_bytes=words.budget_bytes),
    )


def raster_dtypes(verb: str, records: pl.LazyFrame, bands: str | Sequence[str] | None) -> dict[str, pl.DataType]:
    """Return the raster columns that a verb asks for, with their dtypes.

    Raises
    ------
    UsageError
        When a name is not a raster column, or there is none.
    """
    process.check()  # in a forked child the query would hang in Polars before it reaches our own check
    schema = records.collect_schema()
    names = checked_raster_columns(schema, None if bands is None else checked_bands(verb, bands))
    return {name: schema[name] for name in names}


def whose_frame(verb: str) -> str:
    """Return the argument by which a verb takes the frame that is paired with records, for messages."""
    return f"{verb}: {_ARGUMENTS.get(verb, 'targets')}"
