"""Which source reads an href, and how does a caller configure it?

An href is matched to the longest configured prefix, else to a default source of its scheme and host or bucket. Each source is
made once per process. Stores and credentials live here only: they are never pickled, so every process resolves its own.
"""

from __future__ import annotations

import itertools
import re
import threading
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
from obstore import store as obstore_store

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.addresses import reaches_of, refuse_link
from polars_rasteret.fetch.signing import forget_keys
from polars_rasteret.fetch.sources.byte_source import PlainSource, RangeReader
from polars_rasteret.fetch.sources.cloud import (
    BUCKET_SCHEMES,
    bucket_key,
    cloud_source,
    endpoint_of,
    httpx_client,
    split_options,
)
from polars_rasteret.fetch.sources.credentials import shared_credentials
from polars_rasteret.fetch.sources.httpx_source import HttpSource, HttpxSource, decoded_path
from polars_rasteret.fetch.sources.local_source import LocalSource, local_path
from polars_rasteret.fetch.sources.obstore_source import (
    NO_PROXY_URL,
    NO_RETRIES,
    READY_STORES,
    ObstoreSource,
    client_options,
)
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

_Value = TypeVar("_Value")

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]+:(?=//)")


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of bytes and requests, for `estimate` and budgets; None is unknown."""

    usd_per_gb: float | None = None
    usd_per_1000_requests: float | None = None

    def of(self, *, n_bytes: int, n_requests: int) -> float | None:
        """Return the dollars for bytes and requests. One unknown price counts as 0; None where both are unknown."""
        if self.usd_per_gb is None and self.usd_per_1000_requests is None:
            return None
        return n_bytes / 1e9 * (self.usd_per_gb or 0.0) + n_requests / 1e3 * (self.usd_per_1000_requests or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """The configuration of the hrefs under one prefix."""

    prefix: str
    number: int
    storage_options: Mapping[str, Any]
    credential_provider: Any
    store: Any
    client: httpx.Client | None


_lock = threading.Lock()
_settings: dict[str, _Setting] = {}
_prices: dict[str, Prices] = {}
_numbers = itertools.count(1)
_sources: dict[tuple[int, str], RangeReader] = {}


def configure_store(
    prefix: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    credential_provider: Any = None,
    store: Any = None,
    client: httpx.Client | None = None,
    usd_per_gb: float | None = None,
    usd_per_1000_requests: float | None = None,
) -> None:
    """Set how files under a prefix are read, in this process.

    The longest matching prefix counts; a prefix ends where a path segment ends (``s3://a`` is not a prefix of ``s3://ab/x``).
    Calling again replaces the configuration of this prefix; calling with the prefix alone removes it.

    Parameters
    ----------
    prefix
        Beginning of hrefs: ``"s3://bucket/"``, ``"https://host/path/"``, ``"/mnt/scenes"``, or a scheme of your own with
        ``store=``, like ``"memory://x/"``.
    storage_options
        Keys as in Polars' ``storage_options``: ``aws_region``, ``aws_endpoint_url``, ``aws_access_key_id``,
        ``aws_secret_access_key``, ``aws_skip_signature``, ``aws_request_payer``, ``google_service_account``,
        ``azure_storage_account_name``, ...; and for every scheme the client's ``proxy_url``, ``user_agent``, ``headers``,
        ``allow_invalid_certificates``. Timeouts and retries come from ``pr.options``, so keys about them are ignored.
    credential_provider
        A callable that returns obstore's dictionary or Polars' ``(dictionary, expiry)``. It is asked again five minutes before
        expiry, once for all threads. Or ``"auto"``: what the environment or the machine's own instance offers.
    store
        A ready obstore store (its own timeouts and retries apply below ours), or any object with
        ``get(href, byte_start, byte_stop, *, etag)``.
    client
        A ready ``httpx.Client`` for http(s) prefixes: its headers, authentication and proxies are used as they are. Redirects are
        followed whatever the client says of them; a place outside of the prefix is read with the configuration of that place.
    usd_per_gb, usd_per_1000_requests
        Prices for ``pr.estimate`` and ``budget_usd``; no influence on reading.

    Raises
    ------
    UsageError
        When arguments exclude each other, or `store` has no such ``get``.

    Notes
    -----
    Without configuration, ``s3://``, ``gs://`` and ``az://`` use the credentials in the environment variables of their
    provider, and read anonymously when there are none. Requester pays is on only when you set it.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> from polars_rasteret.testing import MemorySource
    >>> source = MemorySource({"memory://docs/a.tif": b"II*..."})
    >>> pr.configure_store("memory://docs/", store=source)
    >>> pr.configure_store("s3://my-bucket/", storage_options={"aws_region": "eu-central-1"}, usd_per_gb=0.09)
    """
    if not isinstance(prefix, str) or not prefix:
        raise UsageError(f"prefix is {prefix!r}; expected the beginning of hrefs, like 's3://bucket/'")
    if client is not None and not isinstance(client, httpx.Client):
        raise UsageError(f"client is a {type(client).__name__}; expected an httpx.Client (not an async one)")
    if store is not None and not isinstance(store, READY_STORES) and not callable(getattr(store, "get", None)):
        raise UsageError(
            f"store is a {type(store).__name__}; expected an obstore store, or an object with "
            "get(href, byte_start, byte_stop, *, etag)"
        )
    if client is not None and not prefix.lower().startswith("http"):
        raise UsageError(f"client= reads http and https only, not {shown(prefix)!r}; use store= or storage_options=")
    made = storage_options is not None or credential_provider is not None
    if (store is not None) + (client is not None) + made > 1:
        raise UsageError(
            "give one of store=, client=, or storage_options= with credential_provider=; they exclude each other"
        )
    for name, price in (("usd_per_gb", usd_per_gb), ("usd_per_1000_requests", usd_per_1000_requests)):
        if price is not None and not price >= 0:
            raise UsageError(f"{name} is {price!r}; expected dollars, 0 or more")
    setting = _Setting(
        prefix=prefix,
        number=next(_numbers),
        storage_options=dict(storage_options or {}),
        credential_provider=shared_credentials(credential_provider) or credential_provider,
        store=store,
        client=client,
    )
    with _lock:
        # New dictionaries, so that readers need no lock.
        global _settings, _prices, _sources  # noqa: PLW0603 - configuration of the process
        others = {known: value for known, value in _settings.items() if known != prefix}
        has_setting = store is not None or client is not None or made
        dropped = _settings.get(prefix)
        _settings = {**others, prefix: setting} if has_setting else others
        prices = Prices(usd_per_gb, usd_per_1000_requests)
        _prices = {**{known: value for known, value in _prices.items() if known != prefix}}
        if prices != Prices():
            _prices[prefix] = prices
        forget_keys(prefix)
        if dropped is not None:
            _sources = {key: source for key, source in _sources.items() if key[0] != dropped.number}


def prices_for(href: str) -> Prices:
    """Return the prices configured for the longest matching prefix."""
    return _longest(_prices, href) or Prices()


def source_for(href: str) -> RangeReader:
    """Return the source that reads `href`; it is made on first use and kept by the process.

    Raises
    ------
    UsageError
        For a scheme that no source reads, wrong storage options, or in a forked child.
    """
    return resolve(href)[0]


def configured(href: str) -> tuple[Any, str, Mapping[str, Any], Any]:
    """Return the configuration of an href, for listing the objects below it.

    Returns
    -------
    store, path, storage_options, credential_provider
        A ready obstore store (else None) and the path in it; the options of a store that is yet to be made (else empty and None).
    """
    setting = _longest(_settings, href)
    if setting is None:
        return None, "", {}, None
    store = setting.store if isinstance(setting.store, READY_STORES) else None
    path = href if store is None else _key_in(store, setting.prefix, href.partition("://")[0])(href)
    path = "" if path == href else path  # all that the store holds
    return store, path, setting.storage_options, setting.credential_provider


def is_configured(href: str) -> bool:
    """Return whether the caller configured a store for an href; such an href may lead to any place."""
    return bool(_settings) and _longest(_settings, href) is not None


def is_served_elsewhere(bucket: str) -> bool:
    """Return whether a bucket (``s3://name``) is read from another endpoint than its provider's."""
    setting = _longest(_settings, f"{bucket}/")
    if setting is not None and setting.store is not None:
        return True
    options = {} if setting is None else setting.storage_options
    return endpoint_of(bucket.partition("://")[0], options) is not None


def store_identity(href: str) -> Hashable:
    """Return the identity of the store of an href: where identity and href are equal, the file is the same."""
    return _identity(href)[1]


def resolve(href: str) -> tuple[RangeReader, Hashable]:
    """Return the source of an href and the identity of its store."""
    process.check()
    return resolved(href)


def resolved(href: str) -> tuple[RangeReader, Hashable]:
    """Return the result of `resolve`, without the check for a forked child that the caller has made."""
    setting, key = _identity(href)
    source = _sources.get(key)
    if source is None:
        made = _made(setting, key[1], href)
        with _lock:
            source = _sources.setdefault(key, made)
    return source, key


def _identity(href: str) -> tuple[_Setting | None, tuple[int, str]]:
    setting = _longest(_settings, href) if _settings else None
    return setting, (0 if setting is None else setting.number, origin(href))


def _longest(table: Mapping[str, _Value], href: str) -> _Value | None:
    best, value = -1, None
    for prefix, candidate in table.items():
        n = len(prefix)
        if n > best and href.startswith(prefix) and (len(href) == n or prefix[-1] == "/" or href[n] in "/?#"):
            best, value = n, candidate
    return value


@lru_cache(maxsize=4_096)
def origin(href: str) -> str:
    """Return the origin of an href, which one connection pool serves: scheme and host, scheme and bucket, or "file"."""
    found = _SCHEME.match(href)
    if found is None:
        return "file"
    scheme = found[0][:-1].lower()
    if scheme == "file":
        return "file"
    rest = href[found.end() + 2 :]
    stop = min((at for at in (rest.find("/"), rest.find("?"), rest.find("#")) if at >= 0), default=len(rest))
    host = rest[:stop]
    if "@" in host and scheme not in BUCKET_SCHEMES:
        host = host.rpartition("@")[2]  # user information is sent, but names no other place
    return f"{scheme}://{host}"


def _made(setting: _Setting | None, origin: str, href: str) -> RangeReader:
    scheme = origin.split("://", 1)[0]
    if setting is not None and setting.store is not None:
        if isinstance(setting.store, READY_STORES):
            store = setting.store
            return ObstoreSource(lambda _timeout_s: store, _key_in(store, setting.prefix, scheme))
        return PlainSource(setting.store)
    if setting is not None and setting.client is not None:
        return HttpxSource(setting.client)
    options = {} if setting is None else setting.storage_options
    provider = None if setting is None else setting.credential_provider
    if origin == "file":
        return LocalSource()
    if scheme in ("http", "https"):
        return _http_source(origin, options, is_trusted=setting is not None)
    if scheme in BUCKET_SCHEMES:
        return cloud_source(origin, options, provider)
    raise UsageError(
        f"{shown(href)}: nothing reads {scheme}:// yet; expected a path, file, http, https, s3, gs or az, "
        f"or a source given with pr.configure_store('{scheme}://', store=...)"
    )


def _http_source(origin: str, options: Mapping[str, Any], *, is_trusted: bool) -> HttpSource:
    client, other = split_options(options)
    if other:
        raise UsageError(
            f"storage_options {', '.join(sorted(other))} mean nothing for {origin}; give an httpx.Client as client="
        )

    served = origin.partition("://")[2]
    host = served[1:].partition("]")[0] if served.startswith("[") else served.partition(":")[0]
    is_proxied = "proxy_url" in client or _goes_through_proxy(origin, host)
    thorough = HttpxSource(
        make_client=lambda: httpx_client(client), check_peer=None if is_trusted or is_proxied else refuse_link
    )

    def quick(place: str, only_host: str, **more: Any) -> ObstoreSource:
        # obstore follows redirects by itself, and has no option against it. Its requests to another host go to a proxy that
        # cannot exist. So they fail, and the range is asked for again through httpx, where every redirect is checked.
        stays = {"allow_http": place.startswith("http:"), "proxy_url": NO_PROXY_URL, "proxy_excludes": only_host}

        def make_store(timeout_s: float) -> Any:
            options = client_options(timeout_s, **{**stays, **client, **more})
            return obstore_store.HTTPStore(place, client_options=options, retry_config=NO_RETRIES)

        return ObstoreSource(make_store, decoded_path)

    def quick_at(address: str) -> ObstoreSource:
        port = served.partition(":")[2] or "80"
        written = f"[{address}]" if ":" in address else address
        return quick(f"http://{written}:{port}", address, default_headers={"Host": served})

    if is_proxied or "default_headers" in client:
        return HttpSource(None, thorough)
    # obstore looks names up by itself: a name server could answer otherwise the second time. Over TLS a certificate tells; a
    # plain http server is asked by obstore under its name if it is this machine or configured, else at the address that was
    # checked.
    if is_trusted or origin.startswith("https:") or reaches_of(host, is_looked_up=False):
        return HttpSource(quick(origin, host), thorough)
    return HttpSource(None, thorough, quick_at)


def _goes_through_proxy(origin: str, host: str) -> bool:
    """Return whether the environment names a proxy for this host; then the proxy looks up the address, not this process."""
    proxies = urllib.request.getproxies()
    return bool({origin.partition(":")[0], "all"} & proxies.keys()) and not urllib.request.proxy_bypass(host)


def _key_in(store: Any, prefix: str, scheme: str) -> Callable[[str], str]:
    """Return the path inside a caller's store: below the store's own URL or prefix, else below the configured prefix."""
    if isinstance(store, obstore_store.HTTPStore):
        base = str(store.url).rstrip("/") + "/"
        return lambda href: unquote(_below(href, base) or _below(href, prefix) or urlsplit(href).path.lstrip("/"))
    inner = str(getattr(store, "prefix", None) or "").strip("/")
    if scheme in BUCKET_SCHEMES:
        return lambda href: _below(bucket_key(href), inner + "/" if inner else "") or bucket_key(href)
    if scheme == "file" or isinstance(store, obstore_store.LocalStore):
        return lambda href: (
            _below(local_path(href).strip("/"), inner + "/" if inner else "") or _below(href, prefix) or href
        )
    return lambda href: _below(href, prefix) or href


def _below(href: str, prefix: str) -> str | None:
    return href[len(prefix) :].lstrip("/") if href.startswith(prefix) else None
