"""How does any credential provider become one that obstore takes, asked once for all stores that share it?

Where credentials come from belongs to the providers, not here.
"""

from __future__ import annotations

import datetime as dt
import inspect
import threading
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import FetchError, RasteretError, UsageError
from polars_rasteret.fetch.failures import TransientFetchError, range_words

if TYPE_CHECKING:
    from collections.abc import Callable

AUTO, PLANETARY_COMPUTER = "auto", "planetary-computer"
NAMED_PROVIDERS = (AUTO, PLANETARY_COMPUTER)

_EARLY = dt.timedelta(minutes=5)
_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "token",
    "bearer_token": "token",
}
"""Names of credentials in Polars' providers, to their names in obstore's."""


class SharedCredentials:
    """Credentials of one provider, kept until five minutes before they expire; threads that need new ones wait for one call.

    Credentials that last less than ten minutes are kept for half of their time.
    """

    def __init__(self, provider: Callable[[], Any]) -> None:
        self.provider = provider
        self._lock = threading.Lock()
        self._kept: dict[str, Any] | None = None
        self._renewed_at: dt.datetime | None = None
        self._n_calls = 0
        self._failure: Exception | None = None
        if hasattr(provider, "config"):  # obstore reads it of its own providers
            self.config = provider.config

    def __call__(self) -> dict[str, Any]:
        """Return the credentials in obstore's shape; the provider is asked when none are kept that last."""
        n_before = self._n_calls
        with self._lock:
            if self._kept is None or (self._renewed_at is not None and _now() >= self._renewed_at):
                if self._n_calls > n_before and self._failure is not None:
                    raise self._failure  # of the call that was waited for; every waiting thread would call again
                self._ask()
            assert self._kept is not None
            return dict(self._kept)

    def check(self, href: str, byte_start: int, byte_stop: int) -> None:
        """Ask for the credentials that a range of a file needs, so that a failure is told in the package's words.

        Raises
        ------
        FetchError
            When the provider fails. Its own text is not repeated, because it may hold a key.
        """
        try:
            self()
        except RasteretError as error:
            make = TransientFetchError if isinstance(error, TransientFetchError) else FetchError
            failure = make(f"{range_words(href, byte_start, byte_stop)}, {error}")
            if isinstance(failure, TransientFetchError) and isinstance(error, TransientFetchError):
                failure.retry_after_s = error.retry_after_s
        except Exception as error:  # noqa: BLE001 - code of the caller; its text and its causes may hold keys
            failure = FetchError(
                f"{range_words(href, byte_start, byte_stop)}, its credential provider raised {type(error).__name__}; call it by "
                "itself to see why. Check pr.configure_store for this prefix."
            )
        else:
            return
        raise failure

    def __repr__(self) -> str:
        return f"SharedCredentials({type(self.provider).__name__})"

    def _ask(self) -> None:
        self._n_calls += 1
        try:
            kept = _in_obstore_words(self.provider())
        except Exception as error:
            self._failure = error
            raise
        self._failure = None
        expires_at = kept["expires_at"]
        if expires_at is None:
            self._renewed_at = None
        else:
            now = _now()
            if expires_at.tzinfo is None:
                expires_at = expires_at.astimezone(dt.UTC)
            self._renewed_at = expires_at - min(_EARLY, max((expires_at - now) / 2, dt.timedelta(0)))
        self._kept = kept


def shared_credentials(provider: Any) -> SharedCredentials | None:
    """Return a provider in the shape that obstore takes, with one cache; None for None and for `NAMED_PROVIDERS`.

    Raises
    ------
    UsageError
        When it is neither a callable nor one of these names, or is asynchronous.
    """
    if provider is None or (isinstance(provider, str) and provider in NAMED_PROVIDERS):
        return None
    if isinstance(provider, SharedCredentials):
        return provider
    if not callable(provider):
        raise UsageError(
            f"credential_provider is {f'a {type(provider).__name__}' if not isinstance(provider, str) else 'an unknown name'}; "
            "expected 'auto', 'planetary-computer', or a callable that returns obstore's dictionary or Polars' "
            "(dictionary, expiry)"
        )
    if inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(getattr(provider, "__call__", None)):  # noqa: B004 - its kind is asked
        raise UsageError(
            "credential_provider is asynchronous; give the synchronous one, files are read without an event loop"
        )
    return SharedCredentials(provider)


class InPolarsWords:
    """A provider of any kind in the shape that Polars takes."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider

    def __call__(self) -> tuple[dict[str, Any], int | None]:
        """Return the credentials and the second since 1970 at which they expire."""
        given = _in_obstore_words(self._provider())
        expires_at = given.pop("expires_at")
        is_key = "access_key_id" in given
        names = {name: polars_name for polars_name, name in _NAMES.items() if is_key or polars_name == "bearer_token"}
        if is_key:
            names["token"] = "aws_session_token"  # noqa: S105 - a name
        expiry = None if expires_at is None else int(expires_at.timestamp())
        return {names.get(name, name): value for name, value in given.items() if value is not None}, expiry


def polars_provider(provider: Any) -> Any:
    """Return a provider as Polars takes it; None where a name means nothing for the places that Polars reads.

    Raises
    ------
    UsageError
        When it is no provider.
    """
    if provider is None or provider in NAMED_PROVIDERS:
        return provider if provider == AUTO else None
    if type(provider).__module__.partition(".")[0] == "polars":
        return provider
    shared_credentials(provider)
    return InPolarsWords(provider)


def _in_obstore_words(given: Any) -> dict[str, Any]:
    credentials, expiry = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    if not hasattr(credentials, "items"):
        raise UsageError(
            f"the credential provider returned a {type(given).__name__}; expected obstore's dictionary or Polars' "
            "(dictionary, expiry)"
        )
    named = {_NAMES.get(name, name): value for name, value in credentials.items()}
    if isinstance(expiry, int | float):
        named["expires_at"] = dt.datetime.fromtimestamp(expiry, dt.UTC)
    elif expiry is not None:
        named["expires_at"] = expiry
    expires_at = named.setdefault("expires_at", None)
    if expires_at is not None and not isinstance(expires_at, dt.datetime):
        raise UsageError(
            f"the credential provider returned an expiry that is a {type(expires_at).__name__}; expected a datetime with a zone, "
            "or seconds since 1970 beside the dictionary"
        )
    return named


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
