"""Do builds find and read files wherever they are: on disk, on the web, in buckets that check signatures, in memory?"""

from __future__ import annotations

import json
import logging

import httpx
import numpy as np
import obstore
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.lease as lease_module
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.storage.object_store import get_object
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.schema import raster_columns
from polars_rasteret.testing import make_cog
from tests.support.range_server import RangeServer

FILES = {
    name: make_cog(
        np.full((1, 32, 32), n, dtype="uint8"), transform=(10.0, 0.0, 300_000.0 + 9_000 * n, 0.0, -10.0, 5_000_000.0)
    )
    for n, name in enumerate(["0.tif", "1 a.tiff", "deep/2#b.TIF", "deep/er/3ü.tif", "deep/er/4%20c.tif"])
}
IDS = ["0", "1 a", "2#b", "3ü", "4%20c"]


def ids(frame: pl.LazyFrame) -> list[str]:
    found = frame.select("id", "header_error").collect()
    assert found["header_error"].null_count() == found.height
    return sorted(found["id"])


def content(frame: pl.LazyFrame) -> pl.DataFrame:
    """Give the records; the first byte of ``tiles`` says where they were scanned."""
    frame = frame.with_columns(
        pl.col(band).struct.with_fields(tiles=pl.field("tiles").bin.slice(1))
        for band in raster_columns(frame.collect_schema())
    )
    return frame.drop("indexed_at").sort("id").collect()


def test_files_on_disk_come_from_paths_globs_folders_and_file_urls(tmp_path, monkeypatch):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "deep" / "notes.txt").write_text("no TIFF")
    monkeypatch.chdir(tmp_path)
    assert ids(pr.build_from_files(tmp_path)) == IDS
    assert ids(pr.build_from_files(f"file://{tmp_path}")) == IDS
    assert ids(pr.build_from_files("**/*.tif")) == ["0", "3ü", "4%20c"]
    assert ids(pr.build_from_files(["0.tif", tmp_path / "deep" / "er"])) == ["0", "3ü", "4%20c"]
    assert ids(pr.build_from_files(pl.Series(["0.tif", "1 a.tiff"]))) == ["0", "1 a"]


def test_files_on_the_web_come_one_by_one():
    with RangeServer(FILES) as server:
        found = pr.build_from_files([server.url(name) for name in FILES])
        assert ids(found) == sorted(["0", "1 a", "2#b", "3ü", "4%20c"])
        assert len(server.requests) == len(FILES)


@pytest.mark.parametrize("prefix", ["memory://sources", "memory://sources/"])
def test_files_in_memory_come_from_names_folders_and_globs(tmp_path, prefix):
    store = obstore.store.MemoryStore()
    for name, data in FILES.items():
        obstore.put(store, name, data)
    pr.configure_store(prefix, store=store)
    try:
        assert ids(pr.build_from_files("memory://sources/0.tif")) == ["0"]
        assert ids(pr.build_from_files("memory://sources/")) == IDS
        assert ids(pr.build_from_files("memory://sources/deep/**/*.tif")) == ["3ü", "4%20c"]
        assert ids(pr.build_from_files("memory://sources/deep", into=tmp_path / "c")) == ["2#b", "3ü", "4%20c"]
        assert ids(pr.build_from_files("memory://sources/", into=tmp_path / "c")) == IDS
        point = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})
        values = pr.scan_collection(tmp_path / "c").raster.sample_points(point, crs=32632).collect()
        assert values.height == 1
        for call in (
            lambda: pr.build_from_files("memory://sources/0.tif", into="memory://sources/c"),
            lambda: pr.scan_collection("memory://sources/c"),
            lambda: pr.raster(pr.build_from_files("memory://sources/")).sink_collection("memory://sources/c"),
        ):
            with pytest.raises(UsageError, match="no Parquet at memory://"):
                call()
    finally:
        pr.configure_store(prefix)


@pytest.fixture(scope="module")
def bucket():
    """Give the endpoint of a server that checks signatures, and the options of a user who may use its buckets."""
    pytest.importorskip("moto")
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    words = {
        "endpoint_url": f"http://{host}:{port}",
        "region_name": "us-east-1",
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
    }
    iam, s3 = boto3.client("iam", **words), boto3.client("s3", **words)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_user(UserName="user")
    iam.put_user_policy(UserName="user", PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="user")["AccessKey"]
    for name in ("tiffs", "collections"):
        s3.create_bucket(Bucket=name)
    for name, data in FILES.items():
        s3.put_object(Bucket="tiffs", Key=name, Body=data)
    options = {
        "aws_endpoint_url": words["endpoint_url"],
        "aws_region": "us-east-1",
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    # From now on every request must be signed by somebody who may do what it asks.
    checked = httpx.post(f"{words['endpoint_url']}/moto-api/reset-auth", content=b"0").json()
    yield options
    before = checked["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"]
    httpx.post(f"{words['endpoint_url']}/moto-api/reset-auth", content=str(before).encode())
    iam.close()
    s3.close()
    server.stop()


def test_a_bucket_that_checks_signatures_is_listed_read_and_written(bucket, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    options = {"storage_options": bucket}
    expected = content(pr.build_from_files("s3://tiffs/", **options))
    assert expected["id"].to_list() == IDS
    for target in ("s3://collections/listed/folder", "s3://collections/listed/one.parquet"):
        found = pr.build_from_files("s3://tiffs/deep/", into=target, **options)
        assert ids(found) == ["2#b", "3ü", "4%20c"]
        found = pr.build_from_files("s3://tiffs/", into=target, **options)
        assert_frame_equal(content(found), expected)
        assert ids(pr.refresh(target, **options)) == IDS
    assert pr.list_collections("s3://collections/listed", **options)["name"].to_list() == ["folder", "one.parquet"]
    values = found.raster.sample_points(pl.DataFrame({"x": [318_005.0], "y": [4_999_995.0]}), crs=32632).collect()
    assert values["b1"].to_list() == [2]
    pr.configure_store("s3://tiffs/", storage_options=bucket)
    assert ids(pr.build_from_files("s3://tiffs/deep/er/*")) == ["3ü", "4%20c"]


@pytest.mark.filterwarnings("ignore:build_from_files. none")
def test_a_wrong_secret_is_told_and_leaves_nothing(bucket, tmp_path):
    wrong = {"storage_options": bucket | {"aws_secret_access_key": "wrong"}}
    with pytest.raises(FetchError, match="SignatureDoesNotMatch"):
        pr.build_from_files("s3://tiffs/", **wrong)
    with pytest.raises(FetchError, match=r"(?s)s3://collections/wrong.*SignatureDoesNotMatch"):
        pr.build_from_files([], bands=["red"], into="s3://collections/wrong", **wrong)
    with pr.options(retries=0):
        found = pr.build_from_files(["s3://tiffs/0.tif"], **wrong).collect()
    assert "403" in found["header_error"].item()
    pr.configure_store("s3://tiffs/")


def test_of_two_builds_in_a_bucket_the_second_is_told(bucket, monkeypatch):
    options = {"storage_options": bucket}
    target = "s3://collections/turns"
    write = into_module.write_parts

    def meanwhile(*args, **words):
        with monkeypatch.context() as patch:
            patch.setattr(into_module, "write_parts", write)
            with pytest.raises(UsageError, match="is being built by process"):
                pr.build_from_files("s3://tiffs/", into=target, **options)
        write(*args, **words)

    with monkeypatch.context() as patch:
        patch.setattr(into_module, "write_parts", meanwhile)
        assert ids(pr.build_from_files("s3://tiffs/", into=target, **options)) == IDS
    assert get_object(f"{target}/_build.json", **options) is None


def test_a_build_in_a_bucket_takes_over_from_the_dead_and_stops_when_it_is_taken_for_dead(bucket, monkeypatch):
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 2)
    options = {"storage_options": bucket}
    target = "s3://collections/taken"
    write, calls = into_module.write_parts, []

    def overtaken(*args, **words):
        calls.append(args)
        write(*args, **words)
        if len(calls) == 1:
            # Another machine thinks that this build is dead.
            with monkeypatch.context() as patch:
                patch.setattr(lease_module, "_PROCESS", "another one")
                patch.setattr(lease_module.platform, "node", lambda: "another machine")
                patch.setattr(lease_module, "LEASE_TIME", -lease_module.LEASE_TIME)
                patch.setattr(into_module, "write_parts", write)
                assert ids(pr.build_from_files("s3://tiffs/", into=target, **options)) == IDS

    with monkeypatch.context() as patch:
        patch.setattr(into_module, "write_parts", overtaken)
        with pytest.raises(UsageError, match="another build has taken the place of this one"):
            pr.build_from_files("s3://tiffs/", into=target, **options)
    assert ids(pr.scan_collection(target, **options)) == IDS


def test_a_bar_is_shown_on_request_only(tmp_path, capsys):
    (tmp_path / "0.tif").write_bytes(FILES["0.tif"])
    for progress, shown in ((None, False), (False, False), (True, True)):
        for into in (None, tmp_path / f"c{progress}"):
            pr.build_from_files(tmp_path / "0.tif", progress=progress, into=into)
            told = capsys.readouterr()
            assert ("headers: 100%" in told.err) is shown
            assert shown or not told.err
            assert not told.out
    with pr.options(progress=True):
        pr.build_from_files(tmp_path / "0.tif")
    assert "1/1" in capsys.readouterr().err
