"""How much may a read fetch, and what is said when it would fetch more?

An expression is called batch by batch and cannot know the whole cost; nor can a verb that reads until it finds something. What
they really request (cached tiles are free) is added up, and a request that would exceed the budget is not made.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from polars_rasteret.errors import BudgetError, UsageError
from polars_rasteret.fetch.sources.stores import origin, prices_for
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from polars_rasteret.fetch.sources.byte_source import FileKey
    from polars_rasteret.options import ReadOptions

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a read costs when nothing is cached."""

    tiles: int
    requests: int
    bytes: int
    usd: float = 0.0
    """0 where nobody asked for it."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            tiles=self.tiles + other.tiles,
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
            usd=self.usd + other.usd,
        )


NO_COST = Cost(tiles=0, requests=0, bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be fetched; None is no limit."""

    bytes: int | None = None
    requests: int | None = None
    usd: float | None = None

    @classmethod
    def of(cls, options: ReadOptions) -> Self | None:
        """Give the budget that options set, None where they set none."""
        if not options.has_budget:
            return None
        return cls(bytes=options.budget_bytes, requests=options.budget_requests, usd=options.budget_usd)

    def exceeded_by(self, cost: Cost, spent: Cost = NO_COST) -> str | None:
        """Say which limits a cost exceeds on top of what is spent, None where it keeps all of them."""
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
        """Give the dollars for bytes and requests per file; 0 without a budget in dollars.

        Raises
        ------
        UsageError
            When a price is not known.
        """
        if self.usd is None:
            return 0.0
        total = 0.0
        for href, of_bytes, of_requests in zip(hrefs, n_bytes.tolist(), n_requests.tolist(), strict=True):
            cost = prices_for(href).of(n_bytes=of_bytes, n_requests=of_requests)
            if cost is None:
                raise UsageError(
                    f"budget_usd is set, but the price of {shown(href)} is not known: "
                    f"pr.configure_store({shown(origin(href)) + '/'!r}, usd_per_gb=..., usd_per_1000_requests=...), "
                    "or set budget_bytes instead"
                )
            total += cost
        return total


def check_budget(cost: Cost, budget: Budget) -> None:
    """Refuse a cost that exceeds the budget, with the cost in the message.

    Raises
    ------
    BudgetError
        When it does.
    """
    if (exceeded := budget.exceeded_by(cost)) is not None:
        raise BudgetError(f"this read needs {_told(cost, budget)}; {exceeded}. Nothing was fetched. {_NEXT}")


class Spending:
    """What one written read has fetched of its budget; a pickle of it starts anew."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._spent = Cost(tiles=0, requests=0, bytes=0)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, options: ReadOptions) -> Self | None:
        """Begin to spend the budget that options set, None where they set none."""
        budget = Budget.of(options)
        return None if budget is None else cls(budget)

    def __reduce__(self) -> tuple[type[Spending], tuple[Budget]]:
        return Spending, (self.budget,)

    def admit(self, n_tiles: int, files: Sequence[FileKey], file: Ints, n_bytes: Ints) -> None:
        """Add requests before they are made.

        Parameters
        ----------
        n_tiles
            In all of them.
        files, file, n_bytes
            Of each request, the file by number and the bytes.

        Raises
        ------
        BudgetError
            When they would exceed the budget; nothing is added then.
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
    """Give what admits the requests of one build, one by one, to the budget that options set; None where they set none."""
    if (spending := Spending.of(options)) is None:
        return None
    one_file = np.zeros(1, np.int64)

    def admit(file: FileKey, n_bytes: int) -> None:
        spending.admit(0, [file], one_file, np.array([n_bytes], np.int64))

    return admit


_NEXT = "Read less, or raise the budget."


def _told(cost: Cost, budget: Budget) -> str:
    tiles = f"{cost.tiles:,} tiles in " if cost.tiles else ""
    words = f"{tiles}{cost.requests:,} requests, {cost.bytes:,} bytes"
    return words if budget.usd is None else f"{words}, {cost.usd:.6f} USD"
