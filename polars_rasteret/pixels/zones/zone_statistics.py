"""Which statistics of zones are there, of which dtypes, and how do they come from sums and counts of values?

Pixels are not known here: see `zone_reads`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from polars_rasteret.assemble.moments import Moments, moments_of
from polars_rasteret.assemble.value_counts import ValueCounts, value_counts
from polars_rasteret.errors import UsageError
from polars_rasteret.pixels.series import lists_of, scalar_series, struct_series
from polars_rasteret.schema import pixel_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from polars_rasteret.pixels.formulas import Formula

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

_OF_SUMS = ("count", "sum", "mean", "var", "std", "min", "max", "valid_fraction")
_OF_VALUES = ("median", "majority", "minority", "variety", "fractions")
_QUANTILE = re.compile(r"quantile\(\s*([0-9.eE+-]+)\s*\)")
_MERGE_ROWS = 100_000
"""Counts of values that wait to be merged, or as many as are merged already: so each is sorted a few times at most."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic of a zone."""

    name: str
    """One of the names of `checked_statistics`, ``"quantile"`` among them."""
    q: float | None = None

    @property
    def suffix(self) -> str:
        """What stands behind the band's name in the name of its column."""
        return self.name if self.name != "quantile" else f"q{100 * (self.q or 0.0):g}"

    @property
    def is_a_value(self) -> bool:
        """Whether the statistic is the value of some pixel."""
        return self.name in ("min", "max", "majority", "minority")

    @property
    def needs_values(self) -> bool:
        """Whether sums are not enough: how often each value occurs is counted."""
        return self.name not in _OF_SUMS

    def dtype(self, pixel: pl.DataType) -> pl.DataType:
        """Return the dtype of the statistic of pixels of a dtype."""
        if self.is_a_value:
            return pixel
        if self.name == "variety":
            return pl.UInt32()
        if self.name == "fractions":
            return pl.List(pl.Struct({"value": pixel, "fraction": pl.Float64()}))
        return pl.Float64()


def checked_statistics(what: str, stats: Any) -> tuple[Statistic, ...]:
    """Return the statistics of names such as ``"mean"`` and ``"quantile(0.9)"``.

    Raises
    ------
    UsageError
        For none, an unknown one, a quantile beyond 0 to 1, and one that comes twice.
    """
    names = (stats,) if isinstance(stats, str) else tuple(stats) if isinstance(stats, Iterable) else ()
    chosen = []
    for name in names:
        quantile = _QUANTILE.fullmatch(name) if isinstance(name, str) else None
        if name in (*_OF_SUMS, *_OF_VALUES):
            chosen.append(Statistic(name))
        elif quantile is not None and 0 <= float(quantile[1]) <= 1:
            chosen.append(Statistic("quantile", float(quantile[1])))
        else:
            raise UsageError(
                f"{what}: stats={name!r}; expected some of {', '.join((*_OF_SUMS, *_OF_VALUES))} and 'quantile(q)' with q from "
                "0 to 1"
            )
    suffixes = [one.suffix for one in chosen]
    if not chosen or len(set(suffixes)) < len(suffixes):
        raise UsageError(f"{what}: stats={stats!r}; expected names of statistics, at least one, each once")
    return tuple(chosen)


@dataclass(slots=True, kw_only=True)
class ZoneSums:
    """Sums and counts of the pixels of one band, one group per row."""

    moments: Moments
    counts: list[ValueCounts] | None
    """Counts of values; those behind the first were not merged yet. None where no statistic needs them."""
    is_failed: Booleans
    """Rows whose pixels could not be read."""
    whole: Floats = field(default_factory=lambda: np.zeros(0))
    """Pixels that the zone of each row covers, those beside the image included; empty where no statistic needs them."""

    @classmethod
    def nothing(
        cls, n_rows: int, dtype: np.dtype[Any], statistics: Iterable[Statistic], *, has_whole: bool = False
    ) -> Self:
        """Return the sums of no pixel."""
        has_values = any(one.needs_values for one in statistics)
        return cls(
            moments=Moments.nothing(n_rows, dtype),
            counts=[] if has_values else None,
            is_failed=np.zeros(n_rows, np.bool_),
            whole=np.zeros(n_rows if has_whole else 0),
        )

    def add(
        self,
        values: NDArray[Any],
        valid: Booleans | None,
        weight: Floats | None,
        start: Ints,
        *,
        rows: Ints,
    ) -> None:
        """Add the pixels of some zones in some images.

        Parameters
        ----------
        values, valid, weight, start
            As in `assemble.moments.moments_of`.
        rows
            Row of each zone in each image, shape (n_images, n_zones); -1 where there is none.
        """
        row_of_group = rows.ravel()
        has_row = row_of_group >= 0
        moments = moments_of(values, valid, weight, start)
        if has_row.all():
            self.moments.add(row_of_group, moments)
        else:
            self.moments.add(row_of_group[has_row], moments.taken(np.flatnonzero(has_row)))
        if self.counts is None:
            return
        group = np.arange(rows.size).reshape(rows.shape)
        group = np.repeat(group, np.diff(start, append=values.shape[1]), axis=1)
        weights = np.broadcast_to(1.0 if weight is None else weight, values.shape)
        is_counted = has_row[group] if valid is None else valid & has_row[group]
        if is_counted.all():
            found = value_counts(group.ravel(), values.ravel(), weights.ravel())
        else:
            found = value_counts(group[is_counted], values[is_counted], weights[is_counted])
        self.counts.append(replace(found, group=row_of_group[found.group]))
        n_waiting = sum(len(one.group) for one in self.counts[1:])
        if n_waiting > max(_MERGE_ROWS, len(self.counts[0].group)):
            self.counts[:] = [ValueCounts.merged(self.counts)]


def statistic_columns(
    name: str, sums: ZoneSums, statistics: Iterable[Statistic], *, is_answered: Booleans, first: Ints
) -> dict[str, pl.Series]:
    """Return the columns of the statistics of one band.

    Parameters
    ----------
    name
        Of the band; columns are named ``{name}_{statistic}``.
    sums
        Of the band.
    statistics
        Wanted.
    is_answered
        Rows whose pixels were read.
    first
        The row that has the sums of each row.
    """
    moments, n_rows = sums.moments, len(first)
    has_pixel = moments.weight > 0
    merged = None if not sums.counts else ValueCounts.merged(sums.counts)
    shares = None if merged is None else merged.by_value()
    columns = {}

    def column(values: NDArray[Any], is_known: Booleans | None = None) -> pl.Series:
        is_valid = is_answered if is_known is None else is_answered & is_known[first]
        return scalar_series("", values[first], is_valid)

    def chosen_values(chosen: tuple[Ints, NDArray[Any]] | None) -> NDArray[Any]:
        values = np.zeros(n_rows, moments.smallest.dtype)
        if chosen is not None:
            values[chosen[0]] = chosen[1]
        return values

    with np.errstate(invalid="ignore"):
        for one in statistics:
            match one.name:
                case "count":
                    made = column(moments.weight)
                case "sum":
                    made = column(moments.total)
                case "mean":
                    made = column(moments.mean, has_pixel)
                case "var":
                    made = column(moments.variance(), has_pixel)
                case "std":
                    made = column(np.sqrt(moments.variance()), has_pixel)
                case "min":
                    made = column(moments.smallest, has_pixel)
                case "max":
                    made = column(moments.largest, has_pixel)
                case "valid_fraction":
                    whole = np.where(sums.whole > 0, sums.whole, 1)
                    made = column(moments.weight / whole)
                case "majority":
                    made = column(chosen_values(None if shares is None else shares.majority()), has_pixel)
                case "minority":
                    made = column(chosen_values(None if shares is None else shares.minority()), has_pixel)
                case "variety":
                    n_distinct = np.zeros(n_rows, np.int64) if shares is None else shares.variety(n_rows)
                    made = column(n_distinct.astype(np.uint32))
                case "fractions":
                    made = _fractions(merged, n_rows, moments.smallest.dtype, is_answered=is_answered, first=first)
                case _:
                    q = 0.5 if one.q is None else one.q
                    made = column(np.zeros(n_rows) if merged is None else merged.quantiles(n_rows, q), has_pixel)
            columns[f"{name}_{one.suffix}"] = made.alias(f"{name}_{one.suffix}")
    return columns


def _fractions(
    counts: ValueCounts | None, n_rows: int, dtype: np.dtype[Any], *, is_answered: Booleans, first: Ints
) -> pl.Series:
    """Return the list of values and their shares of each row."""
    if counts is None:
        counts = ValueCounts(
            group=np.zeros(0, np.int64), value=np.zeros(0, dtype), weight=np.zeros(0), n_pixels=np.zeros(0, np.int64)
        )
    shares = counts.by_value()
    pairs = struct_series("", {"value": pl.Series(shares.value), "fraction": pl.Series(shares.fractions())})
    size = np.bincount(shares.group, minlength=n_rows)
    lists = lists_of("", pairs, np.concatenate([[0], np.cumsum(size)]).astype(np.int64)).gather(pl.Series(first))
    return lists if is_answered.all() else lists.set(pl.Series(~is_answered), None)


def value_dtypes(
    bands: Mapping[str, pl.DataType], unscale: AbstractSet[str], formulas: Mapping[str, Formula]
) -> dict[str, pl.DataType]:
    """Return the dtypes of the values that statistics are of, by name: of formulas, or where there is none of raster columns."""
    if formulas:
        return {name: one.dtype for name, one in formulas.items()}
    return {name: pl.Float64() if name in unscale else pixel_dtype(dtype) for name, dtype in bands.items()}
