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
_MOST_REFUSED = 30
"""Refusals of one request as too many, whatever `retries` says."""
_REFUSED_DOUBLES = 4
"""Refusals of one request after which its wait grows no more: the pace of the store has been lowered instead."""


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
    request: Request, error: TransientFetchError, now: float, chance: float, refused_since: float | None
) -> float | None:
    """Return when a request is to be tried again, and count the failure; None where it has failed for good.

    A refusal as too many is no failure of the request: other processes may use up what the store allows. So it takes none of the
    request's `retries`, and its time counts anew, until the store has refused everything for as long as a request may take.

    Parameters
    ----------
    request, error
        The request, and how its last attempt ended.
    now
        Monotonic seconds.
    chance
        A random number, uniform in 0..1.
    refused_since
        Since when the store refused every request of this process, with a refusal.
    """
    if error.is_refusal:
        at = now + backoff_s(min(request.n_refused, _REFUSED_DOUBLES), error, chance)
        if request.n_refused < _MOST_REFUSED and any(
            request.may_wait_until(at, call, refused_since or now) for call in request.calls
        ):
            request.n_refused += 1
            request.started_at = None
            return at
        return None
    at = now + backoff_s(request.attempt, error, chance)
    if any(request.may_try_at(at, call) for call in request.calls):
        request.attempt += 1
        return at
    return None


def last_words(error: FetchError, request: Request) -> FetchError:
    """Return a transient failure as the final error that it has become; other errors unchanged."""
    if not isinstance(error, TransientFetchError) or request.began_at is None:
        return error
    return gave_up(error, n_attempts=request.n_tried + 1, spent_s=time.monotonic() - request.began_at)
