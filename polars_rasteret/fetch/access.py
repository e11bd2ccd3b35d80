"""Which places may one request reach?

The caller does not name every href: a collection may come from a stranger, and a server may redirect a request. So `read_range`
checks here, before each request, every href and every place that a redirect leads to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.addresses import Reach, reach_of, reaches_of, refusal, written_address
from polars_rasteret.fetch.advice import earthdata_ways, is_earthdata_login
from polars_rasteret.fetch.allowed_prefixes import is_within
from polars_rasteret.fetch.failures import MOST_REDIRECTS, RefusedHrefError, sent_on_too_often
from polars_rasteret.fetch.places import origin
from polars_rasteret.fetch.sources.settings import hinted_endpoint, is_configured, is_served_elsewhere
from polars_rasteret.hrefs import Provenance, shown
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from polars_rasteret.fetch.sources.byte_source import Terms

_ELSEWHERE = frozenset({Reach.ELSEWHERE})
_PLAIN_HOST = pattern(r"([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?")


@dataclass(slots=True, eq=False, repr=False)
class Redirects:
    """The number of redirects that a request may still follow."""

    left: int = MOST_REDIRECTS

    def followed(self, href: str, location: str, terms: Terms | None) -> str:
        """Return the href that a redirect leads to.

        Raises
        ------
        FetchError
            After too many redirects, or when the new place is no URL.
        RefusedHrefError
            When the new place may not be reached.
        """
        if not self.left:
            raise sent_on_too_often(href)
        self.left -= 1
        import httpx

        try:
            target = str(httpx.URL(href).join(location))
        except (httpx.InvalidURL, ValueError):
            raise FetchError(
                f"{shown(href)}: the server sent the request on to something that is no URL. Check the URL."
            ) from None
        if origin(target).partition("://")[0] not in ("http", "https"):
            raise RefusedHrefError(
                f"{shown(href)}: the server sent the request on to {shown(target)}; a redirect is followed to http and https only"
            )
        if is_earthdata_login(target) and not is_configured(target):
            raise FetchError(f"{shown(href)}: the server sent the request on to a log-in page. {earthdata_ways(href)}")
        check_href(target, terms, sent_by=href)
        return target


def check_href(href: str, terms: Terms | None, *, sent_by: str | None = None) -> None:
    """Refuse an href that the caller did not allow, or that its provenance may not name.

    Raises
    ------
    RefusedHrefError
        When the href is refused; the message names the way to allow it.
    """
    if terms is not None:
        if terms.allowed is not None:
            if not is_within(href, terms.allowed, is_elsewhere=is_served_elsewhere):
                raise RefusedHrefError(
                    f"{_way(href, sent_by)} is outside of what pr.options(allowed_hrefs=...) allows: "
                    f"{', '.join(map(shown, terms.allowed)) or 'nothing'}. Add its prefix if you trust it."
                )
        elif terms.provenance is not Provenance.HERE and origin(href) == "file" and not is_configured(href):
            raise RefusedHrefError(
                f"{shown(href)} is a file of this machine, named by a collection from elsewhere. If that is meant, allow it: "
                "pr.options(allowed_hrefs=['/folder/', 'https://host/', ...])."
            )
    _check_host(href, terms, sent_by)
    if (endpoint := hinted_endpoint(href)) is not None:
        _check_endpoint(href, endpoint, terms)


def check_peer(href: str, address: str, terms: Terms | None) -> None:
    """Refuse an answer from an address that this request may not reach.

    The name of the host led elsewhere when it was looked up, before the connection was made.

    Raises
    ------
    RefusedHrefError
        When the address is refused; the message names it.
    """
    peer = written_address(address)
    if peer is None or (reach := reach_of(peer)) is Reach.ELSEWHERE or is_configured(href):
        return
    if reach is Reach.LINK or _is_of_remote_collection(terms):
        raise refusal(f"{shown(href)} (at {peer})", reach)


def _check_endpoint(href: str, endpoint: str, terms: Terms | None) -> None:
    """Refuse the endpoint that a collection names for its bucket, as if it had named a file there."""
    named = f"{shown(href)}: its collection says that the bucket is at {shown(endpoint)}, which"
    if terms is not None and terms.allowed is not None and not is_within(endpoint, terms.allowed):
        raise RefusedHrefError(
            f"{named} is outside of what pr.options(allowed_hrefs=...) allows. Add its prefix if you trust it."
        )
    host = _host_of(endpoint)
    if host is None or (endpoint.lower().startswith("http:") and written_address(host) is None):
        # Without TLS, a name server could answer otherwise when the store asks for the address again.
        raise RefusedHrefError(
            f"{named} is neither an https URL nor an address. If that is meant, name it: "
            "pr.configure_store(prefix, storage_options={'aws_endpoint_url': ...})."
        )
    reaches = reaches_of(host)
    if Reach.LINK in reaches or (Reach.LOOPBACK in reaches and _is_of_remote_collection(terms)):
        raise refusal(named, Reach.LINK if Reach.LINK in reaches else Reach.LOOPBACK)


def _check_host(href: str, terms: Terms | None, sent_by: str | None) -> None:
    host = _host_of(href)
    if host is None:
        return
    reaches = reaches_of(host)
    if reaches <= _ELSEWHERE or is_configured(href):
        return
    if Reach.LINK in reaches:
        raise refusal(_way(href, sent_by), Reach.LINK)
    is_sent_in = sent_by is not None and (terms is None or terms.allowed is None) and not _is_loopback(sent_by)
    if Reach.LOOPBACK in reaches and (is_sent_in or _is_of_remote_collection(terms)):
        raise refusal(_way(href, sent_by), Reach.LOOPBACK)


def _is_of_remote_collection(terms: Terms | None) -> bool:
    return terms is not None and terms.allowed is None and terms.provenance is Provenance.REMOTE


def _is_loopback(href: str) -> bool:
    host = _host_of(href)
    return host is not None and reaches_of(host) == {Reach.LOOPBACK}


def _host_of(href: str) -> str | None:
    """Return the host that a client would connect to; None for an href that is not http(s)."""
    host = _host_at(origin(href))
    if host != "":
        return host
    import httpx

    try:
        return httpx.URL(href).host
    except (httpx.InvalidURL, ValueError):
        return ""  # the client refuses it too


@lru_cache(maxsize=4_096)
def _host_at(place: str) -> str | None:
    """Return the host of an origin, if all clients parse the same host from it.

    Else an empty text; None for an origin that is not http(s).
    """
    scheme, _, host = place.partition("://")
    if scheme not in ("http", "https"):
        return None
    found = _PLAIN_HOST.fullmatch(host)
    return "" if found is None else found[1]


def _way(href: str, sent_by: str | None) -> str:
    return (
        shown(href) if sent_by is None else f"{shown(sent_by)}: the server sent the request on to {shown(href)}, which"
    )
