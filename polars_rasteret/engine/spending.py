"""How much may the batches of one expression fetch together?

An expression is called batch by batch and cannot know the whole bill. What it really requests (cached tiles are free) is
added up, and a request that would exceed the budget is not made.
"""

from __future__ import annotations

import threading

from polars_rasteret.errors import BudgetError


class Spending:
    """What one written expression has fetched of its budget; a pickle of it starts anew."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._spent = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Spending], tuple[int]]:
        return Spending, (self.budget_bytes,)

    def admit(self, n_tiles: int, n_requests: int, n_bytes: int) -> None:
        """Add a batch, before its first request.

        Raises
        ------
        BudgetError
            When it would exceed the budget; nothing is added then.
        """
        with self._lock:
            if self._spent + n_bytes > self.budget_bytes:
                raise BudgetError(
                    f"the next batch needs {n_tiles:,} tiles in {n_requests:,} requests, {n_bytes:,} bytes; budget_bytes "
                    f"allows {self.budget_bytes:,}, of which {self._spent:,} are spent. It was not fetched. Read less, or "
                    "raise the budget."
                )
            self._spent += n_bytes
