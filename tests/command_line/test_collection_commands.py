"""Do the commands of collections do what they say, to the collection that is named and to no other?"""

from __future__ import annotations

import json
import sys

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support.shell_world import BANDS, CALIFORNIA, FLORIDA

FACTS = ["name", "path", "records", "bands", "bbox", "start", "end", "source", "description", "parts", "bytes"]


def test_collections_are_listed_as_the_function_lists_them(run, world):
    said = run("collections", "list")
    assert (said.code, said.err) == (0, "")
    head, *lines = said.out.splitlines()
    assert head.split() == ["name", "records", "bands", "start", "end", "source", "bytes"]
    assert [line.split()[:6] for line in lines] == [
        ["naip", "2", "R,G,B,NIR", "2011-08-15", "2020-04-15", "usda"],
        ["naip-west.parquet", "1", "R,G,B,NIR", "2020-04-15", "2020-04-15", "-"],
    ]
    rows = run("collections", "list", str(world), "--json").json
    assert [list(row) for row in rows] == [FACTS] * 2
    assert [row["records"] for row in rows] == pr.list_collections(world)["records"].to_list()
    assert rows[0]["start"] == "2011-08-15T00:00:00+00:00"
    found = [run("collections", "list", "--search", text, "--json").json for text in ("WEST", "from above", "us", "x")]
    assert [[row["name"] for row in rows] for rows in found] == [["naip-west.parquet"], ["naip"], ["naip"], []]
    assert run("collections", "list", "gone").code == 2


def test_info_is_the_description(run):
    facts = pr.scan_collection("naip").raster.describe()
    found = run("collections", "info", "naip", "--json").json
    assert found["n_records"] == facts["n_records"] == 2
    assert found["bands"] == dict.fromkeys(BANDS, "UInt8")
    assert found["bounds"] == list(facts.bounds)
    assert (found["source"], found["description"]) == ("usda", "Farms from above")
    said = run("collections", "info", "naip").out
    assert all(f"{what}" in said and value in said for what, value in facts.table.iter_rows())
    assert "Farms from above" in said


@pytest.mark.parametrize("into", ["c", "c.parquet"])
def test_a_collection_comes_of_a_table_of_images_or_of_another_one(into, run, tmp_path, world):
    table = pl.DataFrame(
        {
            "fid": [7, 8],
            "file": [str(world / CALIFORNIA), str(world / FLORIDA)],
            "taken": ["2020-04-15T00:00:00Z", "2011-08-15T00:00:00Z"],
            "crop": ["wheat", "maize"],
            "noise": [1, 2],
        }
    )
    table.write_csv(tmp_path / "table.csv")
    words = ["collections", "import", str(tmp_path / "table.csv"), str(tmp_path / into)]
    words += ["--columns", "fid,file,taken,crop", "--column-map", '{"fid": "id", "taken": "datetime"}']
    said = run(*words, "--bands", "red=file.0", "nir=file.3", "--json")
    assert said.code == 0, said.err
    assert said.json == {"path": str(tmp_path / into), "records": 2, "bands": ["red", "nir"], "parts": 1}
    found = pr.scan_collection(tmp_path / into)
    assert "noise" not in found.collect_schema()
    rows = found.sort("id").select("id", "crop", pl.col("datetime").dt.year(), pl.col("nir").struct.field("band_index"))
    assert rows.collect().rows() == [("7", "wheat", 2020, 3), ("8", "maize", 2011, 3)]

    said = run("collections", "import", str(world / "*.tif"), str(tmp_path / "images"), "--bands", *BANDS)
    assert said.code == 0, said.err
    assert run("collections", "import", "naip", str(tmp_path / "images")).code == 2, "it is there already"
    assert run("collections", "import", "naip", str(tmp_path / "images"), "--force").code == 0
    row = pr.list_collections(tmp_path).filter(name="images").row(0, named=True)
    assert (row["source"], row["description"]) == ("usda", "Farms from above"), "a copy says what the original says"
    expected = pr.scan_collection("naip").collect()
    assert_frame_equal(pr.scan_collection(tmp_path / "images").collect(), expected)
    words = ["collections", "append", str(tmp_path / "images"), "naip-west.parquet", "--description", "More farms"]
    assert run(*words, "--json").json["records"] == 3
    assert pr.list_collections(tmp_path).filter(name="images")["description"].to_list() == ["More farms"]


def test_images_and_tables_are_appended(run, tmp_path, world):
    into = str(tmp_path / "c")
    assert run("collections", "append", into, CALIFORNIA).code == 2, "nothing is there"
    assert run("collections", "import", CALIFORNIA, into, "--bands", *BANDS).code == 0
    assert run("collections", "append", into, FLORIDA, "--bands", *BANDS, "--json").json["records"] == 2
    assert run("collections", "append", into, FLORIDA, "--bands", *BANDS, "--json").json["records"] == 2, "it is there"
    pl.DataFrame({"id": ["gone"], "file": [str(tmp_path / "gone.tif")]}).write_parquet(tmp_path / "t.parquet")
    bands = [f"{band}=file.{index}" for index, band in enumerate(BANDS)]
    said = run("collections", "append", into, str(tmp_path / "t.parquet"), "--bands", *bands)
    assert said.code == 0
    assert said.out.splitlines()[-1].split() == ["header", "errors", "1"]
    said = run("collections", "append", into, str(tmp_path / "t.parquet"))
    assert said.code == 2
    assert "NAME=COLUMN" in said.err
    said = run("collections", "append", into, "naip", "--columns", "id")
    assert said.code == 2
    assert "--columns" in said.err


def test_delete_takes_exact_names_and_leaves_all_other_files(run, tmp_path, world):
    frame = pr.scan_collection("naip").collect()
    for name in ("naip", "naip-2", "naip.parquet"):
        frame.lazy().raster.sink_collection(tmp_path / name)
    frame.lazy().raster.sink_collection(tmp_path / "hive", partition_by=["year", "month"])
    (tmp_path / "naip" / "notes.txt").write_text("mine")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "table.parquet")
    words = ["collections", "delete", "--folder", str(tmp_path)]

    def names() -> list[str]:
        return sorted(one.name for one in tmp_path.iterdir())

    before = names()
    for wrong in (
        "nai",
        "naip*",
        "nai?",
        "naip-",
        "table.parquet",
        "naip/",
        "../" + tmp_path.name + "/naip",
        "NAIP",
        "",
    ):
        said = run(*words, wrong, "--yes")
        assert (said.code, said.out, names()) == (2, "", before), wrong
        assert "names are exact" in said.err
    assert run(*words, "naip", "gone", "--yes").code == 2
    said = run(*words, "naip")
    assert (said.code, names()) == (2, before)
    assert "--yes" in said.err
    said = run(*words, "naip", "hive", "--yes")
    assert (said.code, said.out) == (0, "deleted naip\ndeleted hive\n")
    assert names() == ["naip", "naip-2", "naip.parquet", "table.parquet"]
    assert [one.name for one in (tmp_path / "naip").iterdir()] == ["notes.txt"]
    assert run(*words, "naip.parquet", "--yes", "--json").json == [{"name": "naip.parquet", "parts": 1}]
    assert names() == ["naip", "naip-2", "table.parquet"]
    assert_frame_equal(pr.scan_collection(tmp_path / "naip-2").collect(), frame)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("\n", 2), ("n\n", 2), ("", 2)])
def test_at_a_terminal_delete_asks(answer, code, run, tmp_path, monkeypatch):
    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: answer)

    pr.scan_collection("naip").raster.sink_collection(tmp_path / "c")
    monkeypatch.setattr(sys, "stdin", Terminal)
    said = run("collections", "delete", "c", "--folder", str(tmp_path))
    assert said.code == code
    assert said.err.startswith("Delete c? [y/N] ")
    assert (tmp_path / "c").exists() == (code != 0)


def test_a_collection_comes_of_stac_items(run, tmp_path, world):
    def item(name: str, file: str, year: int) -> dict:
        return {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": name,
            "collection": "naip",
            "geometry": None,
            "properties": {"datetime": f"{year}-04-15T00:00:00Z", "gsd": 0.6},
            "assets": {"image": {"href": str(world / file), "type": "image/tiff; application=geotiff"}},
        }

    items = [item("california", CALIFORNIA, 2020), item("florida", FLORIDA, 2011)]
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    words = ["collections", "build", str(tmp_path / "items.json"), str(tmp_path / "c"), "--datetime", "2020/2021"]
    said = run(*words, "--bands", "R=image.1", "N=image.4", "--json")
    assert (said.code, said.json["records"], said.json["bands"]) == (0, 1, ["R", "N"]), said.err
    assert pr.list_collections(tmp_path)["source"].to_list() == ["naip"]
    assert run(*words, "--bands", "R=image.1", "N=image.4", "--json").json["records"] == 1, "nothing is new"
    again = run(
        "collections", "build", *words[2:4], "--bands", "R=image.1", "N=image.4", "--description", "Farms", "--json"
    )
    assert again.json["records"] == 2
    assert pr.list_collections(tmp_path)["description"].to_list() == ["Farms"]
    assert run(*words[:4], "--force", "--json").json["bands"] == ["image"]
    said = run(
        "sample", "points.csv", "-c", str(tmp_path / "c"), "--crs", "4326", "--bands", "image", "--unmatched", "drop"
    )
    assert [line.rpartition(",")[2] for line in said.out.splitlines()[1:]] == ["74", "96"]
    refused = run("collections", "build", str(tmp_path / "items.json"), str(tmp_path / "d"), "--bands", "red")
    assert (refused.code, refused.out) == (2, "")
    assert "image" in refused.err
