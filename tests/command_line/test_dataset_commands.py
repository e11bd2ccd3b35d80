"""Do the commands of the catalog show, keep and pass on datasets, and build collections of them?"""

from __future__ import annotations

import json
import tomllib

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr

DEM = "earthsearch/cop-dem-glo-30"


@pytest.fixture(autouse=True)
def own_catalog(tmp_path, monkeypatch):
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "mine.toml"))


def test_datasets_are_listed_as_the_function_lists_them(run):
    said = run("datasets", "list")
    assert (said.code, said.err) == (0, "")
    head, *lines = said.out.splitlines()
    assert head.split() == ["id", "title", "auth", "start", "end", "origin"]
    assert [line.split()[0] for line in lines] == pr.datasets()["id"].to_list()
    rows = run("datasets", "list", "--search", "sentinel-2 earthsearch", "--json").json
    assert rows == json.loads(pr.datasets("sentinel-2 earthsearch").write_json())


def test_info_tells_what_the_catalog_says(run):
    found = run("datasets", "info", DEM, "--json").json
    one = pr.dataset(DEM)
    assert (found["id"], found["title"], found["api"], found["bands"]) == (DEM, one.title, one.api, {"DEM": "data"})
    said = run("datasets", "info", DEM).out
    assert one.title in said
    assert "band DEM" in said
    said = run("datasets", "info", "earthsearch/sentinel-2-l2a").out
    assert all(note in said for note in pr.dataset("earthsearch/sentinel-2-l2a").notes)
    unknown = run("datasets", "info", "earthsearch/cop-dem-glo-31")
    assert (unknown.code, unknown.out) == (2, "")
    assert DEM in unknown.err


def test_a_dataset_is_registered_built_exported_and_unregistered(run, tmp_path, world):
    assert run("datasets", "register", "mine/naip", "naip", "--title", "Farms").out == "registered mine/naip\n"
    assert pr.dataset("mine/naip").title == "Farms"
    assert [row["origin"] for row in run("datasets", "list", "--search", "farms", "--json").json] == ["local"]
    out = tmp_path / "naip.toml"
    assert run("datasets", "export", "mine/naip", str(out), "--json").json == {"exported": ["mine/naip"]}
    assert tomllib.loads(out.read_text())["dataset"]["mine/naip"]["path"] == str(world / "naip")
    assert run("datasets", "export", "mine/naip", str(out)).code == 2
    assert run("datasets", "export", "mine/naip", str(out), "--force").code == 0
    assert run("datasets", "export", "mine/naip", str(tmp_path / "naip.json")).code == 2

    into = str(tmp_path / "built")
    words = ["build", "mine/naip", into, "--datetime", "2020", "--bands", "NIR,R"]
    said = run(*words, "--json")
    assert (said.code, said.json["records"], said.json["bands"]) == (0, 1, ["R", "NIR"]), said.err
    expected = pr.scan_collection("naip").filter(pl.col("id") == "california").drop("G", "B").collect()
    assert_frame_equal(pr.scan_collection(into).collect(), expected)
    assert pr.list_collections(tmp_path)["source"].to_list() == ["mine/naip"]
    assert run("datasets", *words).code == 2, "it is there"
    assert run("datasets", *words[:3], "--force", "--json").json["records"] == 2

    assert run("datasets", "unregister", "mine/naip").out == "unregistered mine/naip\n"
    assert run("datasets", "unregister", "mine/naip").code == 2
    assert run("datasets", "unregister", DEM).code == 2
    assert (world / "naip").is_dir()
    assert run("datasets", "register", str(out), "--json").json == {"registered": ["mine/naip"]}
    assert pr.dataset("mine/naip").title == "Farms"
    for wrong in (["mine/naip"], [str(out), "--title", "x"], ["mine/gone", "gone"], [str(tmp_path / "gone.toml")]):
        assert run("datasets", "register", *wrong).code in (1, 2), wrong


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["build", "no/such", "c"], "no dataset"),
        (["build", DEM, "c"], "--bbox"),
        (["build", DEM, "c", "--bbox", "-122.5,37.7,-122.4"], "minx,miny,maxx,maxy"),
        (["build", DEM, "c", "--query", "{"], "JSON"),
        (["build", DEM, "c", "--query", "[1]"], "mapping"),
        (["build", DEM], "INTO"),
    ],
)
def test_wrong_words_of_a_build_are_told_before_anything_is_asked(words, told, run, world):
    said = run(*words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert not (world / "c").exists()
