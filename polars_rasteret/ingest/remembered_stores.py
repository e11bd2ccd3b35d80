"""Which stores do the options and the provider of a build configure?

They are remembered as by `configure_store`, so that what was built can be read. The same options serve a collection that is
written, so they may speak of another place than the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.fetch.addresses import Reach, reaches_of
from polars_rasteret.fetch.advice import is_earthdata
from polars_rasteret.fetch.places import bucket_place, origin, own_prefix
from polars_rasteret.fetch.sources.cloud import own_endpoint, split_options
from polars_rasteret.fetch.sources.settings import setting_for
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.hrefs import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polars_rasteret.fetch.places import BucketPlace

_WORDS_OF_OTHERS = {"s3": ("azure_", "google_", "gcs_"), "gs": ("aws_", "azure_"), "az": ("aws_", "google_", "gcs_")}
"""How options begin that mean nothing for a kind of bucket."""


def remember_stores(
    hrefs: Iterable[str],
    storage_options: Mapping[str, Any] | None,
    credential_provider: Any,
    *,
    provenance: Mapping[str, Provenance] | None = None,
) -> None:
    """Configure the stores of some files with the options of a build.

    Parameters
    ----------
    hrefs
        The files. Buckets that go by their https address get the options of their own provider, and none where these name an
        endpoint; web servers get ``headers`` and the like. Neither replaces what is configured.
    storage_options, credential_provider
        As the caller gave them.
    provenance
        Provenance of each href that the caller did not name. Headers of the caller are sent to no server that a stranger named,
        but to NASA's archives.
    """
    if storage_options is None and credential_provider is None:
        return
    for prefix, href in sorted({own_prefix(href): href for href in hrefs if "://" in href}.items()):
        scheme, place = origin(href).partition("://")[0], bucket_place(href)
        options, provider = storage_options, credential_provider
        if scheme in ("http", "https"):
            options = _options_of_web(place, storage_options or {})
            provider = None if place is None else credential_provider
            is_named = (provenance or {}).get(href, Provenance.HERE) is Provenance.HERE
            if place is None and not (is_earthdata(href) or (is_named and not _leads_to_a_link(href))):
                continue
            if (not options and provider is None) or _differs(prefix, options, provider):
                continue
        elif place is None:
            continue
        # What a provider gave is kept; without one, the environment may have changed.
        if provider is None or not _is_so(prefix, options, provider):
            configure_store(prefix, storage_options=options, credential_provider=provider)


def _options_of_web(place: BucketPlace | None, options: Mapping[str, Any]) -> dict[str, Any]:
    client = {key: value for key, value in options.items() if not split_options({key: value})[1]}
    if place is None:
        return client
    if own_endpoint(options) is not None:
        return {}
    return {key: value for key, value in options.items() if not key.lower().startswith(_WORDS_OF_OTHERS[place.kind])}


def _leads_to_a_link(href: str) -> bool:
    """Return whether a host may be link-local; a server that is configured is read wherever it is."""
    host = origin(href).partition("://")[2]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return Reach.LINK in reaches_of(host)


def _is_so(prefix: str, options: Mapping[str, Any] | None, provider: Any) -> bool:
    """Return whether a prefix is configured with these very options and this provider, whose credentials are kept then."""
    setting = setting_for(prefix)
    if setting is None or setting.prefix != prefix or setting.store is not None or setting.client is not None:
        return False
    own = getattr(setting.credential_provider, "provider", setting.credential_provider)
    return dict(setting.storage_options) == dict(options or {}) and own is provider


def _differs(prefix: str, options: Mapping[str, Any] | None, provider: Any) -> bool:
    """Return whether the caller configured something else for a prefix."""
    return setting_for(prefix) is not None and not _is_so(prefix, options, provider)
