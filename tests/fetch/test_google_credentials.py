"""Are buckets of Google read with the token of a provider of either kind, in either spelling?"""

from __future__ import annotations

import os

import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.sources.stores import source_for
from tests.support.planted_secrets import planted
from tests.support.range_server import RangeServer

TOKEN = planted("g00gle/bearer+token=")
WEB, SCHEME = "https://storage.googleapis.com/gs-scenes/", "gs://gs-scenes/"


@pytest.fixture
def server(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GOOGLE_")]:
        monkeypatch.delenv(name)
    with RangeServer({"gs-scenes/a b.tif": b"II*."}) as one:
        yield one
    pr.configure_store(WEB)
    pr.configure_store(SCHEME)


@pytest.mark.parametrize(
    "provider",
    [lambda: {"token": TOKEN, "expires_at": None}, lambda: ({"bearer_token": TOKEN}, None), None],
    ids=["obstore", "Polars", "none"],
)
@pytest.mark.parametrize(
    ("prefix", "href"), [(WEB, f"{WEB}a%20b.tif"), (SCHEME, f"{SCHEME}a b.tif"), (WEB, f"{SCHEME}a b.tif")]
)
def test_a_bucket_is_read_with_what_the_provider_gives(provider, prefix, href, server):
    pr.configure_store(prefix, storage_options={"google_base_url": server.origin}, credential_provider=provider)
    answer = source_for(href).read(href, 0, 4, etag=None, timeout_s=5, attempt=0)
    assert bytes(answer.data) == b"II*."
    sent = {name.lower(): value for name, value in server.requests[-1].headers.items()}
    assert sent.get("authorization") == (None if provider is None else f"Bearer {TOKEN}")
    assert server.requests[-1].path == "gs-scenes/a b.tif"
