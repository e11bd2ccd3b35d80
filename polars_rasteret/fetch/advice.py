"""What can a caller do where a place refuses a request?

The words depend on the place: who serves it, and what collections told of it. What went wrong belongs in `failures`.
"""

from __future__ import annotations

from polars_rasteret.fetch.hints import EARTHDATA, PLANETARY_COMPUTER, REQUESTER_PAYS, hint_for
from polars_rasteret.fetch.places import bucket_place, origin
from polars_rasteret.hrefs import shown
from polars_rasteret.patterns import pattern

_EARTHDATA_HOST = pattern(r"(?:[a-z0-9-]+\.)+nasa\.gov|e4ftl01\.cr\.usgs\.gov|n5eil01u\.ecs\.nsidc\.org")
EARTHDATA_LOGIN = "urs.earthdata.nasa.gov"
_EARTHDATA_WAYS = (
    "NASA's archives want an Earthdata login. Anywhere: pr.configure_store({place!r}, "
    "storage_options={{'headers': {{'Authorization': 'Bearer ...'}}}}) with a token of urs.earthdata.nasa.gov. In us-west-2: "
    "read s3:// hrefs with credential_provider=NasaEarthdataCredentialProvider(...) of obstore.auth.earthdata."
)
_NO_PUBLIC_ACCESS = "PublicAccessNotPermitted"


def next_step(href: str, detail: str = "") -> str:
    """Return what the caller can do where a place refuses to give a file without other rights.

    Parameters
    ----------
    href
        The file.
    detail
        Words of the answer that may be repeated, such as the code of the store.

    Examples
    --------
    >>> next_step("https://host/a.tif")
    'Give credentials: pr.configure_store(prefix, storage_options=... or credential_provider=...).'
    """
    place = bucket_place(href)
    hint = hint_for(href, place)
    signing = None if hint is None else hint.signing
    if signing == EARTHDATA or is_earthdata(href):
        return earthdata_ways(href)
    where = "prefix" if place is None else repr(_prefix(href))
    if signing == REQUESTER_PAYS:
        return (
            f"Who reads this bucket pays for it (requester pays). If you want to: pr.configure_store({where}, "
            "storage_options={'aws_request_payer': 'true', ...}) with your keys or profile."
        )
    if _NO_PUBLIC_ACCESS in detail or signing == PLANETARY_COMPUTER or (place is not None and place.kind == "az"):
        return (
            f"Give credentials: pr.configure_store({where}, credential_provider=... or storage_options=...). For files of the "
            "Planetary Computer that is credential_provider='planetary-computer'."
        )
    return f"Give credentials: pr.configure_store({where}, storage_options=... or credential_provider=...)."


def earthdata_ways(href: str) -> str:
    """Return both ways to read a file of NASA's archives."""
    return _EARTHDATA_WAYS.format(place=_prefix(href))


def is_earthdata(href: str) -> bool:
    """Return whether a host is one of NASA's archives that want an Earthdata login."""
    scheme, _, host = origin(href).partition("://")
    return scheme in ("http", "https") and _EARTHDATA_HOST.fullmatch(host.partition(":")[0].lower()) is not None


def is_earthdata_login(href: str) -> bool:
    """Return whether an href is the page where one logs in to Earthdata."""
    return origin(href).partition("://")[2].partition(":")[0].lower() == EARTHDATA_LOGIN


def _prefix(href: str) -> str:
    place = bucket_place(href)
    if place is not None and place.is_web and place.account is not None:
        return f"https://{place.account}.blob.core.windows.net/{place.name}/"
    return shown(f"{origin(href)}/") if place is None or place.is_web else f"{place.bucket}/"
