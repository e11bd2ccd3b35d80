"""Through which clients is one HTTP origin read, and a bucket that goes by its https address?

`HttpSource` chooses between the clients per request; here they are made, so that none of them reaches a place that was not
checked.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from obstore import store as obstore_store

from polars_rasteret.fetch.addresses import reaches_of, refuse_link
from polars_rasteret.fetch.signing import unsigned
from polars_rasteret.fetch.sources.byte_source import Answer, GetByRead
from polars_rasteret.fetch.sources.cloud import httpx_client
from polars_rasteret.fetch.sources.httpx_source import HttpSource, HttpxSource, decoded_path, needs_exact_url
from polars_rasteret.fetch.sources.obstore_source import NO_PROXY_URL, NO_RETRIES, ObstoreSource, client_options

if TYPE_CHECKING:
    from collections.abc import Mapping


class WebBucketSource(GetByRead):
    """A bucket that goes by its https address: read through the store of its provider, which signs the requests.

    An href that such a store cannot ask for as it is written (a version in its query) is read as a URL, unsigned.
    """

    def __init__(self, bucket: ObstoreSource, web: HttpSource) -> None:
        self._bucket = bucket
        self._web = web

    def read(
        self, href: str, byte_start: int, byte_stop: int, *, etag: str | None, timeout_s: float, attempt: int
    ) -> Answer:
        """Return the answer for one range."""
        plain = unsigned(href)  # the credentials of the store outlive a signature
        source = self._web if needs_exact_url(plain) else self._bucket
        return source.read(
            href if source is self._web else plain,
            byte_start,
            byte_stop,
            etag=etag,
            timeout_s=timeout_s,
            attempt=attempt,
        )


def http_source(origin: str, client: Mapping[str, Any], *, is_trusted: bool) -> HttpSource:
    """Return the source of one HTTP origin.

    Parameters
    ----------
    origin
        Scheme and host.
    client
        Options of the HTTP client.
    is_trusted
        Whether the caller configured the origin; it may lead to any address then.
    """
    served = origin.partition("://")[2]
    host = served[1:].partition("]")[0] if served.startswith("[") else served.partition(":")[0]
    is_proxied = "proxy_url" in client or _goes_through_proxy(origin, host)
    thorough = HttpxSource(
        make_client=lambda: httpx_client(client), check_peer=None if is_trusted or is_proxied else refuse_link
    )

    def quick(place: str, only_host: str, **more: Any) -> ObstoreSource:
        # obstore follows redirects by itself, and has no option against it. Its requests to another host go to a proxy that
        # cannot exist. So they fail, and the range is asked for again through httpx, where every redirect is checked.
        stays = {"allow_http": place.startswith("http:"), "proxy_url": NO_PROXY_URL, "proxy_excludes": only_host}

        def make_store(timeout_s: float) -> Any:
            options = client_options(timeout_s, **{**stays, **client, **more})
            return obstore_store.HTTPStore(place, client_options=options, retry_config=NO_RETRIES)

        return ObstoreSource(make_store, decoded_path)

    def quick_at(address: str) -> ObstoreSource:
        port = served.partition(":")[2] or "80"
        written = f"[{address}]" if ":" in address else address
        return quick(f"http://{written}:{port}", address, default_headers={"Host": served})

    if is_proxied or "default_headers" in client:
        return HttpSource(None, thorough)
    # obstore looks names up by itself: a name server could answer otherwise the second time. Over TLS a certificate tells; a
    # plain http server is asked by obstore under its name if it is this machine or configured, else at the address that was
    # checked.
    if is_trusted or origin.startswith("https:") or reaches_of(host, is_looked_up=False):
        return HttpSource(quick(origin, host), thorough)
    return HttpSource(None, thorough, quick_at)


def _goes_through_proxy(origin: str, host: str) -> bool:
    """Return whether the environment names a proxy for this host; then the proxy looks up the address, not this process."""
    if (
        os.name == "posix"
        and sys.platform != "darwin"
        and not any(name.lower().endswith("_proxy") for name in os.environ)
    ):
        return False  # the import below takes longer than a first request
    import urllib.request

    proxies = urllib.request.getproxies()
    return bool({origin.partition(":")[0], "all"} & proxies.keys()) and not urllib.request.proxy_bypass(host)
