"""Is what the files of a collection say of it true after every change, and does `list_collections` tell it?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polars_rasteret as pr
import polars_rasteret.collection.writing.upkeep as upkeep_module
from polars_rasteret.collection.storage.about import KEY
from polars_rasteret.collection.storage.geoparquet import OUR_KEY
from polars_rasteret.errors import UsageError
from polars_rasteret.testing import make_cog
from tests.support.collection_frames import grid_of_scenes
from tests.support.object_server import ObjectServer

SCENES = grid_of_scenes(6, 4)
RASTERET = Path(__file__).resolve().parents[3] / "shared" / "data" / "rasteret"
SIDES = ("xmin", "ymin", "xmax", "ymax")


def listed(folder: str, **options) -> dict:
    """Give the one row of `list_collections`, after a look at its facts with the eyes of Polars alone."""
    [row] = pr.list_collections(folder, **options).iter_rows(named=True)
    frame = pr.scan_collection(row["path"], **options).collect()
    assert row["records"] == frame.height
    assert row["bands"] == ["red"]
    if frame.height:
        assert (row["start"], row["end"]) == (frame["datetime"].min(), frame["datetime"].max())
        box = frame["bbox"].struct.unnest()
        assert row["bbox"] == {side: box[side].min() if side.endswith("min") else box[side].max() for side in SIDES}
    return row


def read_plain(path: Path) -> pa.Table:
    """Read a file with its geometry as binary, whether or not GeoArrow's types are registered with pyarrow in this process."""
    table = pq.read_table(path)
    for at, column in enumerate(table.columns):
        if isinstance(column.type, pa.ExtensionType):
            table = table.set_column(at, table.column_names[at], column.cast(column.type.storage_type))
    return table


def said(row: dict) -> tuple:
    return row["source"], row["description"]


@pytest.mark.parametrize("path", ["c", "c.parquet", "hive", "s3://bucket/c", "s3://bucket/c.parquet"])
def test_what_is_said_is_true_after_every_change(path, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep_module, "RECORDS_PER_PART", 10)
    with ObjectServer() as server:
        remote = "://" in path
        options = {"storage_options": server.options} if remote else {}
        target, folder = (path, "s3://bucket") if remote else (str(tmp_path / path), str(tmp_path))
        keys = {"partition_by": "month"} if path == "hive" else {}
        words = {**options, **keys}
        SCENES[:8].lazy().raster.sink_collection(target, source="one", description="squares", **words)
        row = listed(folder, **options)
        assert said(row) == ("one", "squares")
        assert row["name"] == target.rpartition("/")[2]
        SCENES[8:16].lazy().raster.sink_collection(target, mode="append", **words)
        assert said(listed(folder, **options)) == ("one", "squares")
        SCENES[16:].lazy().raster.sink_collection(target, mode="append", source="two", **words)
        row = listed(folder, **options)
        # One file has one source; parts have theirs.
        assert said(row) == (("two" if path.endswith(".parquet") else "one, two"), "squares")
        sources = row["source"]
        pr.remove(target, pl.col("id") < "s0010", **options)
        assert said(listed(folder, **options))[1] == "squares"
        pr.compact(target, **options)
        row = listed(folder, **options)
        assert said(row)[1] == "squares"
        assert set(row["source"].split(", ")) <= set(sources.split(", "))
        pr.remove(target, pl.lit(value=True), **options)
        row = listed(folder, **options)
        assert (row["records"], row["start"], row["bbox"], row["description"]) == (0, None, None, "squares")
        SCENES[:2].lazy().raster.sink_collection(target, mode="overwrite", **words)
        assert said(listed(folder, **options)) == (None, None)


def test_the_source_is_the_column_collection_where_nobody_names_one(tmp_path):
    kinds = pl.Series("collection", ["landsat"] * 12 + ["sentinel"] * 12)
    frame = SCENES.with_columns(kinds)
    frame[:12].lazy().raster.sink_collection(tmp_path / "c")
    frame[12:].lazy().raster.sink_collection(tmp_path / "c", mode="append")
    assert listed(tmp_path)["source"] == "landsat, sentinel"
    pr.compact(tmp_path / "c")
    assert listed(tmp_path)["source"] == "landsat, sentinel"
    pr.remove(tmp_path / "c", pl.col("collection") == "landsat")
    assert listed(tmp_path)["source"] == "sentinel"


def test_each_file_says_what_is_true_of_its_own_rows_in_keys_that_others_read(tmp_path):
    for half in (SCENES[:12], SCENES[12:]):
        half.lazy().raster.sink_collection(tmp_path / "scenes", mode="append", source="here", description="squares")
    for file in (tmp_path / "scenes").iterdir():
        metadata = pq.read_metadata(file).metadata
        times = pl.read_parquet(file)["datetime"]
        assert metadata[b"name"] == b"scenes"
        assert metadata[b"data_source"] == b"here"
        assert metadata[b"description"] == b"squares"
        assert metadata[b"date_range"].decode() == f"{times.min().isoformat()},{times.max().isoformat()}"


def test_intervals_count_as_a_whole(tmp_path):
    start = pl.Series([None] * 12 + [dt.datetime(2019, 5, 1, tzinfo=dt.UTC)] * 12, dtype=SCENES.schema["datetime"])
    SCENES.with_columns(start_datetime=start, end_datetime=start.dt.offset_by("10y")).lazy().raster.sink_collection(
        tmp_path / "c"
    )
    row = pr.list_collections(tmp_path).row(0, named=True)
    assert (row["start"].year, row["end"].year) == (2019, 2029)


def test_a_build_keeps_what_is_said_and_a_rename_gives_the_new_name(tmp_path):
    for n in range(4):
        place = (10.0, 0.0, 300_000.0 + 1_000 * n, 0.0, -10.0, 5_000_000.0)
        (tmp_path / f"{n}.tif").write_bytes(make_cog(np.full((1, 32, 32), n, dtype="uint8"), transform=place))
    files = [str(tmp_path / f"{n}.tif") for n in range(4)]
    for target in ("built", "built.parquet"):
        pr.build_from_files(files[:2], bands=["red"], into=tmp_path / "a" / target)
        built = pr.scan_collection(tmp_path / "a" / target).collect()
        built.lazy().raster.sink_collection(
            tmp_path / "a" / target, mode="overwrite", description="squares", source="mine"
        )
        pr.build_from_files(files, bands=["red"], into=tmp_path / "a" / target)
        Path(files[3]).write_bytes(Path(files[2]).read_bytes() + b" ")
        pr.refresh(tmp_path / "a" / target)
        [row] = [one for one in pr.list_collections(tmp_path / "a").iter_rows(named=True) if one["name"] == target]
        assert (row["records"], row["source"], row["description"]) == (4, "mine", "squares")
    (tmp_path / "a" / "built").rename(tmp_path / "a" / "moved")
    assert pr.list_collections(tmp_path / "a")["name"].to_list() == ["built.parquet", "moved"]
    pr.compact(tmp_path / "a" / "moved")
    assert {pq.read_metadata(file).metadata[b"name"] for file in (tmp_path / "a" / "moved").iterdir()} == {b"moved"}


def test_parts_of_other_programs_are_told_by_their_columns(tmp_path):
    SCENES.lazy().raster.sink_collection(tmp_path / "c" / "whole.parquet", source="mine")
    whole = tmp_path / "c" / "whole.parquet"
    table = read_plain(whole)
    half = table.slice(0, 5)
    metadata = {
        key: value
        for key, value in pq.read_metadata(whole).metadata.items()
        if key not in (KEY.encode(), OUR_KEY.encode(), b"ARROW:schema")
    }
    # As rasteret does: what was true of the whole is kept.
    pq.write_table(half.replace_schema_metadata(metadata), tmp_path / "c" / "half.parquet")
    whole.unlink()
    assert listed(tmp_path)["source"] == "mine"


def test_a_strange_file_may_say_anything(tmp_path):
    for number, text in enumerate(["[]", "{", '{"source": 3, "description": ["x"]}', "[" * 100_000]):
        name = tmp_path / str(number) / "c.parquet"
        SCENES.lazy().raster.sink_collection(name)
        table = read_plain(name)
        metadata = {
            **pq.read_metadata(name).metadata,
            KEY.encode(): text.encode(),
            b"date_range": b"soon,later",
            b"geo": b"1",
        }
        del metadata[b"ARROW:schema"]
        pq.write_table(table.replace_schema_metadata(metadata), name)
        assert said(listed(tmp_path / str(number))) == (None, None)
        pr.remove(name, pl.col("id") == "s0003")
        assert said(listed(tmp_path / str(number))) == (None, None)


def test_what_is_said_is_a_text_without_keys(tmp_path):
    url = "https://catalog.example/stac?sig=abc123secret"
    SCENES.lazy().raster.sink_collection(tmp_path / "c.parquet", source=url, description=f"from {url}")
    assert b"abc123secret" not in (tmp_path / "c.parquet").read_bytes()
    row = listed(tmp_path)
    assert said(row) == ("https://catalog.example/stac?...", "from https://catalog.example/stac?...")
    for words in ({"source": 3}, {"description": ["x"]}, {"description": "x" * 10_001}):
        with pytest.raises(UsageError, match=next(iter(words))):
            SCENES.lazy().raster.sink_collection(tmp_path / "d.parquet", **words)
    assert not (tmp_path / "d.parquet").exists()


@pytest.mark.skipif(not RASTERET.is_dir(), reason="collections that rasteret wrote do not lie beside the repository")
def test_collections_of_rasteret_are_listed_with_what_they_say():
    [row] = pr.list_collections(RASTERET / "naip_multiband").iter_rows(named=True)
    told = pq.read_schema(next((RASTERET / "naip_multiband").rglob("*.parquet"))).metadata
    assert row["source"] == told[b"data_source"].decode() == "naip"
    assert (row["records"], row["bands"]) == (1, ["R", "G", "B", "NIR"])
    assert row["start"] == row["end"] == dt.datetime(2020, 4, 15, tzinfo=dt.UTC)
