"""What is kept of a question about chips, so that any process can answer any part of it at any time?

Rows of the caller and of the records are collected once, when the question is asked. So a collection that grows later changes
neither how many samples there are, nor their order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from polars_rasteret.chips.image_grid import IMAGE, windows_over_images
from polars_rasteret.errors import UsageError
from polars_rasteret.frame.query.question import ask
from polars_rasteret.frame.query.resolved import resolve
from polars_rasteret.geo.crs import NATIVE
from polars_rasteret.pairing.listed_places import as_lazy_frame
from polars_rasteret.pairing.record_boxes import bbox_near
from polars_rasteret.pairing.targets import lonlat_bounds, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polars_rasteret.frame.query.question import Question
    from polars_rasteret.pairing.words import Pairing
    from polars_rasteret.pixels.windows.window_product import WindowProduct

CHIP = "\0chip"
"""Row of the caller's table, or number of the window."""
RECORD = "\0record"
"""Row of the records, where windows cover whole images."""
LABEL = "\0label"
"""Label of a record."""
_TIMES_AND_PLACE = ("id", "datetime", "start_datetime", "end_datetime", "bbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipQuestion:
    """Chips of a table, or windows over whole images, and the records that answer them: a picklable value."""

    question: Question
    """Its frames are empty."""
    product: WindowProduct
    """What is read: the question's product."""
    records: pl.DataFrame
    """Records that may answer."""
    chips: pl.DataFrame
    """The caller's rows, or the middles of windows; `CHIP` numbers them."""
    label: str | None
    """Column of the answer with labels."""
    is_series: bool
    """Whether a sample has all records of a chip; else it has one."""

    @property
    def covers_images(self) -> bool:
        """Whether chips are windows over whole images, each of one record."""
        return IMAGE in self.chips.columns

    def whole(self) -> Question:
        """Return the question with its frames."""
        return replace(self.question, records=self.records.lazy(), targets=self.chips.lazy())


def chip_question(
    records: pl.LazyFrame,
    chips: Any,
    *,
    product: WindowProduct,
    pairing: Pairing,
    grid: str,
    stride: tuple[int, int],
    label: str | None,
    split: Any,
    split_column: str,
    is_series: bool,
) -> ChipQuestion:
    """Return the question, with its rows and records collected; no pixel is read.

    Parameters
    ----------
    records, chips, product, pairing, grid
        As in `frame.query.question.ask`; `chips` of None stands for windows over whole images.
    stride
        Rows and columns from one of these windows to the next.
    label
        Column of `chips`, else of the collection.
    split, split_column
        Value that rows of `chips`, or else records, must have in a column; None: no such test.
    is_series
        As in `ChipQuestion`.

    Raises
    ------
    UsageError
        For words that are wrong.
    """
    schema = records.collect_schema()
    frame = None if chips is None else as_lazy_frame(chips, what="to_torch: chips")
    of_chips = frozenset() if frame is None else frozenset(frame.collect_schema())
    _check_columns({"label": label, "split_column": None if split is None else split_column}, of_chips, schema)
    if frame is not None:
        frame = frame.with_row_index(CHIP)
    if split is not None:
        is_chosen = pl.col(split_column) == split
        if frame is not None and split_column in of_chips:
            frame = frame.filter(is_chosen)
        else:
            records = records.filter(is_chosen)
    names: dict[str, str] = {}
    if label is not None and label not in of_chips:
        names, label = {label: LABEL}, LABEL
    bands = list(product.bands)
    if frame is None:
        assert product.window.shape is not None
        images = records.collect().with_row_index(RECORD)
        records = images.lazy()
        windows = windows_over_images(images, bands, shape=product.window.shape, stride=stride, grid=grid)
        frame = windows.with_row_index(CHIP).lazy()
        names = {**names, RECORD: RECORD}
        pairing = replace(pairing, x="x", y="y", geometry=None, crs=NATIVE)
    words = replace(pairing, record_columns=names)
    question = ask("to_torch", records, frame.collect(), bands, product=product, pairing=words, grid=grid)
    places = question.targets.collect()
    question = replace(question, targets=places.lazy())
    taken = _records_near(question, places)
    return ChipQuestion(
        question=replace(question, records=taken.clear().lazy(), targets=places.clear().lazy()),
        product=product,
        records=taken,
        chips=places,
        label=label,
        is_series=is_series,
    )


def _check_columns(words: dict[str, str | None], of_chips: Iterable[str], of_records: Iterable[str]) -> None:
    for word, name in words.items():
        if name is not None and name not in {*of_chips, *of_records}:
            raise UsageError(
                f"to_torch: {word}={name!r}; expected a column of the chips ({', '.join(of_chips) or 'there is none'}) or of "
                f"the collection ({', '.join(of_records)})"
            )


def _records_near(question: Question, places: pl.DataFrame) -> pl.DataFrame:
    """Return the records near the targets, with the columns that a read needs."""
    resolved = resolve(question)
    records, schema = question.records, resolved.record_schema
    of_valid = () if resolved.valid is None else resolved.valid.records.values()
    used = {*resolved.loaded, *resolved.records.values(), *of_valid, *_TIMES_AND_PLACE}
    targets = targets_of(places, resolved.where, as_points=question.product.as_points, what=question.whose)
    if targets.crs != NATIVE and isinstance(schema.get("bbox"), pl.Struct):
        records = records.filter(bbox_near(records, lonlat_bounds(targets)))
    return records.select(cs.by_name(*(name for name in schema if name in used))).collect()
