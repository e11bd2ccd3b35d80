"""Are collections at Hugging Face found by their ``hf://`` addresses, here on a hub on loopback?"""

from __future__ import annotations

import datetime as dt
import io
import json

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.collection.storage.hugging_face import web_address
from polars_rasteret.collection.storage.parts_manifest import MANIFEST
from polars_rasteret.errors import FetchError, UsageError
from tests.support.range_server import Fault, RangeServer
from tests.support.scene_files import write_scene


@pytest.fixture
def scenes(tmp_path):
    paths = [write_scene(tmp_path / f"{name}.tif") for name in ("one", "two")]
    return pr.build_from_files(paths, bands=["red"]).collect()


@pytest.fixture
def hub(scenes, monkeypatch):
    """A hub with a dataset of two parts and an index; its lists have one file a page, and files redirect to another folder."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    parts = {}
    for number in range(2):
        buffer = io.BytesIO()
        scenes[number : number + 1].write_parquet(buffer)
        parts[f"data/part {number}.parquet"] = buffer.getvalue()
    entries = [{"type": "directory", "path": "data"}, {"type": "file", "path": "index.parquet", "size": 3, "oid": "i"}]
    entries += [{"type": "file", "path": path, "size": len(data), "oid": path} for path, data in parts.items()]

    def answer(seen):
        if seen.path.startswith("api/"):
            repository, _, place = seen.path.removeprefix("api/datasets/").partition("/tree/")
            if repository != "org/private" and seen.headers.get("Authorization") is None:
                page = int(seen.target.partition("cursor=")[2] or 0)
                folder = place.partition("/")[2]
                below = [one for one in entries if one["path"].startswith(folder)]
                follows = f'<{seen.target.partition("&")[0]}&cursor={page + 1}>; rel="next"'
                more = {"Link": follows} if page + 1 < len(below) else {}
                return Fault(page=json.dumps(below[page : page + 1]).encode(), headers=more)
            return Fault(status=401)
        if "/resolve/" in seen.path:
            return Fault(
                status=302, headers={"Location": f"/cdn/{seen.path.rpartition('/resolve/')[2]}".replace(" ", "%20")}
            )
        return None

    with RangeServer({f"cdn/v1/{path}": data for path, data in parts.items()}) as server:
        server.fault = answer
        monkeypatch.setenv("HF_ENDPOINT", server.url("").rstrip("/"))
        yield server


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("hf://datasets/org/name@v1", ["one", "two"]),  # the folder data, and not the index beside it
        ("hf://datasets/org/name@v1/data", ["one", "two"]),
        ("hf://datasets/org/name@v1/data/part 1.parquet", ["two"]),
        ("hf://datasets/org/name@v1/data/*0.parquet", ["one"]),
    ],
)
def test_a_repository_a_folder_a_file_and_a_glob_are_scanned(hub, path, ids):
    scan = pr.scan_collection(path)
    assert scan.select("id").collect()["id"].to_list() == ids
    assert any("/resolve/v1/" in f"/{seen.path}" for seen in hub.requests)


def test_a_file_named_by_itself_needs_no_list(hub):
    pr.scan_collection("hf://datasets/org/name@v1/data/part 0.parquet").collect()
    assert not [seen for seen in hub.requests if seen.path.startswith("api/")]


def test_hrefs_of_a_dataset_may_not_name_files_of_this_machine_elsewhere(hub):
    red = pr.scan_collection("hf://datasets/org/name@v1/data").collect()["red"]
    # The hub of this test is on loopback, which is closer than the web, and farther than a local collection.
    assert {tiles[0] >> 1 & 3 for tiles in red.struct.field("tiles").to_list()} == {1}


def test_a_refused_list_says_how_to_give_a_token(hub):
    with pytest.raises(FetchError, match=r"401.*HF_TOKEN"):
        pr.scan_collection("hf://datasets/org/private@v1")


def test_the_token_goes_to_the_hub(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(FetchError, match="401") as caught:
        pr.scan_collection("hf://datasets/org/name@v1")
    assert hub.requests[-1].headers["Authorization"] == "Bearer hf_secret"
    assert "hf_secret" not in str(caught.value)


def test_a_next_page_on_another_host_is_not_asked_for(hub):
    hub.fault = lambda _seen: Fault(page=b"[]", headers={"Link": '<https://elsewhere.test/x>; rel="next"'})
    with pytest.raises(FetchError, match="another host"):
        pr.scan_collection("hf://datasets/org/name@v1")


def test_nothing_there_is_a_usage_error(hub):
    hub.fault = lambda _seen: Fault(status=404)
    with pytest.raises(UsageError, match="nothing is at hf://datasets/org/name"):
        pr.scan_collection("hf://datasets/org/name/nowhere")


def test_a_page_that_is_no_list_is_refused(hub):
    hub.fault = lambda _seen: Fault(page=b"<html>")
    with pytest.raises(FetchError, match="could not be listed"):
        pr.scan_collection("hf://datasets/org/name")


@pytest.mark.parametrize(
    "path", ["hf://org/name", "hf://datasets/org", "hf://datasets/org/@x/a.parquet", "hf://datasets/o/n/../a"]
)
def test_other_addresses_are_refused_with_the_form(path):
    with pytest.raises(UsageError, match="expected"):
        pr.scan_collection(path)


def test_the_web_address_of_a_file_names_its_revision(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    root = "https://huggingface.co/datasets/o/n/resolve"
    assert web_address("hf://datasets/o/n/a.tif") == f"{root}/main/a.tif"
    assert web_address("hf://datasets/o/n@~parquet/a.tif") == f"{root}/refs%2Fconvert%2Fparquet/a.tif"
    assert web_address("hf://datasets/o/n@a%2Fb/c.tif") == f"{root}/a%2Fb/c.tif"
    assert web_address("s3://a/b.tif") == "s3://a/b.tif"
    with pytest.raises(UsageError, match="names no file"):
        web_address("hf://datasets/o/n")


def test_with_a_token_the_real_hub_is_left_to_polars(monkeypatch):
    from polars_rasteret.collection.storage.hugging_face import parquet_files

    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    (one,) = parquet_files("hf://datasets/o/n/a.parquet", storage_options={"token": "t"})
    assert one.url == "hf://datasets/o/n@main/a.parquet"


def test_hive_folders_are_columns(hub, scenes):
    buffer = io.BytesIO()
    scenes.write_parquet(buffer)
    listed = [{"type": "file", "path": "year=2024/a.parquet", "size": 9, "oid": "x"}]
    hub.files["cdn/main/year=2024/a.parquet"] = buffer.getvalue()
    before = hub.fault
    hub.fault = lambda seen: Fault(page=json.dumps(listed).encode()) if seen.path.startswith("api/") else before(seen)
    assert pr.scan_collection("hf://datasets/org/name").select(pl.col("year").unique()).collect().item() == 2024


def test_a_manifest_that_was_uploaded_with_its_parts_is_read(hub, scenes, tmp_path):
    for number in range(8):
        one = scenes.head(1).with_columns(
            id=pl.lit(f"s{number}"), datetime=pl.lit(dt.datetime(2024, 1, 1 + number, tzinfo=dt.UTC))
        )
        one.lazy().raster.sink_collection(tmp_path / "c", mode="append")
    files = {one.name: one.read_bytes() for one in (tmp_path / "c").iterdir()}
    listed = [{"type": "file", "path": f"c/{name}", "size": len(data), "oid": name} for name, data in files.items()]
    hub.files.update({f"cdn/main/c/{name}": data for name, data in files.items()})
    before = hub.fault
    hub.fault = lambda seen: Fault(page=json.dumps(listed).encode()) if seen.path.startswith("api/") else before(seen)

    def asked():
        return {seen.path.rpartition("/")[2] for seen in hub.requests if seen.path.endswith(".parquet")}

    scan = pr.scan_collection("hf://datasets/org/name/c")
    assert asked() == {MANIFEST}
    hub.clear()
    assert scan.filter(pl.col("datetime").dt.day() == 3).select("id").collect()["id"].to_list() == ["s2"]
    assert len(asked()) == 1
    del hub.files[f"cdn/main/c/{MANIFEST}"]
    assert pr.scan_collection("hf://datasets/org/name/c").collect().height == 8


def test_the_collections_of_a_dataset_are_listed(hub):
    [row] = pr.list_collections("hf://datasets/org/name@v1").iter_rows(named=True)
    assert (row["name"], row["records"], row["bands"], row["parts"]) == ("data", 2, ["red"], 2)
    assert pr.scan_collection(row["path"]).collect()["id"].to_list() == ["one", "two"]
    found = pr.list_collections("hf://datasets/org/name@v1/data")
    assert found["name"].to_list() == ["part 0.parquet", "part 1.parquet"]
    assert found["records"].to_list() == [1, 1]
    with pytest.raises(UsageError, match="HTTP has no listing"):
        pr.list_collections(hub.url("data"))
