"""What does a read give for a batch of rows, whoever asks for it?

A product says which pixels a row asks for and which columns they become: values at points, windows, or the raster values
themselves. Verbs and expressions read the same products. Who asks (pairs, predicates,
forms of an expression) must not be put here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Columns that a product gave for a batch of rows."""

    columns: dict[str, pl.Series]
    """By the names of `Product.outputs`."""
    errors: dict[int, str] = field(default_factory=dict)
    """Reasons of failed rows (``on_error="null"``)."""
    counts: NDArray[np.bool_] | None = None
    """Rows that have a pixel which is not null; None where nobody asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCall:
    """What the reads of one batch hand on to the engine."""

    options: ReadOptions
    advice: str
    """The next step for the caller when the answer would be too large."""
    spending: Spending | None = None
    """What several batches may fetch together."""


class Product(Protocol):
    """A recipe from windows of pixels to columns; a small, picklable value of names, dtypes and options."""

    @property
    def bands(self) -> Mapping[str, pl.DataType]:
        """Raster columns that were asked for, with their dtypes; a ``valid=`` expression may read others beside them."""
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
        """Whether every target must be a point; None: targets are taken as points where all of them are."""
        ...

    @property
    def costs_vary(self) -> bool:
        """Whether pixel values decide what is read, so that `certain_reads` are only a part."""
        ...

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Return the window that each row asks of a band.

        Parameters
        ----------
        grids
            Grid of each row; no grid meets nothing.
        targets, target
            Points or areas, and the one that each row is about.
        """
        ...

    def row_bytes(
        self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], mask_bands: Sequence[str] = ()
    ) -> NDArray[np.int64]:
        """Return the bytes of each row's answer, with what is in memory while it is made.

        Parameters
        ----------
        bands
            Every band of the query, by name; rows are the same in all.
        wanted
            Columns of the answer that are used.
        mask_bands
            Bands that a ``valid=`` expression names.
        """
        ...

    def certain_reads(
        self, bands: Mapping[str, BandRows], wanted: AbstractSet[str], mask_bands: Sequence[str] = ()
    ) -> list[WindowRead]:
        """Return the windows that `read` will surely ask for, whatever the pixels are; parameters as in `row_bytes`."""
        ...

    def read(
        self,
        bands: Mapping[str, BandRows],
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
            Says which pixels count beside those that are not nodata.
        must_count
            Whether ``counts`` is needed; all bands asked for are then read where a row's count depends on them.
        """
        ...
