"""What lies below this address of an object store?

Listing and deleting for the tables of collections; pixel bytes go through ``fetch``. HTTP has no listing.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_POLARS_ONLY = (
    "max_retries",
    "file_cache_ttl",
    "retry_timeout_ms",
    "retry_init_backoff_ms",
    "retry_max_backoff_ms",
    "retry_base_multiplier",
)
"""Keys of Polars' storage options that configure Polars and not the store."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a store."""

    href: str
    size: int
    etag: str | None


def list_objects(
    url: str, *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> list[Listed]:
    """List the objects below a folder, or those that a glob matches, sorted by name.

    Raises
    ------
    FetchError
        When the store refuses.
    UsageError
        For a scheme that cannot be listed.
    """
    root, prefix, pattern = _split(url)
    store = _store(root, storage_options, credential_provider)
    found: list[Listed] = []
    try:
        for batch in obstore.list(store, prefix=prefix or None):
            found += [Listed(f"{root}/{one['path']}", one["size"], one.get("e_tag")) for one in batch]
    except BaseError as error:
        raise FetchError(f"{url}: could not be listed: {error}") from error
    if pattern is not None:
        found = [one for one in found if pattern.fullmatch(one.href.removeprefix(f"{root}/"))]
    return sorted(found, key=lambda one: one.href)


def delete_objects(
    hrefs: list[str], *, storage_options: Mapping[str, Any] | None = None, credential_provider: Any = None
) -> None:
    """Delete objects of one store.

    Raises
    ------
    FetchError
        When the store refuses.
    """
    if not hrefs:
        return
    root, _, _ = _split(hrefs[0])
    store = _store(root, storage_options, credential_provider)
    try:
        obstore.delete(store, [href.removeprefix(f"{root}/") for href in hrefs])
    except BaseError as error:
        raise FetchError(f"{root}: {len(hrefs)} old parts could not be deleted: {error}") from error


def _split(url: str) -> tuple[str, str, re.Pattern[str] | None]:
    """Give bucket root, prefix to list, and what names must match."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    if scheme in ("http", "https"):
        raise UsageError(f"{url}: HTTP has no listing; name the files one by one")
    root = f"{scheme}://{bucket}"
    wild = re.search(r"[*?\[]", path)
    if wild is None:
        return root, path.rstrip("/"), None
    # As in the shell: * stays in its folder, ** does not.
    pieces = [fnmatch.translate(piece)[4:-3].replace(".*", "[^/]*") for piece in path.split("**")]
    return (
        root,
        path[: wild.start()].rpartition("/")[0],
        re.compile(".*".join(pieces).replace(".*/", "(?:.*/)?"), re.DOTALL),
    )


def _store(root: str, storage_options: Mapping[str, Any] | None, credential_provider: Any) -> Any:
    config = {key: value for key, value in (storage_options or {}).items() if key not in _POLARS_ONLY}
    options: dict[str, Any] = {}
    if str(config.get("aws_endpoint_url", config.get("endpoint_url", ""))).startswith("http://"):
        options["client_options"] = {"allow_http": True}
    if credential_provider is not None and callable(credential_provider):
        # Polars' providers give (credentials, expiry); obstore takes the same keys without their prefix.
        credentials, _ = credential_provider()
        config.update(credentials)
    try:
        open_store: Any = from_url
        return open_store(root, config=config, **options)
    except (BaseError, ValueError, TypeError) as error:
        raise UsageError(f"{root}: no store can be made of this address and its storage_options: {error}") from error
