"""How does any credential provider become one that obstore takes, asked once for all stores that share it?

Where credentials come from belongs to the providers, not here.
"""

from __future__ import annotations

import datetime as dt
import inspect
import threading
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_EARLY = dt.timedelta(minutes=5)
_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "token",
    "bearer_token": "token",
}
"""Names of credentials in Polars' providers, to their names in obstore's."""


class SharedCredentials:
    """Credentials of one provider, kept until five minutes before they expire; threads that need new ones wait for one call."""

    def __init__(self, provider: Callable[[], Any]) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._kept: Any = None
        for name in ("config", "prefix"):  # obstore reads these of its own providers
            if hasattr(provider, name):
                setattr(self, name, getattr(provider, name))

    def __call__(self) -> Any:
        """Return the credentials in obstore's shape; the provider is asked when none are kept that last."""
        with self._lock:
            if self._kept is None or _ends_soon(self._kept):
                self._kept = _in_obstore_words(self._provider())
            return dict(self._kept) if isinstance(self._kept, dict) else self._kept


def shared_credentials(provider: Any) -> SharedCredentials | None:
    """Return a provider in the shape that obstore takes, with one cache; None for None and for ``"auto"``.

    Raises
    ------
    UsageError
        When it is neither a callable nor ``"auto"``, or is asynchronous.
    """
    if provider is None or (isinstance(provider, str) and provider == "auto"):
        return None
    if isinstance(provider, SharedCredentials):
        return provider
    if not callable(provider):
        raise UsageError(
            f"credential_provider is a {type(provider).__name__}; expected 'auto', or a callable that returns obstore's "
            "dictionary or Polars' (dictionary, expiry)"
        )
    if inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(getattr(provider, "__call__", None)):  # noqa: B004 - its kind is asked
        raise UsageError(
            "credential_provider is asynchronous; give the synchronous one, files are read without an event loop"
        )
    return SharedCredentials(provider)


def _in_obstore_words(given: Any) -> Any:
    if not isinstance(given, tuple):
        return given
    credentials, expiry = given
    expires_at = None if expiry is None else dt.datetime.fromtimestamp(expiry, dt.UTC)
    return {_NAMES.get(name, name): value for name, value in credentials.items()} | {"expires_at": expires_at}


def _ends_soon(credentials: Any) -> bool:
    expires_at = credentials.get("expires_at") if isinstance(credentials, dict) else None
    if not isinstance(expires_at, dt.datetime):
        return not isinstance(credentials, dict)
    now = dt.datetime.now(dt.UTC) if expires_at.tzinfo is not None else dt.datetime.now()  # noqa: DTZ005 - as it was given
    return expires_at - now < _EARLY
