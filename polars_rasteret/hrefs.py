"""Which parts of an href may appear in messages, and who named the href?

Scheme, host and path may; nothing else. A query, user information and a fragment may hold a key, whatever their names. So
messages, profiles and estimates show an href through `shown`, and texts of other libraries through `shown_text`.
"""

from __future__ import annotations

import re
from enum import IntEnum

from polars_rasteret.patterns import pattern

_URL = pattern(r"\s*([A-Za-z][A-Za-z0-9+.\-]+):([/\\]+)(.*)", re.DOTALL)
_URL_IN_TEXT = pattern(r"[A-Za-z][A-Za-z0-9+.\-]+:[/\\]+[^\s\"'<>`]*")
_HOST = pattern(r"(?:[^:@\[\]]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
_CONTAINER = pattern(r"[A-Za-z0-9$\-]+")
_CONTAINER_AT_ACCOUNT = frozenset({"az", "azure", "adl", "abfs", "abfss"})
_ACCOUNT = pattern(r"[A-Za-z0-9\-]+\.(?:dfs|blob)\.[^/@]+")
"""Host of an Azure account. Before its "@" stands a container, not a user: ``abfss://container@account.dfs.core.windows.net``."""
_UNUSUAL = pattern(r"[?@#;%=\\\[]|:(?!//)|/p/[^/]{16}")
"""Characters without any of which an href has only scheme, host and path."""
_QUERY = pattern(r"\?|%3f(?=.*(?:=|%3d))", re.IGNORECASE | re.DOTALL)
_USER = pattern(r"^([/\\]*)[^/\\:@]+:[^/\\@]*@")
"""User and password at the beginning of a URL without its scheme."""
_ASSIGNMENT = pattern(r"[?#].*=.*", re.DOTALL)
_KEYS_IN_PATHS = (
    (pattern(r";[^/=]*=[^/]*"), ""),  # ;jsessionid=...
    (pattern(r"(?<=/)[^/]*hmac=[^/]*", re.IGNORECASE), "..."),  # Akamai's tokens as a segment
    (pattern(r"(?<=/p/)[^/]{16,}(?=/n/)"), "..."),  # Oracle's pre-authenticated requests
)
_MOST_CHARACTERS = 400


class Provenance(IntEnum):
    """Who named an href. A collection from elsewhere may not point at files of this machine."""

    HERE = 0
    """The caller, or a collection on this machine."""
    LOOPBACK = 1
    """A collection that was read from a server on this machine."""
    REMOTE = 2
    """A collection from elsewhere."""


def shown(href: str) -> str:
    """Return an href as messages show it: scheme, host and path; a path of this machine unchanged.

    Examples
    --------
    >>> shown("https://me:pass@host:8443/a/b.tif?versionId=3&sig=abc#x")
    'https://host:8443/a/b.tif?...'
    >>> shown("/data/a.tif"), shown("s3://bucket/a#1.tif"), shown("abfss://box@account.dfs.core.windows.net/a.tif")
    ('/data/a.tif', 's3://bucket/a#1.tif', 'abfss://box@account.dfs.core.windows.net/a.tif')
    """
    if len(href) <= _MOST_CHARACTERS and not _UNUSUAL.search(href):
        return href
    found = _URL.fullmatch(href)
    text = _shown_path(href) if found is None else _shown_url(*found.groups())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def shown_text(text: str, *hrefs: str) -> str:
    """Return a text in which all URLs, and all occurrences of `hrefs`, are as `shown` returns them.

    Examples
    --------
    >>> shown_text("GET https://host/a.tif?sig=abc failed")
    'GET https://host/a.tif?... failed'
    """
    for href in hrefs:
        text = text.replace(href, shown(href))
    return _URL_IN_TEXT.sub(lambda found: shown(found[0]), text)


def _shown_url(scheme: str, slashes: str, rest: str) -> str:
    if scheme.lower() == "file":
        return f"{scheme}:{_shown_path(slashes + rest)}"
    stop = min((at for at in map(rest.find, "/?#\\") if at >= 0), default=len(rest))
    user, at, host = rest[:stop].rpartition("@")
    if not _HOST.fullmatch(host):
        return f"{scheme}://..."  # not an authority: a password with a "/" would look like a path
    is_at_account = scheme.lower() in _CONTAINER_AT_ACCOUNT and _ACCOUNT.fullmatch(host)
    if at and is_at_account and _CONTAINER.fullmatch(user):
        host = f"{user}@{host}"
    path = rest[stop:]
    query = _QUERY.search(path)
    path, more = (path, "") if query is None else (path[: query.start()], "?...")
    if scheme.lower() in ("http", "https"):
        path = path.partition("#")[0]
    return f"{scheme}://{host}{_without_keys(path)}{more}"


def _shown_path(path: str) -> str:
    """Return a path without keys; a URL inside the path (``/vsicurl/https://...``) is as `shown` returns it."""
    if ":" in path:
        path = shown_text(path)
    return _without_keys(_USER.sub(r"\1", path))


def _without_keys(path: str) -> str:
    path = _ASSIGNMENT.sub("?...", path)
    for of_key, instead in _KEYS_IN_PATHS:
        path = of_key.sub(instead, path)
    return path
