"""Are containers of Azure read with tokens: of any provider, and of the Planetary Computer by themselves?"""

from __future__ import annotations

import datetime as dt
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from obstore.auth.planetary_computer import PlanetaryComputerCredentialProvider

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.hints import HINTS_KEY, Hint, forget_hints, planetary_computer_hints, register_hints
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.fetch.sources import cloud, credentials
from polars_rasteret.fetch.sources.planetary_computer import PlanetaryComputerToken
from polars_rasteret.fetch.sources.stores import source_for
from polars_rasteret.testing import make_cog
from tests.support.blob_server import TOKENS, BlobServer
from tests.support.planted_secrets import planted, secrets_in, secrets_in_file
from tests.support.range_server import Fault

WEB = "https://modiseuwest.blob.core.windows.net/modis-061-cogs/"
OTHER = "https://modiseuwest.blob.core.windows.net/other/"
SPELLINGS = {
    "https": WEB,
    "abfss": "abfss://modis-061-cogs@modiseuwest.dfs.core.windows.net/",
    "az": "az://modis-061-cogs/",
}
FILE = make_cog(np.arange(64, dtype="uint8").reshape(8, 8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
TIMEOUTS = (5.0, 6.0, 7.0, 8.0, 9.0)


@pytest.fixture
def server(monkeypatch):
    """An Azure with two containers of one account, that environment and options lead to."""
    for name in [name for name in os.environ if name.startswith(("AZURE_", "PC_SDK_"))]:
        monkeypatch.delenv(name)
    forget_hints()
    cloud.planetary_computer_credentials.cache_clear()
    with BlobServer({f"modiseuwest/{name}/a b.tif": FILE for name in ("modis-061-cogs", "other")}) as one:
        monkeypatch.setenv("PC_SDK_SAS_URL", f"{one.origin}/{TOKENS}")
        one.options = {"azure_storage_endpoint": f"{one.origin}/modiseuwest"}
        yield one
    forget_hints()
    cloud.planetary_computer_credentials.cache_clear()
    for prefix in (WEB, OTHER, *SPELLINGS.values()):
        pr.configure_store(prefix)


def name_of(prefix):
    return f"{prefix}a%20b.tif" if prefix.startswith("https") else f"{prefix}a b.tif"


def built(prefix, **how):
    with pr.options(retries=0):
        return pr.build_from_files([name_of(prefix)], bands=["b"], on_error="raise", **how)


def pixels(scenes):
    window = pl.col("b").raster.read_window(window=(0, 1, 0, 2)).struct.field("pixels")
    return scenes.select(window).collect().item().to_list()


def obstores(_server):
    return PlanetaryComputerCredentialProvider(account_name="modiseuwest", container_name="modis-061-cogs")


def callables(server):
    return lambda: {"sas_token": server.new_token("modiseuwest", "modis-061-cogs")["token"], "expires_at": None}


def named(_server):
    return "planetary-computer"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    "provider", [obstores, callables, lambda _server: "planetary-computer"], ids=["obstore", "callable", "name"]
)
def test_every_spelling_is_read_with_every_kind_of_provider(spelling, provider, server):
    configured = SPELLINGS[spelling]
    options = {**server.options, **({"azure_storage_account_name": "modiseuwest"} if spelling == "az" else {})}
    pr.configure_store(configured, storage_options=options, credential_provider=provider(server))
    # An endpoint of the options is another service than Azure's; then only its own kind of spelling is meant.
    prefixes = list(SPELLINGS.values()) if spelling == "https" else [SPELLINGS["abfss"], SPELLINGS["az"]]
    for prefix in prefixes:
        scenes = built(prefix)
        assert pixels(scenes) == [0, 1]
        assert scenes.collect()["b"].struct.field("href").item() == name_of(prefix), (
            "the spelling of the source is kept"
        )
    assert len(server.tokens) == 1


def item(href, link=None):
    links = [] if link is None else [{"rel": "self", "href": link}]
    asset = {"href": href, "type": "image/tiff; application=geotiff", "roles": ["data"]}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "modis",
        "collection": "modis-09A1-061",
        "geometry": None,
        "properties": {"datetime": "2024-05-01T10:00:00Z"},
        "links": links,
        "assets": {"b": asset},
    }


PC_LINK = "https://planetarycomputer.microsoft.com/api/stac/v1/collections/modis-09A1-061/items/modis"


def test_items_of_the_planetary_computer_are_read_with_its_tokens_and_others_are_not(server):
    pr.configure_store(WEB, storage_options=server.options)
    with pr.options(retries=0):
        elsewhere = pr.build_from_stac([item(name_of(WEB), "https://earth-search.example/v1/items/modis")])
        assert "409" in elsewhere.collect()["header_error"].item()
    assert server.tokens == []
    scenes = pr.build_from_stac([item(name_of(WEB), PC_LINK)])
    assert pixels(scenes) == [0, 1]
    assert server.tokens == [("modiseuwest", "modis-061-cogs")], "the container of the href, not the collection"


def test_a_collection_of_them_is_read_with_tokens_in_another_process(server, tmp_path):
    pr.configure_store(WEB, storage_options=server.options)
    pr.build_from_stac([item(name_of(WEB), PC_LINK)]).raster.sink_collection(tmp_path / "c")
    told = pl.read_parquet_metadata(next((tmp_path / "c").glob("*.parquet")))[HINTS_KEY]
    assert told == '{"abfss://modis-061-cogs@modiseuwest.dfs.core.windows.net": {"signing": "planetary-computer"}}'
    # As in a new process: nothing is cached, and nothing is known.
    cloud.planetary_computer_credentials.cache_clear()
    forget_hints()
    clear_cache()
    pr.configure_store(WEB, storage_options=server.options)
    server.tokens.clear()
    (tmp_path / "moved").symlink_to(tmp_path / "c")
    scenes = pr.scan_collection(tmp_path / "moved")
    assert pixels(scenes) == [0, 1]
    assert server.tokens == [("modiseuwest", "modis-061-cogs")]
    assert scenes.collect()["b"].struct.field("href").item() == name_of(WEB)
    assert [one for path in tmp_path.rglob("*.parquet") for one in secrets_in_file(path)] == []


def test_one_token_per_container_over_threads_and_timeouts(server):
    prefixes = [WEB, OTHER, SPELLINGS["abfss"]]
    for prefix in (WEB, OTHER):
        pr.configure_store(prefix, storage_options=server.options, credential_provider="planetary-computer")
    together = threading.Barrier(32, timeout=20)

    def read(number):
        together.wait()
        href = name_of(prefixes[number % 3])
        source = source_for(href)
        for at in range(len(TIMEOUTS)):
            timeout_s = TIMEOUTS[(at + number) % len(TIMEOUTS)]
            answer = source.read(href, 0, 4, etag=None, timeout_s=timeout_s, attempt=0)
            assert bytes(answer.data) == FILE[:4]

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(read, range(32)))
    assert sorted(server.tokens) == [("modiseuwest", "modis-061-cogs"), ("modiseuwest", "other")]


def test_a_token_is_renewed_before_it_expires(server, monkeypatch):
    pr.configure_store(WEB, storage_options=server.options, credential_provider="planetary-computer")
    server.lifetime = dt.timedelta(minutes=4)  # kept for half of it
    start, minutes = dt.datetime.now(dt.UTC), 0.0
    monkeypatch.setattr(credentials, "_now", lambda: start + dt.timedelta(minutes=minutes))
    source = source_for(name_of(WEB))
    for minutes, timeout_s in zip(
        (0.0, 1.9, 2.1, 2.2), TIMEOUTS, strict=False
    ):  # a store each, for obstore has a cache, too
        source.read(name_of(WEB), 0, 4, etag=None, timeout_s=timeout_s, attempt=0)
    used = [server.signature(seen) for seen in server.requests if TOKENS not in seen.path]
    assert [one == used[0] for one in used] == [True, True, False, False]
    assert len(server.tokens) == 2


def test_the_token_of_another_container_is_refused(server):
    other = {"sas_token": server.new_token("modiseuwest", "other")["token"], "expires_at": None}
    pr.configure_store(WEB, storage_options=server.options, credential_provider=lambda: other)
    with pytest.raises(FetchError, match="403 Forbidden, AuthenticationFailed") as caught:
        built(WEB)
    assert secrets_in(repr(caught.value)) == []


@pytest.mark.parametrize("prefix", SPELLINGS.values())
def test_a_container_without_a_token_names_credentials(prefix, server):
    pr.configure_store(prefix, storage_options={**server.options, "azure_storage_account_name": "modiseuwest"})
    with pytest.raises(
        FetchError, match=r"409 Conflict, PublicAccessNotPermitted.*credential_provider='planetary-computer'"
    ):
        built(prefix)
    assert server.tokens == []


def test_a_blob_url_that_is_read_as_a_plain_url_names_credentials_too(server):
    with (
        pytest.raises(FetchError, match=r"409 Conflict.*pr.configure_store.*credential_provider='planetary-computer'"),
        pr.options(retries=0),
    ):
        pr.build_from_files([server.url("modiseuwest/other/a b.tif")], on_error="raise")


def test_the_subscription_key_is_sent_to_the_token_service_only(server, monkeypatch):
    key = planted("subscr1ption/key+of=user")
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", key)
    pr.configure_store(WEB, storage_options=server.options, credential_provider="planetary-computer")
    assert pixels(built(WEB)) == [0, 1]
    assert server.keys == [key]
    assert not [seen for seen in server.requests if TOKENS not in seen.path and key in repr(seen.headers)]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=404), "404 Not Found. It signs for its own containers only"),
        (Fault(status=401), "Check the subscription key in PC_SDK_SUBSCRIPTION_KEY"),
        (Fault(status=429), "a subscription key in PC_SDK_SUBSCRIPTION_KEY raises the limit"),
        (Fault(status=503), "It may pass"),
        (Fault(status=200, body=b"<html>"), "no JSON with 'token' and 'msft:expiry'"),
        (Fault(status=200, body=b'{"token": "", "msft:expiry": "2026-01-01T00:00:00Z"}'), "no JSON with 'token'"),
        (Fault(status=200, body=b'{"token": "a=b", "msft:expiry": "soon"}'), "no JSON with 'token'"),
    ],
)
def test_a_token_service_that_fails_is_told(fault, words, server):
    pr.configure_store(WEB, storage_options=server.options, credential_provider="planetary-computer")
    server.token_faults = [fault]
    with pytest.raises(FetchError) as caught:
        built(WEB)
    text = str(caught.value)
    assert "no token for container 'modis-061-cogs' of account 'modiseuwest'" in text
    assert words in text
    assert f"{server.origin}/{TOKENS}" in text


def test_a_busy_token_service_is_asked_again(server):
    pr.configure_store(WEB, storage_options=server.options, credential_provider="planetary-computer")
    server.token_faults = [Fault(status=503, headers={"Retry-After": "0"})]
    with pr.options(retries=2):
        assert pixels(pr.build_from_files([name_of(WEB)], bands=["b"], on_error="raise")) == [0, 1]
    assert len(server.keys) == 2


def test_a_token_service_that_is_gone_is_told(server, monkeypatch):
    monkeypatch.setenv("PC_SDK_SAS_URL", "http://127.0.0.1:9/token")
    pr.configure_store(WEB, storage_options=server.options, credential_provider="planetary-computer")
    with pytest.raises(FetchError, match=r"no token.*ConnectError.*PC_SDK_SAS_URL"):
        built(WEB)


def test_what_the_user_configured_ranks_above_the_hint(server, monkeypatch):
    register_hints({WEB: Hint(signing="planetary-computer")})
    own = server.new_token("modiseuwest", "modis-061-cogs")["token"]
    pr.configure_store(WEB, storage_options={**server.options, "sas_token": own})
    assert pixels(built(WEB)) == [0, 1]
    assert len(server.tokens) == 1
    # A key of the environment belongs to its own account.
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "mine")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5a2V5a2V5a2V5")
    pr.configure_store(WEB, storage_options=server.options)
    assert pixels(built(WEB)) == [0, 1]
    assert len(server.tokens) == 2


def test_hrefs_that_come_signed_are_cut_and_read_with_a_token_of_this_process(server, tmp_path):
    signed = f"{name_of(WEB)}?{server.new_token('modiseuwest', 'modis-061-cogs')['token']}"
    server.tokens.clear()
    pr.configure_store(WEB, storage_options=server.options)
    register_hints(planetary_computer_hints([signed]))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        scenes = pr.build_from_files([signed], bands=["b"], into=tmp_path / "c")
    assert [str(one.message).partition(" for example")[0] for one in warned] == [
        "1 href(s) hold a signature, a token or a password,"
    ]
    assert pixels(scenes) == [0, 1]
    assert server.tokens == [("modiseuwest", "modis-061-cogs")]
    assert scenes.collect()["b"].struct.field("href").item() == name_of(WEB)
    assert [one for path in tmp_path.rglob("*.parquet") for one in secrets_in_file(path)] == []


def test_a_provider_by_name_needs_an_account(server):
    pr.configure_store("az://nameless/", storage_options=server.options, credential_provider="planetary-computer")
    with pytest.raises(UsageError, match="needs account and container in the href"):
        built("az://nameless/")
    pr.configure_store("az://nameless/")


@pytest.mark.parametrize("account", ["a", "UPPER", "..", "x" * 30])
def test_only_names_of_accounts_and_containers_reach_the_token_service(account):
    with pytest.raises(UsageError, match="no storage account and container"):
        PlanetaryComputerToken(account, "container")
    with pytest.raises(UsageError, match="no storage account and container"):
        PlanetaryComputerToken("account", "../secrets")
