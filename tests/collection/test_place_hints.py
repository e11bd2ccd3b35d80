"""Does a collection remember where its files are, and nothing that is a secret or costs money?"""

from __future__ import annotations

import json
import pickle

import cloudpickle
import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.catalog.known import dataset
from polars_rasteret.collection.storage import parts
from polars_rasteret.fetch.failures import RefusedHrefError
from polars_rasteret.fetch.hints import (
    HINTS_KEY,
    Hint,
    forget_hints,
    hint_for,
    parsed_hints,
    planetary_computer_hints,
    register_hints,
    written_hints,
)
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.fetch.sources.place_hints import hints_of
from polars_rasteret.fetch.sources.stores import source_for
from polars_rasteret.ingest.dataset_access import dataset_hints
from polars_rasteret.testing import make_cog
from tests.support.object_server import ObjectServer

FILE = make_cog(np.arange(64, dtype="uint8").reshape(8, 8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
WINDOW = pl.col("b").raster.read_window(window=(0, 1, 0, 3)).struct.field("pixels")


@pytest.fixture(autouse=True)
def no_hints(monkeypatch):
    """Begin and end as a new process would."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    forget_hints()
    yield
    forget_hints()


@pytest.fixture
def bucket():
    """A bucket of another service than Amazon's, with one file."""
    with ObjectServer() as server:
        server.files["hinted/a.tif"] = FILE
        yield server
    pr.configure_store("s3://hinted/")


def metadata_of(folder) -> list[dict]:
    return [json.loads(pl.read_parquet_metadata(one)[HINTS_KEY]) for one in sorted(folder.rglob("*.parquet"))]


def forgotten():
    pr.configure_store("s3://hinted/")
    forget_hints()
    parts._schemas.clear()  # with the footers that are remembered, as in a new process


@pytest.mark.parametrize("into", [True, False], ids=["a build that writes", "a sink"])
def test_another_process_finds_the_files_by_what_each_part_tells(bucket, tmp_path, into):
    options = {**bucket.options, "aws_request_payer": "true"}
    where = {"into": tmp_path / "c"} if into else {}
    built = pr.build_from_files(["s3://hinted/a.tif"], bands=["b"], storage_options=options, **where)
    if not into:
        built.raster.sink_collection(tmp_path / "c")
    told = {"region": "us-east-1", "endpoint": bucket.origin, "signing": "requester-pays"}
    assert metadata_of(tmp_path / "c") == [{"s3://hinted": told}]
    forgotten()
    bucket.clear()
    scenes = pr.scan_collection(tmp_path / "c")
    assert hint_for("s3://hinted/other.tif") == Hint(**told)
    assert scenes.select(WINDOW).collect().item().to_list() == [0, 1, 2]
    sent = [name.lower() for seen in bucket.requests for name in seen.headers]
    assert "x-amz-request-payer" not in sent, "a hint never pays"
    assert "authorization" not in sent, "nor lends it keys"
    pr.raster(scenes.collect()).sink_collection(tmp_path / "again")
    assert metadata_of(tmp_path / "again") == [{"s3://hinted": told}]


def test_keys_of_the_environment_are_not_lent_to_an_endpoint_of_a_hint(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    register_hints({"s3://hinted/": Hint(region="us-east-1", endpoint=bucket.origin)})
    source_for("s3://hinted/a.tif").read("s3://hinted/a.tif", 0, 4, etag=None, timeout_s=5, attempt=0)
    assert [seen.path for seen in bucket.requests] == ["hinted/a.tif"]
    assert not [name for name in bucket.requests[0].headers if name.lower() == "authorization"]


def test_what_the_user_configured_ranks_above_a_hint(bucket):
    register_hints({"s3://hinted/": Hint(region="eu-north-1", endpoint="https://192.0.2.1")})
    pr.configure_store("s3://hinted/", storage_options=bucket.options)
    source_for("s3://hinted/a.tif").read("s3://hinted/a.tif", 0, 4, etag=None, timeout_s=5, attempt=0)
    assert "/us-east-1/s3/" in bucket.requests[0].headers["authorization"]
    assert hints_of(["s3://hinted/a.tif"])["s3://hinted"].endpoint == bucket.origin


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://169.254.169.254", "link-local"),
        ("http://minio.example:9000", "neither an https URL nor an address"),
        ("ftp://192.0.2.1", "neither an https URL nor an address"),
    ],
)
def test_an_endpoint_of_a_hint_is_checked_like_an_href(endpoint, words):
    register_hints({"s3://hinted/": Hint(endpoint=endpoint)})
    with pytest.raises(RefusedHrefError, match=words):
        pr.build_from_files(["s3://hinted/a.tif"], on_error="raise")


def test_an_endpoint_of_a_hint_must_be_allowed_too(bucket):
    register_hints({"s3://hinted/": Hint(endpoint=bucket.origin, region="us-east-1")})
    with pr.options(allowed_hrefs=["s3://hinted/"]), pytest.raises(RefusedHrefError, match="outside of what"):
        pr.build_from_files(["s3://hinted/a.tif"], on_error="raise")
    with pr.options(allowed_hrefs=["https://hinted.s3.amazonaws.com/", bucket.origin]), pytest.raises(RefusedHrefError):
        pr.build_from_files(["s3://hinted/a.tif"], on_error="raise")
    with pr.options(allowed_hrefs=["s3://hinted/", bucket.origin]):
        pr.build_from_files(["s3://hinted/a.tif"], on_error="raise")


def test_keys_in_options_and_endpoints_are_not_told(bucket, tmp_path):
    secret = "k3yC4NARY"
    options = {
        "aws_endpoint_url": bucket.origin.replace("://", f"://me:{secret}@"),
        "aws_access_key_id": secret,
        "aws_secret_access_key": secret,
        "aws_region": "us-east-1",
        "headers": {"X-Key": secret},
    }
    pr.configure_store("s3://hinted/", storage_options=options)
    assert hints_of(["s3://hinted/a.tif"]) == {"s3://hinted": Hint(region="us-east-1")}
    scenes = pr.testing.example_scenes().collect()
    moved = scenes.with_columns(pl.col("red").struct.with_fields(href=pl.lit("s3://hinted/a.tif")))
    pr.raster(moved).sink_collection(tmp_path / "c")
    assert metadata_of(tmp_path / "c") == [{"s3://hinted": {"region": "us-east-1"}}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "7",
        '{"s3://b": 7}',
        '{"s3://b": {"region": 7, "endpoint": ["x"], "signing": "mine"}}',
        '{"s3://b": {"endpoint": "https://me:pass@host"}}',
        '{"s3://b": {"endpoint": "https://host/?token=abc"}}',
        '{"s3://b": {"region": "us-west-2.evil.example/"}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_hint_is_left_out(text):
    assert parsed_hints(text) == {}


def test_hints_are_read_as_they_are_written():
    hints = {
        "s3://b": Hint(region="us-west-2"),
        "abfss://c@acct.dfs.core.windows.net": Hint(signing="planetary-computer"),
    }
    assert parsed_hints(written_hints(hints)) == hints


def test_containers_of_the_planetary_computer_come_from_hrefs():
    hrefs = [
        "https://modiseuwest.blob.core.windows.net/modis-061-cogs/MOD09A1/a.tif",
        "https://modiseuwest.blob.core.windows.net/modis-061-cogs/MOD09A1/b.tif",
        "https://ai4edatasetspublicassets.blob.core.windows.net/assets/thumb.png",
        "https://landsateuwest.blob.core.windows.net/",
        "https://elsewhere.example/a.tif",
        "s3://bucket/a.tif",
        "/data/a.tif",
    ]
    assert planetary_computer_hints(hrefs) == {
        "abfss://modis-061-cogs@modiseuwest.dfs.core.windows.net": Hint(signing="planetary-computer")
    }


def test_the_catalog_knows_regions_and_who_pays():
    assert dataset_hints(dataset("earthsearch/landsat-c2-l2")) == {
        "s3://usgs-landsat/": Hint(region="us-west-2", signing="requester-pays")
    }
    register_hints(dataset_hints(dataset("earthsearch/landsat-c2-l2")))
    assert hint_for("https://usgs-landsat.s3.us-west-2.amazonaws.com/a.tif").signing == "requester-pays"


def test_hints_go_to_another_process_with_whatever_is_read_there(bucket):
    scenes = pr.build_from_files(["s3://hinted/a.tif"], bands=["b"], storage_options=bucket.options).collect().lazy()
    register_hints(hints_of(["s3://hinted/a.tif"]))
    points = pl.DataFrame({"x": [0.5], "y": [7.5]})
    sent = [
        cloudpickle.dumps(one) for one in (scenes.select(WINDOW), scenes.raster.sample_points(points, crs="native"))
    ]
    for one in sent:
        forgotten()
        assert hint_for("s3://hinted/a.tif") is None
        clear_cache()
        bucket.clear()
        answer = pickle.loads(one).collect()
        assert hint_for("s3://hinted/a.tif") == Hint(region="us-east-1", endpoint=bucket.origin)
        assert answer.to_series(-1).to_list() in ([[0, 1, 2]], [0])
        assert bucket.requests
