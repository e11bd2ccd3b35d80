"""Does it take credentials to read a file?

Whoever may read the disk reads what a cache on it holds. A caller's own store or client, a provider, a signed href, headers, keys
among the options or in the environment: all count as credentials, whether the file needs them or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.fetch.hints import hint_for
from polars_rasteret.fetch.places import origin
from polars_rasteret.fetch.signing import as_signed, unsigned
from polars_rasteret.fetch.sources.cloud import is_signed, is_signed_by_hint
from polars_rasteret.fetch.sources.settings import place_of, setting_for

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_protected(href: str) -> bool | None:
    """Return whether credentials are sent with requests for a file; None for files of this machine."""
    scheme = origin(href).partition("://")[0]
    if scheme == "file":
        return None
    if unsigned(href) != href or as_signed(href) != href:
        return True
    setting, place, hint = setting_for(href), place_of(href), hint_for(href)
    options: Mapping[str, Any] = {}
    if setting is not None:
        if setting.store is not None or setting.client is not None or setting.credential_provider is not None:
            return True
        options = setting.storage_options
    if any("header" in key.lower() for key in options):
        return True
    if place is None:
        return scheme not in ("http", "https")
    if place.is_web and (setting is None or not setting.needs_bucket) and not is_signed_by_hint(place, hint):
        return False  # read by its https address, like any other
    return is_signed(place, options, hint)
