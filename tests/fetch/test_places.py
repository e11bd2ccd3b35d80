"""Are all spellings of one bucket one place, whatever is configured for it?"""

from __future__ import annotations

import itertools

import httpx
import pytest
from obstore.store import MemoryStore, S3Store

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.places import bucket_host, bucket_place
from polars_rasteret.fetch.signing import as_signed, kept_back
from polars_rasteret.fetch.sources.cloud import bucket_source, is_about_the_client
from polars_rasteret.fetch.sources.settings import is_configured, prices_for, setting_for
from polars_rasteret.fetch.sources.stores import configure_store, source_for, store_identity
from tests.support.object_server import ObjectServer
from tests.support.range_server import RangeServer

SPELLINGS = {
    "s3://b": [
        "s3://b/",
        "s3a://b/",
        "https://b.s3.us-west-2.amazonaws.com/",
        "https://b.s3.amazonaws.com/",
        "https://b.s3-us-west-2.amazonaws.com/",
        "https://b.s3.dualstack.us-west-2.amazonaws.com/",
        "https://b.s3-accelerate.amazonaws.com/",
        "https://s3.us-west-2.amazonaws.com/b/",
        "https://s3.amazonaws.com/b/",
        "HTTPS://S3.us-west-2.amazonaws.com:443/b/",
    ],
    "gs://b": ["gs://b/", "https://storage.googleapis.com/b/", "https://b.storage.googleapis.com/"],
    "abfss://c@acct.dfs.core.windows.net": [
        "abfss://c@acct.dfs.core.windows.net/",
        "abfs://c@acct.dfs.core.windows.net/",
        "az://c@acct/",
        "https://acct.blob.core.windows.net/c/",
        "https://acct.dfs.core.windows.net/c/",
    ],
}
OTHERS = [
    "s3://bb/",
    "gs://b/",
    "https://bb.s3.us-west-2.amazonaws.com/",
    "https://s3.us-west-2.amazonaws.com.evil.example/b/",
    "https://b.s3.us-west-2.amazonaws.com:8443/",
    "http://b.s3.us-west-2.amazonaws.com/",
    "https://me@b.s3.us-west-2.amazonaws.com/",
    "https://evil.example/b.s3.us-west-2.amazonaws.com/",
    "https://minio.example/b/",
]
REGIONS = ["us-west-2", "ap-southeast-1", "us-gov-west-1", "cn-north-1", "eu-central-1"]


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch):
    """Take back what a test configured, and keep this machine's own credentials out."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    configured = []
    configure = pr.configure_store

    def noted(prefix, **how):
        configured.append(prefix)
        configure(prefix, **how)

    monkeypatch.setattr(pr, "configure_store", noted)
    yield
    for prefix in configured:
        configure_store(prefix)


@pytest.mark.parametrize(("place", "spellings"), SPELLINGS.items())
def test_spellings_name_one_bucket(place, spellings):
    found = [bucket_place(f"{one}x/a.tif") for one in spellings]
    assert {(one.bucket, one.path) for one in found} == {(place, "x/a.tif")}


@pytest.mark.parametrize("spellings", SPELLINGS.values(), ids=SPELLINGS)
def test_what_is_configured_for_one_spelling_counts_for_the_others(spellings):
    for configured, read in itertools.permutations(spellings, 2):
        pr.configure_store(f"{configured}x/", storage_options={"user_agent": "mine"}, usd_per_gb=0.5)
        assert setting_for(f"{read}x/a.tif").storage_options == {"user_agent": "mine"}
        assert prices_for(f"{read}x/a.tif").usd_per_gb == 0.5
        assert setting_for(f"{read}xy/a.tif") is None
        pr.configure_store(f"{read}x/")
        assert setting_for(f"{configured}x/a.tif") is None
        assert prices_for(f"{configured}x/a.tif").usd_per_gb is None


@pytest.mark.parametrize("other", OTHERS)
def test_what_only_looks_like_a_spelling_is_another_place(other):
    for configured in ("s3://b/", "https://b.s3.us-west-2.amazonaws.com/"):
        pr.configure_store(configured, storage_options={"user_agent": "mine"})
    assert not is_configured(f"{other}a.tif")


@pytest.mark.parametrize(
    ("longer", "shorter"),
    [
        ("https://b.s3.us-west-2.amazonaws.com/deep/", "s3://b/"),
        ("s3://b/deep/", "https://s3.us-west-2.amazonaws.com/b/"),
        ("s3://b/", "https://s3.us-west-2.amazonaws.com/"),
        ("s3://b/", "https://"),
        ("https://b.s3.us-west-2.amazonaws.com/deep", "s3://"),
    ],
)
@pytest.mark.parametrize("read", ["s3://b/deep/a.tif", "https://b.s3.us-west-2.amazonaws.com/deep/a.tif"])
def test_the_longest_prefix_wins_in_whatever_spelling(longer, shorter, read):
    for order in ((longer, shorter), (shorter, longer)):
        for prefix in order:
            pr.configure_store(prefix, storage_options={"user_agent": prefix})
        assert setting_for(read).prefix == longer
        for prefix in order:
            pr.configure_store(prefix)


def test_keys_of_https_are_decoded_and_keys_of_buckets_are_literal():
    assert bucket_place("https://b.s3.us-west-2.amazonaws.com/a%20b/c%2Bd.tif?x=1#y").path == "a b/c+d.tif"
    assert bucket_place("s3://b/a%20b.tif?x#y").path == "a%20b.tif?x#y"


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("form", ["b.s3.{}", "b.s3-{}", "s3.{}", "b.s3.dualstack.{}"])
def test_the_region_is_that_of_the_host(region, form):
    country = ".cn" if region.startswith("cn-") else ""
    assert bucket_host(f"{form.format(region)}.amazonaws.com{country}").region == region


def test_a_bucket_of_another_service_has_no_address_of_amazon():
    pr.configure_store("s3://b/", storage_options={"aws_endpoint_url": "https://minio.example"})
    assert not is_configured("https://b.s3.us-west-2.amazonaws.com/a.tif")
    pr.configure_store("https://b.s3.us-west-2.amazonaws.com/", storage_options={"user_agent": "mine"})
    assert setting_for("s3://b/a.tif").storage_options == {"aws_endpoint_url": "https://minio.example"}
    assert setting_for("https://b.s3.us-west-2.amazonaws.com/a.tif").storage_options == {"user_agent": "mine"}


def test_an_endpoint_of_the_environment_is_another_service(monkeypatch):
    pr.configure_store("https://b.s3.us-west-2.amazonaws.com/", storage_options={"user_agent": "mine"})
    assert is_configured("s3://b/a.tif")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example")
    assert not is_configured("s3://b/a.tif")
    assert is_configured("https://b.s3.us-west-2.amazonaws.com/a.tif")


def test_a_container_without_an_account_is_that_of_options_provider_or_environment(monkeypatch):
    web = "https://acct.blob.core.windows.net/c/a.tif"
    pr.configure_store("az://c/", storage_options={"account_name": "acct"})
    assert is_configured(web)
    assert not is_configured("https://other.blob.core.windows.net/c/a.tif")
    pr.configure_store("az://c/")

    class Provider:
        config = {"account_name": "acct"}

        def __call__(self):
            return {}

    pr.configure_store("az://c/", credential_provider=Provider())
    assert is_configured(web)
    pr.configure_store("az://c/")
    pr.configure_store(web.removesuffix("a.tif"), storage_options={"user_agent": "mine"})
    assert is_configured("az://c/a.tif"), "the only account that is known for this container"
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    assert not is_configured("az://c/a.tif")


def test_two_accounts_for_one_container_without_an_account_are_refused():
    for account in ("one", "two"):
        pr.configure_store(f"https://{account}.blob.core.windows.net/c/", storage_options={"user_agent": account})
    with pytest.raises(UsageError, match=r"names no storage account.*abfss://"):
        source_for("az://c/a.tif")
    assert setting_for("abfss://c@two.dfs.core.windows.net/a.tif").storage_options == {"user_agent": "two"}


def test_a_whole_account_covers_its_containers():
    pr.configure_store("https://acct.blob.core.windows.net/", storage_options={"user_agent": "all"})
    pr.configure_store("abfss://c@acct.dfs.core.windows.net/", storage_options={"user_agent": "one"})
    assert setting_for("https://acct.blob.core.windows.net/c/a.tif").storage_options == {"user_agent": "one"}
    assert setting_for("abfss://d@acct.dfs.core.windows.net/a.tif").storage_options == {"user_agent": "all"}


def test_a_key_that_was_kept_back_is_forgotten_when_its_place_is_configured_in_another_spelling():
    signed = "https://kept-b.s3.us-west-2.amazonaws.com/a.tif?X-Amz-Signature=abc"
    plain = kept_back(signed)
    assert as_signed(plain) == signed
    pr.configure_store("s3://kept-b/", storage_options={"user_agent": "mine"})
    assert as_signed(plain) == plain


@pytest.mark.parametrize(
    "href", ["https://b.s3.us-west-2.amazonaws.com/a%20b.tif", "https://s3.us-west-2.amazonaws.com/b/a%20b.tif"]
)
def test_an_https_href_is_read_through_its_native_store_once_options_need_it(href):
    with ObjectServer() as server:
        server.files["b/a b.tif"] = b"II*."
        options = {name: value for name, value in server.options.items() if name != "aws_region"}
        pr.configure_store("https://b.s3.us-west-2.amazonaws.com/", storage_options=options)
        answer = source_for(href).read(href, 0, 4, etag=None, timeout_s=5, attempt=0)
        assert bytes(answer.data) == b"II*."
        assert "/us-west-2/s3/" in server.requests[0].headers["authorization"], "signed, for the region of the host"


def test_one_source_per_bucket_where_a_host_serves_several():
    pr.configure_store(
        "https://s3.us-west-2.amazonaws.com/", storage_options={"aws_access_key_id": "k", "aws_secret_access_key": "s"}
    )
    one, two = (f"https://s3.us-west-2.amazonaws.com/{name}/a.tif" for name in ("b", "bb"))
    assert source_for(one) is not source_for(two)
    assert store_identity(one) != store_identity(two)
    assert store_identity(one) == store_identity("https://s3.us-west-2.amazonaws.com/b/other.tif")


def test_a_web_place_needs_no_native_store_for_headers():
    pr.configure_store("https://b.s3.us-west-2.amazonaws.com/", storage_options={"headers": {"X-Mine": "1"}})
    assert type(source_for("https://b.s3.us-west-2.amazonaws.com/a.tif")).__name__ == "HttpSource"


def test_a_ready_store_reads_every_spelling_and_its_own_service_only():
    store = S3Store("b", config={"region": "us-west-2", "skip_signature": True})
    pr.configure_store("s3://b/", store=store)
    assert is_configured("https://b.s3.us-west-2.amazonaws.com/a.tif")
    pr.configure_store("s3://b/", store=S3Store("b", config={"endpoint": "https://minio.example"}))
    assert not is_configured("https://b.s3.us-west-2.amazonaws.com/a.tif")
    pr.configure_store("s3://b/", store=MemoryStore())
    assert not is_configured("https://b.s3.us-west-2.amazonaws.com/a.tif")


def test_a_ready_store_takes_the_decoded_key():
    with ObjectServer() as server:
        server.files["b/a b.tif"] = b"II*."
        config = {**server.options, "region": "us-west-2"}
        del config["aws_region"]
        pr.configure_store(
            "https://b.s3.us-west-2.amazonaws.com/",
            store=S3Store("b", config=config, client_options={"allow_http": True}),
        )
        href = "https://b.s3.us-west-2.amazonaws.com/a%20b.tif"
        assert bytes(source_for(href).read(href, 0, 4, etag=None, timeout_s=5, attempt=0).data) == b"II*."


def test_a_client_reads_http_only():
    with httpx.Client() as client:
        pr.configure_store("https://b.s3.us-west-2.amazonaws.com/", client=client)
        assert not is_configured("s3://b/a.tif")
        assert is_configured("https://s3.us-west-2.amazonaws.com/b/a.tif")


@pytest.mark.parametrize(
    "how",
    [{"storage_options": {"aws_access_key_id": "k3y"}}, {"credential_provider": dict}, {"credential_provider": "auto"}],
)
def test_what_means_nothing_for_a_web_server_is_refused_at_once(how):
    with RangeServer({}) as server, pytest.raises(UsageError, match=r"mean nothing for this place.*s3://bucket/"):
        pr.configure_store(f"{server.origin}/files/", **how)


CLIENT_OPTIONS = {
    "allow_http": "true",
    "allow_invalid_certificates": "true",
    "connect_timeout": "5s",
    "default_content_type": "text/plain",
    "http1_only": "true",
    "http2_keep_alive_interval": "5s",
    "http2_keep_alive_timeout": "5s",
    "http2_keep_alive_while_idle": "true",
    "http2_max_frame_size": "20000",
    "http2_only": "false",
    "pool_idle_timeout": "5s",
    "pool_max_idle_per_host": "4",
    "proxy_excludes": "host",
    "randomize_addresses": "true",
    "read_timeout": "5s",
    "timeout": "5s",
    "user_agent": "mine",
}
"""Every option of the HTTP client that object_store knows, but for certificates and proxies."""


@pytest.mark.parametrize(("scheme", "prefix"), [("s3", "aws_"), ("az", "azure_"), ("gs", "google_")])
@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_options_of_the_client_are_taken_under_the_name_of_a_provider_too(scheme, prefix, spelled):
    place = bucket_place(f"{scheme}://bucket/")
    keys = {"az": {"account_name": "acct"}}.get(scheme, {})
    for name, value in CLIENT_OPTIONS.items():
        for key in (spelled(name), spelled(prefix + name)):
            options = {key: value, **keys, "skip_signature": "true"}
            # obstore panics where such an option is said of the store.
            assert bucket_source(place, options, None)._store(1.0) is not None, key
            assert is_about_the_client({key: value}), key
