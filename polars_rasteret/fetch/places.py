"""Which place does an href name: which origin, and which bucket of which provider?

One bucket has several spellings: ``s3://b/``, ``https://b.s3.us-west-2.amazonaws.com/`` and ``https://s3.us-west-2.amazonaws.com/b/``
are one place. Pure: how a place is read, and what is known of it, belongs elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from polars_rasteret.bundles import bundle
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    import re

_SCHEME = pattern(r"^[A-Za-z][A-Za-z0-9+.\-]+:(?=//)")
_KINDS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "azure": "az", "adl": "az", "abfs": "az", "abfss": "az"
}  # fmt: skip
BUCKET_SCHEMES = frozenset(_KINDS)

_AWS = r"amazonaws\.com(?P<country>\.cn)?"
_REGION = pattern(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_BUCKET_HOSTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "s3",
        pattern(
            rf"(?P<bucket>.+)\.s3(?:[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+)|-accelerate(?:\.dualstack)?)?\.{_AWS}"
        ),
    ),
    ("s3", pattern(rf"s3(?:[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+))?\.{_AWS}")),
    ("gs", pattern(r"(?P<bucket>.+)\.storage\.googleapis\.com")),
    ("gs", pattern(r"storage\.googleapis\.com|storage\.cloud\.google\.com")),
    ("az", pattern(r"(?P<account>[a-z0-9]+)\.(?:blob|dfs)\.core\.windows\.net")),
)
"""Hosts that serve buckets over https. Where the pattern has no group for the bucket, the first segment of the path names it."""


@bundle(kw_only=False, eq=True)
class BucketHost:
    """A host that serves buckets of a provider over https; what the host does not name is None."""

    kind: str
    bucket: str | None
    account: str | None
    region: str | None


@bundle(kw_only=False, eq=True)
class BucketPlace:
    """A bucket or container of a provider, and a path in it.

    Attributes
    ----------
    kind
        ``"s3"``, ``"gs"`` or ``"az"``.
    name
        Bucket or container; None: all containers of the account.
    account
        Storage account of Azure; None where the href does not name it.
    path
        The path below the bucket, not encoded.
    is_web
        Whether the place was spelled as the https address that its provider gives it.
    region
        Region of AWS that the host names.
    """

    kind: str
    name: str | None
    account: str | None
    path: str
    is_web: bool = False
    region: str | None = None

    def covers(self, other: BucketPlace) -> bool:
        """Return whether another place is this one or below it; an account that `other` does not name may be any."""
        if self.kind != other.kind or (self.account != other.account and other.account is not None):
            return False
        if self.name is None:
            return self.account == other.account
        rest = other.path[len(self.path) :]
        return (
            self.name == other.name
            and other.path.startswith(self.path)
            and (not self.path or not rest or self.path[-1] == "/" or rest[0] == "/")
        )

    def equals(self, other: BucketPlace) -> bool:
        """Return whether another place is this one, in whatever spelling."""
        return (self.bucket, self.path) == (other.bucket, other.path)

    @property
    def bucket(self) -> str:
        """The bucket, spelled with the scheme of its provider; equal for all spellings of one bucket.

        Examples
        --------
        >>> bucket_place("https://b.s3.us-west-2.amazonaws.com/a.tif").bucket
        's3://b'
        >>> bucket_place("https://acct.blob.core.windows.net/c/a.tif").bucket
        'abfss://c@acct.dfs.core.windows.net'
        """
        if self.account is None:
            return f"{self.kind}://{self.name or ''}"
        host = self.account if "." in self.account else f"{self.account}.dfs.core.windows.net"
        return f"abfss://{self.name or ''}@{host}"


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


def kind_of(scheme: str) -> str:
    """Return the kind of provider whose buckets a scheme names.

    Examples
    --------
    >>> kind_of("s3a"), kind_of("abfss")
    ('s3', 'az')
    """
    return _KINDS[scheme]


def bucket_place(href: str) -> BucketPlace | None:
    """Return the place in a bucket that an href names; None for any other href.

    Examples
    --------
    >>> bucket_place("s3://b/a%20b.tif") == bucket_place("s3a://b/a%20b.tif")
    True
    >>> bucket_place("https://storage.googleapis.com/b/x/a%20b.tif?generation=1").path
    'x/a b.tif'
    >>> bucket_place("https://s3.us-west-2.amazonaws.com/")
    """
    place = origin(href)
    scheme, _, host = place.partition("://")
    if (kind := _KINDS.get(scheme)) is not None:
        rest = href.split("://", 1)[1]
        path = rest[len(host) :].removeprefix("/")
        account = None
        if kind == "az" and "@" in host:
            host, _, served = host.rpartition("@")
            account = _account(served)
            return None if "@" in host else BucketPlace(kind, host or None, account, path)
        return BucketPlace(kind, host, account, path) if host else None
    if scheme != "https" or (served_by := _bucket_host(host)) is None or "@" in href.split("/", 3)[2]:
        return None
    pieces = href.split("/", 3)
    path = pieces[3].partition("?")[0].partition("#")[0] if len(pieces) > 3 else ""
    name = served_by.bucket
    if name is None:
        name, _, path = path.partition("/")
        name = unquote(name)
        if not name and served_by.account is None:
            return None
    return BucketPlace(
        served_by.kind, name or None, served_by.account, unquote(path), is_web=True, region=served_by.region
    )


def own_prefix(href: str) -> str:
    """Return the beginning of an href that names its bucket, or its host, as it is spelled.

    Examples
    --------
    >>> own_prefix("s3://b/x/a.tif"), own_prefix("https://host/x/a.tif")
    ('s3://b/', 'https://host/')
    >>> own_prefix("https://s3.us-west-2.amazonaws.com/b/x/a.tif")
    'https://s3.us-west-2.amazonaws.com/b/'
    """
    served = _bucket_host(origin(href).partition("://")[2])
    is_by_path = served is not None and served.bucket is None and href[:5].lower() == "https"
    return "/".join(href.split("/")[: 4 if is_by_path else 3]) + "/"


@lru_cache(maxsize=1_024)
def bucket_host(host: str) -> BucketHost | None:
    """Return which buckets a host serves over https; None for a host of no provider.

    Examples
    --------
    >>> bucket_host("usgs-landsat.s3.us-west-2.amazonaws.com")
    BucketHost(kind='s3', bucket='usgs-landsat', account=None, region='us-west-2')
    """
    for kind, of_host in _BUCKET_HOSTS:
        if (found := of_host.fullmatch(host)) is not None:
            groups = found.groupdict()
            region = groups.get("region")
            if region is not None and not _REGION.fullmatch(region):
                region = None
            return BucketHost(kind, groups.get("bucket"), groups.get("account"), region)
    return None


@lru_cache(maxsize=1_024)
def _bucket_host(host: str) -> BucketHost | None:
    """Return which buckets a host serves, with its port and as a caller may write it."""
    name, _, port = host.lower().partition(":")
    return bucket_host(name.removesuffix(".")) if port in ("", "443") else None


def _account(served: str) -> str:
    """Return the account of a host after the "@": its name, or the whole host in another cloud than the public one."""
    name, _, suffix = served.lower().partition(".")
    return name if suffix in ("", "dfs.core.windows.net", "blob.core.windows.net") else served.lower()
