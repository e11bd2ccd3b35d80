"""Which arguments pair records with rows, what are their defaults, and are their values valid?

Defaults and checks of these arguments are here only. Public signatures repeat the defaults; a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import polars as pl

from polars_rasteret.arguments import check_choice, first_line, is_number
from polars_rasteret.errors import UsageError
from polars_rasteret.pairing.times import AT, at_expression, check_at_dtype, checked_tolerance

if TYPE_CHECKING:
    import datetime as dt

    from polars_rasteret.options import OnError
    from polars_rasteret.plan.time_match import Match

Unmatched = Literal["null", "drop"]
DEFAULT_RECORD_COLUMNS = ("id", "datetime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Arguments of a verb that pair records with rows; `namespaces.verbs` documents them for users."""

    x: Any = None
    y: Any = None
    geometry: Any = None
    crs: Any = None
    match: Match = "all"
    at: Any = None
    tolerance: str | dt.timedelta | None = None
    valid: pl.Expr | None = None
    min_valid_fraction: float | None = None
    unmatched: Unmatched = "null"
    """Default of ``sample_points``. ``read_windows`` and ``pair`` drop targets that no record covers."""
    record_columns: Any = DEFAULT_RECORD_COLUMNS
    suffix: str = "_right"
    on_error: OnError | None = None
    maintain_order: bool = True
    budget_bytes: int | None = None

    def checked(self, what: str) -> Self:
        """Return the words with `tolerance` as Polars writes it.

        Parameters
        ----------
        what
            The verb, for messages.

        Raises
        ------
        UsageError
            For words that are wrong, or do not go together.
        """
        check_choice(what, "match", self.match, ("all", "latest", "earliest", "nearest"))
        check_choice(what, "unmatched", self.unmatched, ("null", "drop"))
        check_choice(what, "on_error", self.on_error, (None, "raise", "null"))
        fraction = self.min_valid_fraction
        if fraction is not None and (self.match == "all" or not is_number(fraction) or not 0 <= fraction <= 1):
            raise UsageError(
                f"{what}: min_valid_fraction={fraction!r} with match={self.match!r}; expected 0 to 1 with 'latest', 'earliest' "
                "or 'nearest': it says which record is chosen. With 'all', filter by zonal_stats' valid_fraction"
            )
        return replace(self, tolerance=checked_tolerance(what, self.tolerance))


def resolved_at(what: str, words: Pairing, targets: pl.LazyFrame) -> pl.Expr | None:
    """Return the expression that makes the column `times.AT` of the caller's frame; None without ``at=``.

    Raises
    ------
    UsageError
        When the times are not in the frame, not exact, or missing although other words need them.
    """
    if words.at is None:
        if words.match == "nearest" or words.tolerance is not None:
            word = 'match="nearest"' if words.match == "nearest" else "tolerance"
            raise UsageError(f"{what}: {word} needs at=, the moment to which records are near")
        return None
    at = at_expression(what, words.at)
    try:
        dtype = targets.select(at).collect_schema()[AT]
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{what}: at={words.at!r} is not found in your frame: {first_line(error)}") from error
    check_at_dtype(what, dtype)
    return at
