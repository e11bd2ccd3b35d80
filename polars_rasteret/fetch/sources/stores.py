"""Which source reads an href, and how does a caller configure it?

An href is matched to the longest configured prefix, else to a default source of its scheme and host or bucket. Each source is
made once per process. Stores and credentials live here only: they are never pickled, so every process resolves its own.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote, urlsplit

from obstore import store as obstore_store

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch import process
from polars_rasteret.fetch.hints import Hint, hint_for
from polars_rasteret.fetch.places import BUCKET_SCHEMES, bucket_host, bucket_place, origin
from polars_rasteret.fetch.signing import forget_keys
from polars_rasteret.fetch.sources.byte_source import PlainSource, RangeReader
from polars_rasteret.fetch.sources.cloud import (
    bucket_key,
    bucket_source,
    bucket_store,
    is_signed_by_hint,
    split_options,
)
from polars_rasteret.fetch.sources.credentials import shared_credentials
from polars_rasteret.fetch.sources.http_origin import WebBucketSource, http_source
from polars_rasteret.fetch.sources.httpx_source import HttpxSource
from polars_rasteret.fetch.sources.local_source import LocalSource, local_path
from polars_rasteret.fetch.sources.obstore_source import READY_STORES, ObstoreSource
from polars_rasteret.fetch.sources.settings import (
    Prices,
    Setting,
    hinted_endpoint,
    is_nothing_known,
    place_of,
    place_of_prefix,
    put_setting,
    setting_for,
)
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    import httpx

    from polars_rasteret.fetch.places import BucketPlace

_BUCKET_STORES = (obstore_store.S3Store, obstore_store.GCSStore, obstore_store.AzureStore)
_LISTING_TIMEOUT_S = 60.0

_Identity: TypeAlias = "tuple[int, str, Hint | None]"
"""Number of the setting, origin or bucket, and the hint that counts."""

_lock = threading.Lock()
_sources: dict[_Identity, RangeReader] = {}


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
    Calling again replaces the configuration of this prefix; calling with the prefix alone removes it. All spellings of a bucket
    are one place: ``s3://b/`` and the https addresses that AWS gives it, and those of Google and Azure. Options that name an
    endpoint of your own make another place of it, which has no such address.

    Parameters
    ----------
    prefix
        Beginning of hrefs: ``"s3://bucket/"``, ``"https://host/path/"``, ``"/mnt/scenes"``, or a scheme of your own with
        ``store=``, like ``"memory://x/"``.
    storage_options
        Keys as in Polars' ``storage_options``: ``aws_region``, ``aws_endpoint_url``, ``aws_access_key_id``,
        ``aws_secret_access_key``, ``aws_profile`` (needs boto3), ``aws_skip_signature``, ``aws_request_payer``,
        ``google_service_account``,
        ``azure_storage_account_name``, ...; and for every scheme the client's ``proxy_url``, ``user_agent``, ``headers``,
        ``allow_invalid_certificates``. Timeouts and retries come from ``pr.options``, so keys about them are ignored.
    credential_provider
        A callable that returns obstore's dictionary or Polars' ``(dictionary, expiry)``. It is asked again five minutes before
        expiry, once for all threads. Or ``"auto"``: what the environment, the default profile of AWS or the machine's own
        instance offers. Or ``"planetary-computer"``: its tokens, for the container of each href.
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
    provider (``AWS_PROFILE`` too), and read anonymously when there are none. Requester pays is on only when you set it. An https
    href of a bucket is read like any URL, until options or a provider mean something to the store of its provider only.

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
    if client is not None:
        import httpx

        if not isinstance(client, httpx.Client):
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
    setting = Setting(
        prefix=prefix,
        storage_options=dict(storage_options or {}),
        credential_provider=shared_credentials(credential_provider) or credential_provider,
        store=store,
        client=client,
    )
    has_setting = store is not None or client is not None or made
    if (
        has_setting
        and setting.needs_bucket
        and place_of_prefix(prefix, setting) is None
        and not _may_hold_buckets(prefix)
    ):
        raise UsageError(
            f"{shown(prefix)}: {_meaningless(setting)} mean nothing for this place; expected a bucket, like s3://bucket/ (with "
            "aws_endpoint_url for a service of your own), or for a web server an httpx.Client as client="
        )
    dropped = put_setting(setting if has_setting else None, prefix, Prices(usd_per_gb, usd_per_1000_requests))
    place = place_of_prefix(prefix, setting)
    forget_keys(prefix, lambda href: _is_below(place, href))
    numbers = {one.number for one in dropped}
    global _sources  # noqa: PLW0603 - a new dictionary, so that readers need no lock
    with _lock:
        _sources = {key: source for key, source in _sources.items() if key[0] not in numbers}


def source_for(href: str) -> RangeReader:
    """Return the source that reads `href`; it is made on first use and kept by the process.

    Raises
    ------
    UsageError
        For a scheme that no source reads, wrong storage options, or in a forked child.
    """
    return resolve(href)[0]


def store_to_list(
    url: str, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> tuple[Any, str]:
    """Return an obstore store and a path in it, for listing the objects that can be read below an address.

    Without options and provider, the configuration of the place counts. The store is None where none can list.
    """
    setting = setting_for(url)
    if storage_options is not None or credential_provider is not None:
        setting = Setting(prefix=url, storage_options=storage_options or {}, credential_provider=credential_provider)
    if setting is not None and setting.store is not None:
        if not isinstance(setting.store, READY_STORES):
            return None, ""
        path = _key_in(setting.store, setting)(url)
        return setting.store, "" if path == url else path
    place = _placed(place_of(url), setting)
    if place is None or place.name is None or place.is_web:
        return None, ""
    options = {} if setting is None else setting.storage_options
    provider = None if setting is None else setting.credential_provider
    hint, endpoint = hint_for(url, place), None if storage_options is not None else hinted_endpoint(url)
    make_store, _ = bucket_store(place, options, provider, hint=hint, endpoint=endpoint)
    return make_store(_LISTING_TIMEOUT_S), place.path


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
        made = _made(setting, key, href)
        with _lock:
            source = _sources.setdefault(key, made)
    return source, key


def _identity(href: str) -> tuple[Setting | None, _Identity]:
    """Return the setting of an href, and the key of its source: number of the setting, origin or bucket, and hint."""
    if is_nothing_known():
        return None, (0, origin(href), None)
    place = place_of(href)
    setting = setting_for(href, place)
    number = 0 if setting is None else setting.number
    place = _placed(place, setting)
    if place is None or (setting is not None and (setting.store is not None or setting.client is not None)):
        return setting, (number, origin(href), None)
    hint = hint_for(href, place)
    if not place.is_web:
        return setting, (number, place.bucket, hint)
    if place.name is not None and ((setting is not None and setting.needs_bucket) or is_signed_by_hint(place, hint)):
        return setting, (number, f"{place.bucket} {origin(href)}", hint)
    return setting, (number, origin(href), None)


def _placed(place: BucketPlace | None, setting: Setting | None) -> BucketPlace | None:
    """Return a place; an account that it does not name is the one of the setting."""
    if place is None or place.kind != "az" or place.account is not None or setting is None:
        return place
    if setting.place is not None:
        return replace(place, account=setting.place.account)
    return place


def _made(setting: Setting | None, key: _Identity, href: str) -> RangeReader:
    _, name, hint = key
    scheme = name.split("://", 1)[0]
    if setting is not None and setting.store is not None:
        if isinstance(setting.store, READY_STORES):
            store = setting.store
            return ObstoreSource(lambda _timeout_s: store, _key_in(store, setting))
        return PlainSource(setting.store)
    if setting is not None and setting.client is not None:
        return HttpxSource(setting.client)
    options = {} if setting is None else setting.storage_options
    provider = None if setting is None else setting.credential_provider
    if name == "file":
        return LocalSource()
    place = _placed(place_of(href), setting)
    is_of_web = origin(href) == name and scheme in ("http", "https")
    if place is not None and not is_of_web:
        if place.name is None:
            raise UsageError(f"{shown(href)} names no bucket or container; expected one, like s3://bucket/path")
        source = bucket_source(place, options, provider, hint=hint, endpoint=hinted_endpoint(href))
        if not place.is_web:
            return source
        return WebBucketSource(
            source, http_source(origin(href), split_options(options)[0], is_trusted=setting is not None)
        )
    if is_of_web:
        return http_source(name, split_options(options)[0], is_trusted=setting is not None)
    raise UsageError(
        f"{shown(href)}: nothing reads {scheme}:// yet; expected a path, file, http, https, s3, gs or az, "
        f"or a source given with pr.configure_store('{scheme}://', store=...)"
    )


def _is_below(place: BucketPlace | None, href: str) -> bool:
    other = None if place is None else place_of(href)
    return place is not None and other is not None and place.covers(other)


def _may_hold_buckets(prefix: str) -> bool:
    """Return whether a prefix that is no bucket itself holds some: a scheme, or a host that serves buckets by their path."""
    scheme, _, host = origin(f"{prefix}//" if prefix.endswith(":") else prefix).partition("://")
    return scheme in BUCKET_SCHEMES or not scheme.startswith("http") or not host or bucket_host(host) is not None


def _meaningless(setting: Setting) -> str:
    names = sorted(split_options(setting.storage_options)[1])
    if setting.credential_provider is not None:
        names.append("credential_provider")
    return f"{'storage_options ' if names != ['credential_provider'] else ''}{', '.join(names)}"


def _key_in(store: Any, setting: Setting) -> Callable[[str], str]:
    """Return the path inside a caller's store: below the store's own URL or prefix, else below the configured prefix."""
    prefix = setting.prefix
    if isinstance(store, obstore_store.HTTPStore):
        base = str(store.url).rstrip("/") + "/"
        return lambda href: unquote(_below(href, base) or _below(href, prefix) or urlsplit(href).path.lstrip("/"))
    inner = str(getattr(store, "prefix", None) or "").strip("/")
    if isinstance(store, _BUCKET_STORES) or prefix.partition("://")[0] in BUCKET_SCHEMES:

        def key(href: str) -> str:
            place = bucket_place(href)
            path = bucket_key(href) if place is None else place.path
            return _below(path, inner + "/" if inner else "") or path

        return key
    if origin(prefix) == "file" or isinstance(store, obstore_store.LocalStore):
        return lambda href: (
            _below(local_path(href).strip("/"), inner + "/" if inner else "") or _below(href, prefix) or href
        )
    return lambda href: _below(href, prefix) or href


def _below(href: str, prefix: str) -> str | None:
    return href[len(prefix) :].lstrip("/") if href.startswith(prefix) else None
