"""What did the caller configure for an href, and what do hints add to it?

The longest prefix counts. A prefix in a bucket speaks of a place, in whatever spelling (`fetch.places`); any other is text.
Here is only what was said: the sources that are made of it belong in `stores`.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from obstore import store as obstore_store

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.hints import has_hints, hint_for
from polars_rasteret.fetch.places import BucketPlace, bucket_place, origin
from polars_rasteret.fetch.sources.cloud import (
    ACCOUNT_KEYS,
    endpoint_of,
    env_account,
    is_about_the_client,
    own_endpoint,
)
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import httpx

_CLOUD_STORES = (obstore_store.S3Store, obstore_store.GCSStore, obstore_store.AzureStore)


@bundle(kw_only=False, eq=True)
class Prices:
    """Prices of bytes and requests, for `estimate` and budgets; None is unknown."""

    usd_per_gb: float | None = None
    usd_per_1000_requests: float | None = None

    def of(self, *, n_bytes: int, n_requests: int) -> float | None:
        """Return the dollars for bytes and requests. One unknown price counts as 0; None where both are unknown."""
        if self.usd_per_gb is None and self.usd_per_1000_requests is None:
            return None
        return n_bytes / 1e9 * (self.usd_per_gb or 0.0) + n_requests / 1e3 * (self.usd_per_1000_requests or 0.0)


@bundle(eq=True)
class Setting:
    """The configuration of the hrefs under one prefix."""

    prefix: str
    number: int = 0
    storage_options: Mapping[str, Any] = field(repr=False)
    credential_provider: Any = field(default=None, repr=False)
    store: Any = field(default=None, repr=False)
    client: httpx.Client | None = field(default=None, repr=False)
    place: BucketPlace | None = None
    """The place of the prefix; None where it is in no bucket."""

    @property
    def needs_bucket(self) -> bool:
        """Whether options or a provider mean something to a store of the provider only, and nothing to a plain web client."""
        return self.credential_provider is not None or not is_about_the_client(self.storage_options)

    def reaches(self, place: BucketPlace) -> bool:
        """Return whether this configuration, for the same place in another spelling, is right for an href of `place`.

        A bucket of another service than its provider's own has no https address of the provider.
        """
        assert self.place is not None
        if self.place.is_web == place.is_web:
            return True
        if self.client is not None:
            return False
        if self.store is not None:
            return isinstance(self.store, _CLOUD_STORES) and own_endpoint(self.store.config) is None
        if self.place.is_web:
            return own_endpoint(self.storage_options) is not None or endpoint_of(place.kind, {}) is None
        return endpoint_of(place.kind, self.storage_options) is None


@bundle(kw_only=False)
class _Priced:
    prefix: str
    place: BucketPlace | None
    prices: Prices


_lock = threading.Lock()
_settings: dict[str, Setting] = {}
_priced: dict[str, _Priced] = {}
_numbers = itertools.count(1)


def put_setting(setting: Setting | None, prefix: str, prices: Prices) -> list[Setting]:
    """Put a setting in the place of those for the same prefix or place; None removes them. Return those that were removed."""
    place = place_of_prefix(prefix, setting)
    with _lock:
        # New dictionaries, so that readers need no lock.
        global _settings, _priced  # noqa: PLW0603 - configuration of the process
        dropped = [one for one in _settings.values() if one.prefix == prefix or _is_same(one, place)]
        _settings = {known: one for known, one in _settings.items() if one not in dropped}
        if setting is not None:
            _settings[prefix] = replace(setting, number=next(_numbers), place=place)
        _priced = {
            known: one
            for known, one in _priced.items()
            if known != prefix and (place is None or one.place is None or not one.place.equals(place))
        }
        if prices != Prices():
            _priced[prefix] = _Priced(prefix, place, prices)
    return dropped


def priced_prefixes() -> dict[str, Prices]:
    """Return the prices that are configured, by prefix."""
    return {prefix: one.prices for prefix, one in _priced.items()}


def put_prices(prices: Mapping[str, Prices]) -> None:
    """Configure prices by prefix, and nothing else."""
    global _priced  # noqa: PLW0603 - configuration of the process
    with _lock:
        _priced = {
            **_priced,
            **{prefix: _Priced(prefix, place_of_prefix(prefix, None), one) for prefix, one in prices.items()},
        }


def settings_of(hrefs: Iterable[str]) -> list[Setting]:
    """Return the distinct settings that count for some hrefs, by prefix."""
    if not _settings:
        return []
    found = {one.prefix: one for href in hrefs if (one := setting_for(href)) is not None}
    return [found[prefix] for prefix in sorted(found)]


def prices_for(href: str) -> Prices:
    """Return the prices configured for the longest matching prefix."""
    if not _priced:
        return Prices()
    place = place_of(href)
    ranked = [
        (rank, one) for one in _priced.values() if (rank := _rank(one.prefix, one.place, href, place)) is not None
    ]
    return max(ranked, key=lambda one: one[0])[1].prices if ranked else Prices()


def priced_origin(href: str) -> str:
    """Return the origin of an href, as the prices of requests to it are listed by."""
    return shown(origin(href))


def is_nothing_known() -> bool:
    """Return whether nothing is configured, and no collection told anything of a place."""
    return not _settings and not has_hints()


def setting_for(href: str, place: BucketPlace | None = None) -> Setting | None:
    """Return the setting of the longest prefix that covers an href; None where none does. `place` saves parsing it.

    Raises
    ------
    UsageError
        When an href of Azure names no account, and several accounts are configured for its container.
    """
    if not _settings:
        return None
    place = place_of(href) if place is None else place
    best: tuple[int, ...] = ()
    found: list[Setting] = []
    for one in _settings.values():
        rank = _rank(one.prefix, one.place, href, place)
        if rank is None or rank < best or (place is not None and one.place is not None and not one.reaches(place)):
            continue
        found = [*found, one] if rank == best else [one]
        best = rank
    if len({one.place.account for one in found if one.place is not None}) > 1:
        raise UsageError(
            f"{shown(href)} names no storage account, and several are configured for its container; write it as "
            "abfss://container@account.dfs.core.windows.net/path"
        )
    return found[-1] if found else None


def is_configured(href: str) -> bool:
    """Return whether the caller configured a store for an href; such an href may lead to any place."""
    return bool(_settings) and setting_for(href) is not None


def is_served_elsewhere(bucket: str) -> bool:
    """Return whether a bucket (``s3://name``) is read from another endpoint than its provider's."""
    href = f"{bucket}/"
    setting = setting_for(href)
    if setting is not None and setting.store is not None:
        return True
    options = {} if setting is None else setting.storage_options
    return endpoint_of(bucket.partition("://")[0], options) is not None or hinted_endpoint(href) is not None


def hinted_endpoint(href: str) -> str | None:
    """Return the endpoint at which an href is read because a collection said so, and the caller said nothing."""
    if (hint := hint_for(href)) is None or hint.endpoint is None:
        return None
    place = place_of(href)
    if place is None or place.is_web:
        return None
    setting = setting_for(href)
    is_said = setting is not None and (setting.store is not None or setting.needs_bucket)
    return None if is_said or endpoint_of(place.kind, {}) is not None else hint.endpoint


def place_of(href: str) -> BucketPlace | None:
    """Return the place of an href in a bucket; an account that it does not name is the one of the environment, if any."""
    place = bucket_place(href)
    if place is not None and place.kind == "az" and place.account is None and (account := env_account()) is not None:
        return replace(place, account=account)
    return place


def place_of_prefix(prefix: str, setting: Setting | None) -> BucketPlace | None:
    """Return the place of a prefix; an account that it does not name is the one of the options, the provider or the store."""
    if "://" not in prefix or (place := place_of(prefix)) is None:
        return None
    if setting is None or place.kind != "az" or "@" in prefix or place.is_web:
        return place
    for one in (setting.storage_options, setting.credential_provider, setting.store):
        options: Any = one if one is setting.storage_options else getattr(one, "config", None)
        for key, value in (options or {}).items():
            if key.lower() in ACCOUNT_KEYS:
                return replace(place, account=str(value))
    return place


def _is_same(one: Setting, place: BucketPlace | None) -> bool:
    return place is not None and one.place is not None and one.place.equals(place) and one.reaches(place)


def _rank(prefix: str, place: BucketPlace | None, href: str, href_place: BucketPlace | None) -> tuple[int, ...] | None:
    """Return how closely a prefix covers an href, more is closer; None where it does not."""
    if place is not None and href_place is not None:
        if place.covers(href_place):
            return (1 if place.name is None else 2, len(place.path), int(place.is_web == href_place.is_web))
        return None
    n = len(prefix)
    if href.startswith(prefix) and (len(href) == n or prefix[-1] == "/" or href[n] in "/?#"):
        return (0, n)
    return None
