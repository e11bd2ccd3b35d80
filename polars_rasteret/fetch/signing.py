"""Which part of an href is a key, and where is the key kept?

A signed query or user information opens a file to everybody who holds the text, so neither may reach a table. `kept_back` cuts
the key from an href. The whole href stays in this process, which reads with it (`as_signed`); it is never pickled or written.
`SIGNING` lists the parameters by which the signing schemes are known.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from polars_rasteret.bundles import bundle
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable


@bundle(kw_only=False)
class Scheme:
    """The query parameters of one signing scheme, in lower case.

    Any of `proofs` marks a query as signed; then `companions` are cut with them.
    """

    proofs: frozenset[str]
    companions: frozenset[str] = frozenset()


def _scheme(proofs: str, companions: str = "") -> Scheme:
    return Scheme(frozenset(proofs.split()), frozenset(companions.split()))


SIGNING: dict[str, Scheme] = {
    "AWS Signature Version 4 (S3, R2, MinIO, Ceph, Wasabi)": _scheme(
        "x-amz-signature x-amz-credential x-amz-security-token",
        "x-amz-algorithm x-amz-date x-amz-expires x-amz-signedheaders x-amz-content-sha256 x-id",
    ),
    "AWS Signature Version 2": _scheme("awsaccesskeyid signature", "expires x-amz-security-token"),
    "Google Cloud Storage V4": _scheme(
        "x-goog-signature x-goog-credential x-goog-security-token",
        "x-goog-algorithm x-goog-date x-goog-expires x-goog-signedheaders",
    ),
    "Google Cloud Storage V2, Google CDN": _scheme(
        "googleaccessid signature edge-cache-token", "expires keyname urlprefix"
    ),
    "Azure shared access signature, Planetary Computer": _scheme(
        "sig",
        "sv sr sp st se si sip spr ss srt sdd ses skoid sktid skt ske sks skv skdutid saoid suoid scid rscc rscd rsce rscl rsct",
    ),
    "CloudFront, Earthdata": _scheme("key-pair-id signature", "policy expires hash-algorithm a-userid"),
    "Akamai EdgeAuth": _scheme("__token__ hdnea hdnts hdntl hmac __gda__", "exp acl st data ip"),
    "Alibaba OSS and CDN": _scheme(
        "ossaccesskeyid x-oss-signature x-oss-credential x-oss-security-token security-token auth_key",
        "expires signature x-oss-date x-oss-expires x-oss-signature-version x-oss-additional-headers",
    ),
    "Tencent COS": _scheme(
        "q-signature q-ak x-cos-security-token",
        "q-sign-algorithm q-sign-time q-key-time q-header-list q-url-param-list sign",
    ),
    "Huawei OBS": _scheme("accesskeyid x-obs-signature x-obs-security-token", "expires signature x-obs-date"),
    "OpenStack Swift TempURL": _scheme(
        "temp_url_sig", "temp_url_expires temp_url_prefix temp_url_ip_range temp_url_inline"
    ),
    "Backblaze, Baidu, keys and tokens as a parameter": _scheme(
        "authorization auth token access_token accesstoken id_token refresh_token auth_token authtoken jwt bearer sas sas_token "
        "apikey api_key api-key x-api-key subscription-key subscription_key ocp-apim-subscription-key maxar_api_key pl_api_key "
        "client_secret secret secret_key secretkey access_key accesskey session_token sessionid session_id password passwd pwd "
        "credential credentials signature",
        "expires expiry client_id",
    ),
}

_URL = pattern(r"([A-Za-z][A-Za-z0-9+.\-]+://)([^/?#\\]*)(.*)", re.DOTALL)
_URL_IN_TEXT = pattern(r"[A-Za-z][A-Za-z0-9+.\-]+://[^\s\"'<>`]+")
_PORT = pattern(r"^[^:]*(?::\d*)?$|^\[[^\]]*\](?::\d*)?$|@")
_CONTAINER = pattern(r"[A-Za-z0-9$\-]+")
_AZURE = ("az://", "azure://", "adl://", "abfs://", "abfss://")
_BETWEEN = pattern(r"(&amp;|&|;(?=[^&;=]*=))", re.IGNORECASE)
"""The separators of parameters; a lone ";" belongs to a value."""
_MOST_NESTED = 4
"""How deep URLs are searched that are values of parameters of other URLs."""

_signed: dict[str, str] = {}
"""Href without its key, to the href with the key; lives as long as the process."""


def unsigned(href: str) -> str:
    """Return an href without its key: user information, and the parameters of a scheme in `SIGNING`.

    Examples
    --------
    >>> unsigned("https://host/a.tif?versionId=3&sv=2024-11-04&sp=r&sig=abc")
    'https://host/a.tif?versionId=3'
    >>> unsigned("https://me:pass@host/a.tif"), unsigned("https://host/a.tif?sp=north")
    ('https://host/a.tif', 'https://host/a.tif?sp=north')
    """
    return _unsigned(href, _MOST_NESTED) if "?" in href or "@" in href or "#" in href else href


def kept_back(href: str) -> str:
    """Return `unsigned(href)`.

    Where a key was cut, this process reads the file with the whole href from now on.
    """
    plain = unsigned(href)
    if plain != href:
        _signed[plain] = href
    return plain


def keys_kept_back_in(text: str) -> str:
    """Return a text in which every URL is replaced by its `kept_back` form."""
    return _URL_IN_TEXT.sub(lambda found: kept_back(found[0]), kept_back(text))


def forget_keys(prefix: str, is_below: Callable[[str], bool] = lambda _href: False) -> None:
    """Forget the keys of files below a prefix, in any spelling that `is_below` knows: their store has been configured anew."""
    for href in [one for one in list(_signed) if one.startswith(prefix) or is_below(one)]:
        _signed.pop(href, None)


def as_signed(href: str) -> str:
    """Return the href to read: with its key, if one was kept back."""
    return _signed.get(href, href) if _signed else href


def _unsigned(href: str, depth: int) -> str:
    found = _URL.fullmatch(href)
    if found is None or href[:5].lower() == "file:":
        return href
    scheme, host, rest = found.groups()
    if "@" in rest and not _PORT.search(host):  # a password with a "/"
        host, rest = host + rest.rpartition("@")[0] + "@", rest.rpartition("@")[2]
        more = _URL.fullmatch(f"{scheme}{rest}")
        assert more is not None
        host, rest = host + more[2], more[3]
    if "@" in host:
        user, _, host = host.rpartition("@")
        if scheme.lower() in _AZURE and _CONTAINER.fullmatch(user):
            host = f"{user}@{host}"
    path, mark, query = rest.partition("?")
    query, hash_, fragment = query.partition("#")
    if not mark:
        path, hash_, fragment = rest.partition("#") if scheme.lower().startswith("http") else (rest, "", "")
    query, fragment = _without_keys(query, depth), _without_keys(fragment, depth)
    return f"{scheme}{host}{path}{mark if query else ''}{query}{hash_ if fragment else ''}{fragment}"


def _without_keys(query: str, depth: int) -> str:
    if not query:
        return query
    pieces = _BETWEEN.split(query)
    names = [_name(piece) for piece in pieces[::2]]
    present = frozenset(names)
    cut: set[str] = set()
    for scheme in SIGNING.values():
        if present & scheme.proofs:
            cut |= scheme.proofs | scheme.companions
    kept = [
        (separator, _without_inner_keys(piece, depth))
        for name, piece, separator in zip(names, pieces[::2], ["", *pieces[1::2]], strict=True)
        if name not in cut
    ]
    return "".join(f"{separator if at else ''}{piece}" for at, (separator, piece) in enumerate(kept))


def _name(piece: str) -> str:
    return unquote_plus(piece.partition("=")[0]).strip().lower()


def _without_inner_keys(piece: str, depth: int) -> str:
    """Return a parameter without the keys of the URL that is its value (``url=https%3A%2F%2F...``)."""
    name, equals, value = piece.partition("=")
    inner = unquote_plus(value)
    if depth == 0 or "://" not in inner:
        return piece
    plain = _unsigned(inner, depth - 1)
    if plain == inner:
        return piece
    return f"{name}{equals}{quote(plain, safe='')}"
