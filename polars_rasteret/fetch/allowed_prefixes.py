"""Is an href within one of the prefixes that the caller allows?

Places are compared, not texts: scheme, host and port as the client will use them, then whole segments of the path. An href that
other software could read as another place (``..`` in any encoding, a backslash, a control character) is within no prefix.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.places import BUCKET_SCHEMES, bucket_host, kind_of
from polars_rasteret.fetch.sources.local_source import local_path
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_URL = pattern(r"([A-Za-z][A-Za-z0-9+.\-]+)://([^/?#]*)(.*)", re.DOTALL)
_PORTS = {"http": 80, "https": 443}
_CONTROL = pattern(r"[\x00-\x1f\x7f\\]")


@bundle(kw_only=False, eq=True)
class Place:
    """A file or folder: the origin that serves it, and the segments of its path."""

    origin: tuple[str, ...]
    segments: tuple[str, ...]
    is_web_address: bool = False
    """Whether the place is a bucket that was named by its provider's https address."""

    def holds(self, other: Place) -> bool:
        """Return whether another place is this one, or below it."""
        return self.origin == other.origin and other.segments[: len(self.segments)] == self.segments


def is_within(
    href: str, prefixes: Sequence[str], *, is_elsewhere: Callable[[str], bool] = lambda _bucket: False
) -> bool:
    """Return whether an href is one of the prefixes or below one, segment by segment.

    Parameters
    ----------
    href
        Any href; one whose place is not certain is within no prefix.
    prefixes
        Beginnings of hrefs, as ``pr.options(allowed_hrefs=)`` takes them.
    is_elsewhere
        Returns whether a bucket (``s3://name``) is read from another service than its provider's own. Then the https addresses of
        the provider's bucket of that name are another place.

    Examples
    --------
    >>> is_within("https://a.com/x/y.tif", ["https://a.com/x"]), is_within("https://a.com/xy.tif", ["https://a.com/x"])
    (True, False)
    >>> is_within("https://b.s3.eu-central-1.amazonaws.com/k.tif", ["s3://b/"])
    True
    """
    places = places_of(href)
    for one in (place for prefix in prefixes for place in places_of(prefix)):
        for other in places:
            if one.holds(other) and (
                one.is_web_address == other.is_web_address or not is_elsewhere(f"{one.origin[0]}://{one.origin[-1]}")
            ):
                return True
    return False


def places_of(href: str) -> list[Place]:
    """Return the places that an href names: the place itself, and the bucket whose https address it is; empty where uncertain."""
    found = _URL.fullmatch(href)
    if found is None or found[1].lower() == "file":
        return _local_places(href)  # a folder may become another one by a link, so nothing is remembered
    return _url_places(*found.groups())


@lru_cache(maxsize=4_096)
def _url_places(scheme: str, host: str, path: str) -> list[Place]:
    if scheme.lower() in _PORTS:
        # The client resolves ``..``; the writer of such an href may count on a client that does not.
        is_plain = _segments(re.split("[?#]", path, maxsplit=1)[0], is_encoded=True) is not None
        return _web_places(f"{scheme}://{host}{path}") if is_plain else []
    segments = _segments(path, is_encoded=False)
    if segments is None or not host or _CONTROL.search(host):
        return []
    scheme = scheme.lower()
    scheme = kind_of(scheme) if scheme in BUCKET_SCHEMES else scheme
    if scheme == "az" and "@" in host:
        container, _, account = host.rpartition("@")
        return [Place(("az", account.lower().partition(".")[0], container), segments)] if "@" not in container else []
    return [] if "@" in host else [Place((scheme, host), segments)]


def _local_places(href: str) -> list[Place]:
    if "\0" in href:
        return []
    try:
        path = os.path.normcase(os.path.realpath(local_path(href)))
    except (FetchError, OSError, ValueError):
        return []
    drive, rest = os.path.splitdrive(path)
    return [
        Place(("file", drive), tuple(piece for piece in re.split(r"[/\\]" if os.sep == "\\" else "/", rest) if piece))
    ]


def _web_places(href: str) -> list[Place]:
    # The parser of the client that will ask, so that the URL that is compared is the URL that is sent.
    import httpx

    try:
        url = httpx.URL(href)
    except (httpx.InvalidURL, ValueError):
        return []
    host = url.raw_host.decode("ascii", "replace").lower().removesuffix(".")
    segments = _segments(url.raw_path.decode("ascii", "replace").partition("?")[0], is_encoded=True)
    if not host or segments is None or _CONTROL.search(href):
        return []
    port = url.port or _PORTS[url.scheme]
    places = [Place((url.scheme, host, str(port)), segments)]
    if url.scheme == "https" and port == 443 and (bucket := _bucket(host, segments)) is not None:
        places.append(bucket)
    return places


def _bucket(host: str, segments: tuple[str, ...]) -> Place | None:
    if (serves := bucket_host(host)) is None:
        return None
    if serves.bucket is not None:
        return Place((serves.kind, serves.bucket), segments, is_web_address=True)
    if not segments:
        return None
    account = () if serves.account is None else (serves.account,)
    return Place((serves.kind, *account, segments[0]), segments[1:], is_web_address=True)


def _segments(path: str, *, is_encoded: bool) -> tuple[str, ...] | None:
    """Return the segments of a path below its host, decoded once; None where other software could read another path."""
    pieces = path.split("/")
    if pieces[0] == "":
        pieces = pieces[1:]
    while pieces and pieces[-1] == "":
        pieces = pieces[:-1]
    for piece in pieces:
        once, now = None, piece
        while once != now:  # some servers decode twice
            once, now = now, unquote(now)
            if any(part in (".", "..") for part in re.split(r"[/\\;]", now)) or _CONTROL.search(now):
                return None
    return tuple(unquote(piece) for piece in pieces) if is_encoded else tuple(pieces)
