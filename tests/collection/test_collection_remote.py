"""Does a collection in an object store behave like one in a folder?"""

from __future__ import annotations

import threading

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.reading.scan import scan_collection
from polars_rasteret.collection.storage.object_store import glob_pattern, list_objects
from polars_rasteret.collection.writing.sink import sink_collection
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.testing import make_cog
from tests.support.collection_frames import grid_of_scenes
from tests.support.object_server import ObjectServer

SCENES = with_places(grid_of_scenes(6, 4))


@pytest.fixture
def server():
    with ObjectServer() as one:
        yield one


@pytest.mark.parametrize("path", ["s3://bucket/a.parquet", "s3://bucket/some where/c"])
def test_what_is_put_into_a_bucket_is_read_again(server, path):
    options = {"storage_options": server.options}
    sink_collection(SCENES, path, **options)
    assert scan_collection(path, **options).collect().height == SCENES.height
    with pytest.raises(UsageError, match="exists already"):
        sink_collection(SCENES, path, **options)
    sink_collection(SCENES.head(3), path, mode="append", **options)
    assert scan_collection(path, **options).collect().height == SCENES.height + 3
    sink_collection(SCENES.head(2), path, mode="overwrite", **options)
    assert scan_collection(path, **options).collect().height == 2
    assert len(server.files) == 1


def test_hive_folders_and_globs_in_a_bucket(server):
    options = {"storage_options": server.options}
    sink_collection(SCENES, "s3://bucket/c", partition_by=["year", "month"], **options)
    found = scan_collection("s3://bucket/c", **options)
    assert found.collect_schema()["month"] == pl.Int64
    january = found.filter(pl.col("month") == 1)
    assert january.select(pl.len()).collect().item() == SCENES.filter(pl.col("datetime").dt.month() == 1).height
    globbed = scan_collection("s3://bucket/c/**/*.parquet", **options)
    assert globbed.select(pl.len()).collect().item() == SCENES.height


def tiffs_asked_for(server: ObjectServer) -> set[str]:
    return {seen.path for seen in server.requests if seen.path.startswith("tiffs/") and seen.path != "tiffs/"}


def test_a_build_in_a_bucket_goes_on_where_it_was_killed(server, monkeypatch):
    options = {"storage_options": server.options}
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    for number in range(6):
        place = (10.0, 0.0, 300_000.0 + 9_000 * number, 0.0, -10.0, 5_000_000.0)
        server.files[f"tiffs/{number}.tif"] = make_cog(np.full((32, 32), number, dtype="uint8"), transform=place)
    write, n_left = into_module.write_parts, [2]

    def dying(*args, **words):
        if not n_left[0]:
            raise KeyboardInterrupt
        n_left[0] -= 1
        write(*args, **words)

    with monkeypatch.context() as patch:
        patch.setattr(into_module, "write_parts", dying)
        with pytest.raises(KeyboardInterrupt):
            pr.build_from_files("s3://tiffs/", into="s3://bucket/c", **options)
    assert "bucket/c/_build.json" in server.files
    server.clear()
    found = pr.build_from_files("s3://tiffs/", into="s3://bucket/c", **options)
    assert found.collect()["id"].sort().to_list() == list("012345")
    assert tiffs_asked_for(server) == {"tiffs/4.tif", "tiffs/5.tif"}
    assert "bucket/c/_build.json" not in server.files
    server.clear()
    pr.build_from_files("s3://tiffs/", into="s3://bucket/c", **options)
    assert not tiffs_asked_for(server), "the listing tells size and ETag"
    server.files["tiffs/1.tif"] = make_cog(np.ones((48, 48), dtype="uint8"))
    widths = pr.refresh("s3://bucket/c", **options).select(pl.col("b1").struct.field("width")).collect().to_series()
    assert sorted(widths) == [32, 32, 32, 32, 32, 48]
    assert pr.remove("s3://bucket/c", pl.col("id") == "2", **options).collect().height == 5
    assert pr.compact("s3://bucket/c", **options).collect()["id"].sort().to_list() == list("01345")
    assert pr.list_collections("s3://bucket", **options).select("name", "records", "parts").rows() == [("c", 5, 1)]


def test_a_credential_provider_is_asked(server):
    options = dict(server.options)
    asked = []

    def provider():
        asked.append(1)
        key, secret = options["aws_access_key_id"], options["aws_secret_access_key"]
        return {"aws_access_key_id": key, "aws_secret_access_key": secret}, None

    given = {name: value for name, value in options.items() if "key" not in name}
    sink_collection(SCENES, "s3://bucket/c", storage_options=given, credential_provider=provider)
    found = scan_collection("s3://bucket/c", storage_options=given, credential_provider=provider)
    assert found.collect().height == SCENES.height
    assert asked


def test_nothing_in_a_bucket_is_a_clear_error(server):
    with pytest.raises(UsageError, match="nothing is at s3://bucket/gone"):
        scan_collection("s3://bucket/gone", storage_options=server.options)
    with pytest.raises((UsageError, FetchError), match=r"gone\.parquet"):
        scan_collection(f"{server.origin}/bucket/gone.parquet")
    with pytest.raises(UsageError, match="HTTP has no listing"):
        list_objects("https://example.com/folder/")


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("a/*.tif", "a/b.tif", "a/b/c.tif"),
        ("a/**/*.tif", "a/b/c/d.tif", "b/a/d.tif"),
        ("a/**/*.tif", "a/d.tif", "a/d.tiff"),
        ("a?[0-9].tif", "ab3.tif", "ab33.tif"),
        ("a[!x].tif", "ab.tif", "ax.tif"),
        ("a(b)+.tif", "a(b)+.tif", "abb.tif"),
    ],
)
def test_globs_mean_what_they_mean_in_a_shell(glob, yes, no):
    assert glob_pattern(glob).fullmatch(yes)
    assert not glob_pattern(glob).fullmatch(no)


def test_footers_of_parts_in_a_bucket_are_read_side_by_side(server):
    options = {"storage_options": server.options}
    for row in range(8):
        sink_collection(SCENES.slice(row, 1), f"s3://bucket/c/{row}.parquet", **options)
    met, arrived = threading.Barrier(8, timeout=30), set()

    def all_must_come(seen):
        with server.lock:
            is_first = seen.method == "GET" and seen.path.endswith(".parquet") and seen.path not in arrived
            arrived.add(seen.path)
        if is_first:
            met.wait()  # one footer after the other never gets beyond this
        return

    server.fault = all_must_come
    server.clear()
    found = scan_collection("s3://bucket/c", **options)
    assert found.collect_schema().names() == list(SCENES.columns)
    footers = [seen for seen in server.requests if seen.path.endswith(".parquet")]
    assert len(footers) == 2 * 8  # columns, and what the part tells of the places of its files
    server.clear()
    assert scan_collection("s3://bucket/c", **options).collect_schema() == found.collect_schema()
    assert [seen for seen in server.requests if seen.path.endswith(".parquet")] == []
