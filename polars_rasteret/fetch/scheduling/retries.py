"""How long must a request wait before its next attempt? Pure arithmetic; `deadlines` does the waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polars_rasteret.fetch.failures import TransientFetchError

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
