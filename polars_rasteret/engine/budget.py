"""How large may a read be, and which error refuses a larger one?

A `Budget` limits what is fetched; `check_answer_size` limits the memory of the answer.

An expression is called batch by batch, so it cannot know the whole cost; nor can a verb that reads until it finds a valid pixel.
`Spending` adds up the requests that they really make (cached tiles are free), and refuses the one that would exceed the budget.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

import numpy as np

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import AnswerTooLargeError, BudgetError, UsageError
from polars_rasteret.fetch.sources.settings import priced_origin, prices_for
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.sources.byte_source import FileKey
    from polars_rasteret.options import ReadOptions

    Ints = NDArray[np.int64]

_ONE_ROW = (
    "a single row of it is larger than that. Ask for smaller windows or a coarser resolution=, or raise "
    "pr.options(max_answer_bytes=...)"
)
_SMALL_BYTES = 100_000


@bundle(eq=True)
class Cost:
    """The cost of a read when nothing is cached."""

    tiles: int
    requests: int
    bytes: int
    usd: float = 0.0
    """Dollars; 0 where no budget in dollars is set."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            tiles=self.tiles + other.tiles,
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
            usd=self.usd + other.usd,
        )


NO_COST = Cost(tiles=0, requests=0, bytes=0)


@bundle(eq=True)
class Budget:
    """The most that a read may fetch; None is no limit."""

    bytes: int | None = None
    requests: int | None = None
    usd: float | None = None

    @classmethod
    def of(cls, options: ReadOptions) -> Self | None:
        """Return the budget that the options set; None where they set none."""
        if not options.has_budget:
            return None
        return cls(bytes=options.budget_bytes, requests=options.budget_requests, usd=options.budget_usd)

    def exceeded_by(self, cost: Cost, spent: Cost = NO_COST) -> str | None:
        """Return words for the limits that a cost exceeds, on top of the cost already spent; None where it keeps within all."""
        words = []
        for name, limit, amount, before in (
            ("bytes", self.bytes, cost.bytes, spent.bytes),
            ("requests", self.requests, cost.requests, spent.requests),
            ("usd", self.usd, cost.usd, spent.usd),
        ):
            if limit is not None and before + amount > limit:
                of_which = f", of which {before:,} are spent" if spent is not NO_COST else ""
                words.append(f"budget_{name} allows {limit:,}{of_which}")
        return "; ".join(words) or None

    def price(self, hrefs: Sequence[str], n_bytes: Ints, n_requests: Ints) -> float:
        """Return the dollars for the bytes and requests of each file, added up; 0 without a budget in dollars.

        Raises
        ------
        UsageError
            When the price of a file is not known.
        """
        if self.usd is None:
            return 0.0
        total = 0.0
        for href, of_bytes, of_requests in zip(hrefs, n_bytes.tolist(), n_requests.tolist(), strict=True):
            cost = prices_for(href).of(n_bytes=of_bytes, n_requests=of_requests)
            if cost is None:
                raise UsageError(
                    f"budget_usd is set, but the price of {shown(href)} is not known: "
                    f"pr.configure_store({priced_origin(href) + '/'!r}, usd_per_gb=..., usd_per_1000_requests=...), "
                    "or set budget_bytes instead"
                )
            total += cost
        return total


def check_budget(cost: Cost, budget: Budget) -> None:
    """Refuse a cost that exceeds the budget.

    Raises
    ------
    BudgetError
        When the cost exceeds a limit; the message tells the cost and the limit.
    """
    if (exceeded := budget.exceeded_by(cost)) is not None:
        raise BudgetError(f"this read needs {_told(cost, budget)}; {exceeded}. Nothing was fetched. {_NEXT}")


class Spending:
    """The cost that one read of a query has spent of its budget; a copy made by pickle starts at 0."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._spent = Cost(tiles=0, requests=0, bytes=0)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, options: ReadOptions) -> Self | None:
        """Return a spending of 0 under the budget that the options set; None where they set none."""
        budget = Budget.of(options)
        return None if budget is None else cls(budget)

    def __reduce__(self) -> tuple[type[Spending], tuple[Budget]]:
        return Spending, (self.budget,)

    def admit(self, n_tiles: int, files: Sequence[FileKey], file: Ints, n_bytes: Ints) -> None:
        """Add the cost of requests that are about to be made.

        Parameters
        ----------
        n_tiles
            Number of tiles in all requests.
        files
            The files of the call.
        file, n_bytes
            One entry per request: its index into `files`, and its bytes.

        Raises
        ------
        BudgetError
            When the requests would exceed the budget; their cost is not added then.
        UsageError
            When a price that the budget needs is not known.
        """
        hrefs = [files[one].href for one in file.tolist()] if self.budget.usd is not None else []
        usd = self.budget.price(hrefs, n_bytes, np.ones_like(n_bytes)) if hrefs else 0.0
        cost = Cost(tiles=n_tiles, requests=len(file), bytes=int(n_bytes.sum()), usd=usd)
        with self._lock:
            if (exceeded := self.budget.exceeded_by(cost, self._spent)) is not None:
                raise BudgetError(
                    f"the next batch needs {_told(cost, self.budget)}; {exceeded}. It was not fetched. {_NEXT}"
                )
            self._spent += cost


def admission(options: ReadOptions) -> Callable[[FileKey, int], None] | None:
    """Return ``admit(file, n_bytes)``, which adds each request of one build to its spending; None without a budget.

    It raises `BudgetError` when a request would exceed the budget that the options set.
    """
    if (spending := Spending.of(options)) is None:
        return None
    one_file = np.zeros(1, np.int64)

    def admit(file: FileKey, n_bytes: int) -> None:
        spending.admit(0, [file], one_file, np.array([n_bytes], np.int64))

    return admit


def check_answer_size(n_bytes: float, max_bytes: int, *, n_rows: int, label: str = "", advice: str) -> None:
    """Refuse an answer that is larger than allowed.

    Parameters
    ----------
    n_bytes, max_bytes
        Size of the answer, and the size that is allowed.
    n_rows
        Rows of the answer.
    label
        Names of the bands, for the message.
    advice
        The next step where the answer has several rows.

    Raises
    ------
    AnswerTooLargeError
        When the answer is larger; the message names both sizes.

    Examples
    --------
    >>> check_answer_size(2_500_000, 1_000_000, n_rows=2, label="red", advice="ask for fewer rows")
    Traceback (most recent call last):
    ...
    polars_rasteret.errors.AnswerTooLargeError: red: the answer would take 2.5 MB, ...; ask for fewer rows
    """
    if n_bytes > max_bytes:
        raise AnswerTooLargeError(
            f"{label}{': ' if label else ''}the answer would take {_size(n_bytes)}, more than max_answer_bytes "
            f"({_size(max_bytes)}) allows at once; {_ONE_ROW if n_rows == 1 else advice}"
        )


_NEXT = "Read less, or raise the budget."


def _told(cost: Cost, budget: Budget) -> str:
    tiles = f"{cost.tiles:,} tiles in " if cost.tiles else ""
    words = f"{tiles}{cost.requests:,} requests, {cost.bytes:,} bytes"
    return words if budget.usd is None else f"{words}, {cost.usd:.6f} USD"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= _SMALL_BYTES else f"{n_bytes:,.0f} bytes"
