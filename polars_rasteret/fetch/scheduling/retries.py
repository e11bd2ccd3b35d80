"""How long must a request wait before its next attempt, and what is said when there is none? `deadlines` does the waiting."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from polars_rasteret.fetch.failures import TransientFetchError, gave_up

if TYPE_CHECKING:
    from polars_rasteret.errors import FetchError
    from polars_rasteret.fetch.scheduling.pending import Request

_FIRST_S = 0.1
_LONGEST_S = 8.0


def backoff_s(attempt: int, error: TransientFetchError, chance: float) -> float:
    """Return the seconds to wait after a failed attempt.

    Exponential with full jitter, so that many clients do not come back together; never less than the server asked for.

    Parameters
    ----------
    attempt
        Number of the attempt that failed, from 0.
    error
        The failure, with ``retry_after_s`` where the server asked for a wait.
    chance
        A random number, uniform in 0..1.

    Examples
    --------
    >>> from polars_rasteret.fetch.failures import TransientFetchError
    >>> backoff_s(2, TransientFetchError("503"), 0.5)
    0.2
    >>> backoff_s(2, TransientFetchError.after("503", 3.0), 0.0)
    3.0
    """
    wait_s = chance * min(_FIRST_S * 2.0**attempt, _LONGEST_S)
    # A little on top of what was asked, spread, so that the waiting clients do not all arrive in the same instant.
    return wait_s if error.retry_after_s is None else error.retry_after_s + wait_s


def last_words(error: FetchError, request: Request) -> FetchError:
    """Return a transient failure as the final error that it has become; other errors unchanged."""
    if not isinstance(error, TransientFetchError) or request.started_at is None:
        return error
    return gave_up(error, n_attempts=request.attempt + 1, spent_s=time.monotonic() - request.started_at)
