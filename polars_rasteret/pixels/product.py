"""Which pixels are read for a row, and which columns do they become?

A *product* answers both: values at points, windows, or the raster values themselves. Verbs and expressions read the same
products. Pairs, predicates and forms of expressions do not belong here.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from polars_rasteret.bundles import bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.engine import Spending, WindowRead
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pixels.reading import BandRows
    from polars_rasteret.pixels.valid_mask import ValidMask

    Targets = Points | Areas
    Bands = Mapping[str, BandRows]
    """What each band is asked, by name; rows are the same in all."""
    Reads = list[WindowRead]


LEAST_ENTRY_BYTES = 128
"""Bytes of one of many rows at least, as `Product.row_bytes` counts them."""


@bundle
class Answer:
    """Columns of a product for a batch of rows."""

    columns: dict[str, pl.Series]
    """Columns by the names in `Product.outputs`."""
    errors: dict[int, str] = field(default_factory=dict)
    """Reasons of failed rows (``on_error="null"``)."""
    counts: NDArray[np.bool_] | None = None
    """Whether each row has a pixel that is not null; None when this was not asked for."""
    row: NDArray[np.int64] | None = None
    """Row of the batch of each entry of `columns`, ascending, where a row has any number of entries (`Product.many_rows`).
    `errors` are then counted by entry, `counts` by row."""


@bundle
class ReadCall:
    """Options, budget and advice that the reads of one batch pass to the engine."""

    options: ReadOptions
    advice: str
    """Next step for the message when the answer would be too large."""
    spending: Spending | None = None
    """Budget that several batches share."""


class Product(Protocol):
    """Recipe for columns from windows of pixels: a small, picklable value of names, dtypes and options."""

    @property
    def bands(self) -> Mapping[str, pl.DataType]:
        """Raster columns of the question, with their dtypes. A ``valid=`` expression may read other raster columns, too."""
        ...

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns of the answer, with their dtypes, in order."""
        ...

    @property
    def free_outputs(self) -> frozenset[str]:
        """Columns of the answer that cost no request."""
        ...

    @property
    def as_points(self) -> bool | None:
        """Whether every target must be a point; None: targets are points when all of them are."""
        ...

    @property
    def costs_vary(self) -> bool:
        """Whether pixel values decide what is read, so that `certain_reads` are only a part of all reads."""
        ...

    @property
    def many_rows(self) -> bool:
        """Whether a row becomes any number of rows of the answer; such a product is a `ManyRows`."""
        ...

    @property
    def is_planned(self) -> bool:
        """Whether only a dry run says what `read` reads for certain: windows say too much. A valid mask changes nothing."""
        ...

    def windows(self, grids: PixelGrids, targets: Targets, target: NDArray[np.int64]) -> Windows:
        """Return the window of each row in a band.

        Parameters
        ----------
        grids
            Grid of each row; a row without a grid meets nothing.
        targets, target
            Points or areas, and the index of each row's target.
        """
        ...

    def row_bytes(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> NDArray[np.int64]:
        """Return the bytes of each row's answer, with the memory that making the answer takes.

        Parameters
        ----------
        bands
            All bands of the query by name, with the same rows.
        wanted
            Columns of the answer that are used.
        mask_bands
            Bands that a ``valid=`` expression names.
        """
        ...

    def certain_reads(self, bands: Bands, wanted: AbstractSet[str], mask_bands: Sequence[str] = ()) -> Reads:
        """Return the reads that `read` makes whatever the pixels are; parameters as in `row_bytes`."""
        ...

    def read(
        self,
        bands: Bands,
        wanted: AbstractSet[str],
        call: ReadCall,
        *,
        valid_mask: ValidMask | None = None,
        must_count: bool = False,
    ) -> Answer:
        """Return the wanted columns of all rows.

        Parameters
        ----------
        bands, wanted
            As in `row_bytes`.
        call
            Options, budget and advice of these reads.
        valid_mask
            Valid mask of a ``valid=`` expression; None without one.
        must_count
            Whether ``counts`` is needed. All bands of the question are then read where ``counts`` depends on them.
        """
        ...


class ManyRows(Product, Protocol):
    """A product that makes any number of rows of one."""

    def parts(
        self, bands: Bands, wanted: AbstractSet[str], call: ReadCall, *, valid_mask: ValidMask | None = None
    ) -> Iterator[Answer]:
        """Yield the wanted columns in order, some entries at a time; parameters as in `read`."""
        ...
