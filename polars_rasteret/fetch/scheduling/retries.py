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
_CROWDED_DOUBLES = 4
"""Attempts at a crowded store after which the wait grows no more: its pace has been lowered instead."""


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


def next_attempt_at(
    request: Request, error: TransientFetchError, now: float, chance: float, *, is_crowded: bool
) -> float | None:
    """Return when a request is to be tried again, and count the failed attempt; None where no attempt is left.

    What a crowded store refuses is no failure of the request: other requests used up what the store allows. So it takes none of
    the `retries` of a call; the deadline stands. ``retries=0`` allows no further attempt at all.

    Parameters
    ----------
    request, error
        The request, and how its last attempt ended.
    now
        Monotonic seconds.
    chance
        A random number, uniform in 0..1.
    is_crowded
        Whether the store refuses many requests, and serves others (`pace`).
    """
    is_free = is_crowded and error.is_refusal
    n_doubled = min(request.attempt, _CROWDED_DOUBLES) if is_free else request.n_failed
    request.attempt += 1
    request.n_refused += error.is_refusal
    request.n_failed += not is_free
    at = now + backoff_s(n_doubled, error, chance)
    return at if any(request.may_try_at(at, call) for call in request.calls) else None


def last_words(error: FetchError, request: Request) -> FetchError:
    """Return a transient failure as the final error that it has become; other errors unchanged."""
    if not isinstance(error, TransientFetchError) or request.started_at is None:
        return error
    return gave_up(error, n_attempts=request.attempt, spent_s=time.monotonic() - request.started_at)
