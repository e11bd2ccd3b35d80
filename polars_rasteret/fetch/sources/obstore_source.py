"""How do bytes of HTTP servers and object stores get here, fast?

Through obstore's synchronous ``get`` with a range and ``If-Match``. The retries of obstore are off, because ours are counted and
keep the deadline. The timeouts of a client are fixed when a store is made, so there is one store per timeout in use.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
import obstore.exceptions
from obstore import store as obstore_store

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.failures import obstore_failure
from polars_rasteret.fetch.sources.byte_source import Answer, GetByRead, is_sendable
from polars_rasteret.hrefs import shown
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from polars_rasteret.fetch.sources.credentials import SharedCredentials

READY_STORES = (
    obstore_store.S3Store,
    obstore_store.GCSStore,
    obstore_store.AzureStore,
    obstore_store.HTTPStore,
    obstore_store.LocalStore,
    obstore_store.MemoryStore,
)

NO_RETRIES: Any = {"max_retries": 0, "retry_timeout": timedelta(0)}

_LONGEST_HREF = 16_384
"""Most characters of an href. Each byte may take three once it is encoded, and obstore panics at 65,535
(https://github.com/seanmonstar/reqwest/issues/668); servers take half of that or less."""
_NO_NAME = pattern(r"[\x00-\x20\x7f\"<>\\^`{|}]")
NO_PROXY_URL = "http://127.0.0.1:0"
"""A proxy at which every request fails at once, because nothing can listen on port 0."""

_MOST_STORES = 8
"""Most stores with different timeouts that are kept per origin; each has its own connection pool."""


def client_options(timeout_s: float, **more: Any) -> Any:
    """Return the client options for requests that may take `timeout_s`: timeouts, connection pool, and the caller's options.

    A connection that sends nothing for half of that time is given up, so that the next attempt still has the other half.
    """
    return {
        "allow_http": True,
        "timeout": timedelta(seconds=timeout_s),
        "read_timeout": timedelta(seconds=max(timeout_s / 2, 0.05)),
        "connect_timeout": timedelta(seconds=min(max(timeout_s / 2, 0.05), 10.0)),
        "pool_max_idle_per_host": "256",
        **more,
    }


def unaskable(href: str) -> str | None:
    """Return why obstore cannot ask for an href, None where it can.

    obstore panics on such an href, and a panic is no `Exception`.

    Examples
    --------
    >>> unaskable("s3://bucket/a b.tif") is None
    True
    >>> unaskable("s3://a b/x.tif")
    "the host or bucket 'a b' has a character that no name has"
    """
    if len(href) > _LONGEST_HREF:
        return f"it has {len(href):,} characters; at most {_LONGEST_HREF:,} can be asked for"
    place = href.partition("://")[2].partition("/")[0]
    if _NO_NAME.search(place):
        return f"the host or bucket {place!r} has a character that no name has"
    return None


class ObstoreSource(GetByRead):
    """One origin or bucket, read through obstore.

    Parameters
    ----------
    make_store
        ``make_store(timeout_s)`` returns an obstore store whose requests end within that time.
    key_of
        ``key_of(href)`` returns the path inside that store, not encoded: obstore encodes it.
    credentials
        The provider that these stores ask, where they ask one.
    """

    def __init__(
        self,
        make_store: Callable[[float], Any],
        key_of: Callable[[str], str],
        credentials: SharedCredentials | None = None,
    ) -> None:
        self._credentials = credentials
        self._make_store = make_store
        self._key_of = key_of
        self._stores: dict[float, Any] = {}
        self._lock = threading.Lock()

    def read(
        self, href: str, byte_start: int, byte_stop: int, *, etag: str | None, timeout_s: float, attempt: int
    ) -> Answer:
        """Return the answer for one range."""
        if (reason := unaskable(href)) is not None:
            raise FetchError(f"{shown(href)}: {reason}. Check the address.")
        if self._credentials is not None:
            self._credentials.check(href, byte_start, byte_stop)
        if attempt:
            timeout_s = _rounded_down(timeout_s)
        store = self._stores.get(timeout_s) or self._store(timeout_s)
        options: dict[str, Any] = {"range": (byte_start, byte_stop)}
        if is_sendable(etag):
            options["if_match"] = etag
        try:
            result = obstore.get(store, self._key_of(href), options=options)  # type: ignore[arg-type]
            data, meta = result.bytes(), result.meta
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            failure = obstore_failure(href, byte_start, byte_stop, error)
        else:
            return Answer(data, meta["size"], meta["e_tag"], meta["last_modified"])
        raise failure  # here, because obstore's own text quotes bodies and credentials

    def _store(self, timeout_s: float) -> Any:
        with self._lock:
            process.claim()
            if timeout_s not in self._stores:
                while len(self._stores) >= _MOST_STORES:
                    self._stores.pop(next(iter(self._stores)))
                self._stores[timeout_s] = self._make_store(timeout_s)
            return self._stores[timeout_s]


def _rounded_down(timeout_s: float) -> float:
    """Return a timeout rounded down to 1, 1.5, 2, 3, 4, 6, 8, ... times a power of two, so that few clients are made."""
    step = 1 / 16
    while step * 2 <= timeout_s:
        step *= 2
    return step * 1.5 if step * 1.5 <= timeout_s else step
