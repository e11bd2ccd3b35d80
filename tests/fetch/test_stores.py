"""Does the right source answer for an href, and does a wrong configuration say so?"""

from __future__ import annotations

import httpx
import pytest

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.sources.settings import prices_for
from polars_rasteret.fetch.sources.stores import configure_store, source_for, store_identity
from polars_rasteret.testing import MemorySource
from tests.support.receiver import DATA


def read(href):
    return bytes(source_for(href).get(href, 0, 4, etag=None))


def test_the_longest_prefix_wins_whatever_the_order():
    configure_store("memory://w/a/", store=MemorySource({"memory://w/a/x": b"long"}))
    configure_store("memory://w/", store=MemorySource({"memory://w/a/x": b"short", "memory://w/b": b"just"}))
    assert read("memory://w/a/x") == b"long"
    assert read("memory://w/b") == b"just"


def test_a_prefix_ends_where_a_segment_ends():
    configure_store("memory://seg/sentinel", store=MemorySource({"memory://seg/sentinel/x": b"good"}))
    assert read("memory://seg/sentinel/x") == b"good"
    with pytest.raises(UsageError, match="memory://"):
        source_for("memory://seg/sentinel-2/x")


def test_configuring_again_replaces_and_the_prefix_alone_takes_back():
    configure_store("memory://again/", store=MemorySource({"memory://again/x": b"1111"}))
    before = store_identity("memory://again/x")
    configure_store("memory://again/", store=MemorySource({"memory://again/x": b"2222"}))
    assert read("memory://again/x") == b"2222"
    assert store_identity("memory://again/x") != before, "or the cache would answer with the other store's bytes"
    configure_store("memory://again/")
    with pytest.raises(UsageError, match="nothing reads memory"):
        read("memory://again/x")


def test_sources_are_made_once_per_origin():
    assert source_for("https://example.org/a") is source_for("https://example.org/b/c?d")
    assert source_for("https://example.org/a") is not source_for("http://example.org/a")
    assert source_for("/a/b") is source_for("c")
    assert store_identity("/a/b") == store_identity("file:///c") != store_identity("https://example.org/a")


def test_prices_do_not_change_who_answers(tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    before = source_for(str(tmp_path / "f"))
    configure_store(str(tmp_path), usd_per_gb=0.09)
    assert source_for(str(tmp_path / "f")) is before
    assert prices_for(str(tmp_path / "f")).usd_per_gb == 0.09
    assert prices_for("/elsewhere").usd_per_gb is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("",), "prefix"),
        (("s3://b", {"store": object()}), "get\\("),
        (("s3://b", {"client": httpx.Client()}), "http"),
        (("https://b", {"client": object()}), "httpx.Client"),
        (("https://b", {"client": httpx.Client(), "storage_options": {}}), "exclude"),
        (("s3://b", {"usd_per_gb": -1}), "usd_per_gb"),
    ],
)
def test_a_wrong_configuration_is_refused(arguments, words):
    prefix, keywords = (*arguments, {})[:2]
    with pytest.raises(UsageError, match=words):
        configure_store(prefix, **keywords)


def test_an_unknown_storage_option_is_named():
    configure_store("s3://bogus/", storage_options={"aws_region": "x", "bogus": 1})
    with pytest.raises(UsageError, match="bogus"):
        source_for("s3://bogus/x").get("s3://bogus/x", 0, 1, etag=None)


@pytest.mark.parametrize(
    "href", ["gs://bucket/x", "az://container/x", "abfss://container@account.dfs.core.windows.net/x"]
)
def test_a_bucket_of_every_provider_has_a_source(href, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert source_for(href) is not None
