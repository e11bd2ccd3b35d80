"""What does a verb do with paired rows?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from polars_rasteret.engine import Cost, Spending
    from polars_rasteret.geo.areas import Areas
    from polars_rasteret.geo.points import Points
    from polars_rasteret.grids.pixel_grid import PixelGrids
    from polars_rasteret.grids.windows import Windows
    from polars_rasteret.options import ReadOptions
    from polars_rasteret.pairing.paired_rows import PairedRows
    from polars_rasteret.pixels.valid_mask import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAnswer:
    """What a reader gave for some rows."""

    columns: dict[str, pl.Series]
    errors: dict[int, str]
    """Reasons of failed rows (``on_error="null"``)."""
    counts: NDArray[np.bool_] | None = None
    """Rows whose record has a pixel that is not null; None where nobody asked."""


class Reader(Protocol):
    """What a verb does with paired rows."""

    @property
    def as_points(self) -> bool | None:
        """Whether every target must be a point; None: they are taken as points where all of them are."""
        ...

    @property
    def outputs(self) -> Mapping[str, pl.DataType]:
        """Columns it gives, with their dtypes, in order."""
        ...

    def windows(self, grids: PixelGrids, targets: Points | Areas, target: NDArray[np.int64]) -> Windows:
        """Give the window each row asks of a band."""
        ...

    def row_bytes(self, rows: PairedRows, wanted: AbstractSet[str], judging: Sequence[str] = ()) -> NDArray[np.int64]:
        """Give the size of each row's answer, and of what is in hand for it: `judging` bands say what is valid."""
        ...

    @property
    def costs_vary(self) -> bool:
        """Whether what is read depends on the pixels themselves, so that `cost` is a part of it."""
        ...

    def read(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judge: Judge | None,
        spending: Spending | None,
        must_count: bool,
    ) -> ReadAnswer:
        """Give the wanted columns of the rows; with `must_count` also which of them count as answered."""
        ...

    def cost(
        self,
        rows: PairedRows,
        wanted: AbstractSet[str],
        options: ReadOptions,
        *,
        judging: Sequence[str] = (),
    ) -> Cost:
        """Give what `read` would surely fetch with an empty cache, whatever the pixels are.

        Parameters
        ----------
        judging
            Bands that say what is valid.
        """
        ...

    def needs_pixels(self, names: AbstractSet[str]) -> bool:
        """Say whether these columns cost requests."""
        ...
