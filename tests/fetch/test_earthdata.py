"""Are NASA's archives read with a token, which stays with the archive, and does a refusal name both ways?"""

from __future__ import annotations

import json
import re

import httpx
import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch.hints import Hint, forget_hints, register_hints
from polars_rasteret.fetch.sources.settings import is_configured, setting_for
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.testing import make_cog
from tests.support.planted_secrets import planted, secrets_in
from tests.support.range_server import Fault, RangeServer

FILE = make_cog(np.arange(64, dtype="uint8").reshape(8, 8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
BOTH_WAYS = r"Authorization': 'Bearer.*urs.earthdata.nasa.gov.*NasaEarthdataCredentialProvider"
LOGIN = "https://urs.earthdata.nasa.gov/oauth/authorize?client_id=x&response_type=code"
WINDOW = pl.col("b").raster.read_window(window=(0, 1, 0, 2)).struct.field("pixels")


@pytest.fixture
def bucket():
    """A bucket that refuses an Authorization header beside the signature in the URL, as S3 does."""
    with RangeServer({"a.tif": FILE}) as server:
        server.fault = lambda seen: (
            Fault(status=400) if "Authorization" in seen.headers or "X-Amz-Signature" not in seen.target else None
        )
        yield server


@pytest.fixture
def archive(bucket):
    """An archive that sends whoever has the token on to a signed URL of the bucket, and others away."""
    with RangeServer({}) as server:
        server.token = planted("e4rthdata/bearer+token=")
        server.signature = planted("s1gned/by+archive=x")
        on = f"{bucket.origin}/a.tif?X-Amz-Signature={server.signature}&X-Amz-Expires=3600"

        def answer(seen):
            if seen.headers.get("Authorization") == f"Bearer {server.token}":
                return Fault(status=303, headers={"Location": on})
            return server.refusal

        server.refusal = Fault(status=401)
        server.fault = answer
        yield server
        pr.configure_store(server.origin)
    forget_hints()


@pytest.mark.parametrize("how", ["storage_options", "client"])
def test_the_header_is_dropped_where_the_archive_sends_on_to_a_signed_url(how, archive, bucket, tmp_path):
    headers = {"Authorization": f"Bearer {archive.token}"}
    with httpx.Client(headers=headers) as client:
        pr.configure_store(
            f"{archive.origin}/",
            **({"client": client} if how == "client" else {"storage_options": {"headers": headers}}),
        )
        scenes = pr.build_from_files([f"{archive.origin}/a.tif"], bands=["b"], into=tmp_path / "c", on_error="raise")
        assert scenes.select(WINDOW).collect().item().to_list() == [0, 1]
        pr.configure_store(f"{archive.origin}/")
    assert {seen.headers.get("Authorization") for seen in bucket.requests} == {None}
    assert scenes.collect()["b"].struct.field("href").item() == f"{archive.origin}/a.tif"


@pytest.mark.parametrize("into", [False, True])
def test_a_build_sends_its_headers_to_the_servers_that_the_caller_names(into, archive, bucket, tmp_path):
    headers = {"Authorization": f"Bearer {archive.token}"}
    where = {"into": tmp_path / "c"} if into else {}
    scenes = pr.build_from_files(
        [f"{archive.origin}/a.tif"], bands=["b"], on_error="raise", storage_options={"headers": headers}, **where
    )
    assert scenes.select(WINDOW).collect().item().to_list() == [0, 1]
    assert {seen.headers.get("Authorization") for seen in bucket.requests} == {None}


def test_a_build_keeps_its_headers_from_servers_that_a_stranger_names(archive):
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "geometry": None,
        "properties": {"datetime": "2024-05-01T10:00:00Z"},
        "assets": {"b": {"href": f"{archive.origin}/a.tif", "roles": ["data"]}},
    }
    options = {"headers": {"Authorization": f"Bearer {archive.token}"}}
    with RangeServer({"item.json": json.dumps(item).encode()}) as stranger:
        pr.build_from_stac(stranger.url("item.json"), storage_options=options)
    assert {seen.headers.get("Authorization") for seen in archive.requests} == {None}
    assert not is_configured(f"{archive.origin}/a.tif")
    nasa = "https://data.lpdaac.earthdatacloud.nasa.gov/a.tif"
    remember_stores([nasa], options, None, provenance={nasa: Provenance.REMOTE})
    assert setting_for(nasa).storage_options == options
    pr.configure_store("https://data.lpdaac.earthdatacloud.nasa.gov/")


def test_a_build_does_not_replace_what_is_configured_for_a_server(archive):
    with httpx.Client() as client:
        pr.configure_store(f"{archive.origin}/", client=client)
        remember_stores([f"{archive.origin}/a.tif"], {"headers": {"X-Mine": "1"}}, None)
        assert setting_for(f"{archive.origin}/a.tif").client is client


def test_headers_make_no_link_local_server_one_that_is_read():
    remember_stores(["http://169.254.169.254/a.tif"], {"headers": {"X-Mine": "1"}}, None)
    assert not is_configured("http://169.254.169.254/a.tif")


def refused(href):
    with pytest.raises(FetchError) as caught, pr.options(retries=0):
        pr.build_from_files([href], bands=["b"], on_error="raise")
    return str(caught.value)


def test_a_redirect_to_the_login_names_both_ways_and_is_not_followed(archive):
    archive.refusal = Fault(status=302, headers={"Location": LOGIN})
    with pytest.raises(FetchError, match=rf"a log-in page.*{BOTH_WAYS}"), pr.options(retries=0):
        pr.build_from_files([f"{archive.origin}/a.tif"], on_error="raise")


def test_a_login_that_is_configured_is_followed(archive):
    archive.refusal = Fault(status=302, headers={"Location": LOGIN})
    asked = []

    def login(request):
        asked.append(request.url.host)
        return httpx.Response(403)

    with httpx.Client(transport=httpx.MockTransport(login)) as client:
        pr.configure_store("https://urs.earthdata.nasa.gov/", client=client)
        refused(f"{archive.origin}/a.tif")
        pr.configure_store("https://urs.earthdata.nasa.gov/")
    assert asked == ["urs.earthdata.nasa.gov"]


@pytest.mark.parametrize(
    "host", ["data.lpdaac.earthdatacloud.nasa.gov", "cumulus.asf.earthdatacloud.nasa.gov", "e4ftl01.cr.usgs.gov"]
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_an_archive_names_both_ways(host, status):
    token = planted("e4rthdata/expired+token=")
    with httpx.Client(
        transport=httpx.MockTransport(lambda _request: httpx.Response(status)), headers={"Authorization": token}
    ) as client:
        pr.configure_store(f"https://{host}/", client=client)
        message = refused(f"https://{host}/a.tif")
        pr.configure_store(f"https://{host}/")
    assert f"pr.configure_store('https://{host}/'" in message
    assert re.search(BOTH_WAYS, message)
    assert secrets_in(message) == []


def test_a_hint_makes_any_host_an_archive_in_messages(archive):
    assert "Earthdata" not in refused(f"{archive.origin}/a.tif")
    register_hints({f"{archive.origin}/x/": Hint(signing="earthdata")})
    assert "Earthdata" in refused(f"{archive.origin}/a.tif")
    assert "NasaEarthdataCredentialProvider" in refused(f"{archive.origin}/a.tif")
