"""Do datasets of the catalog come from STAC with their bands, hrefs and numbers, asked in the right words?"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import rasterio
import shapely

import polars_rasteret as pr
from polars_rasteret.catalog import known
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.hints import forget_hints, hint_for
from tests.support.scene_files import write_scene
from tests.support.stac_server import StacServer

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stac" / "api"
POINT = (500_005.0, 5e6 - 5)
FILES = "https://files.example.org/"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "registered", {})
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "datasets.toml"))
    yield
    forget_hints()


@pytest.fixture
def image(tmp_path):
    write_scene(tmp_path / "image.tif", dtype="int16", count=2, origin=(500_000.0, 5e6), scales=(9.0, 9.0))
    with rasterio.open(tmp_path / "image.tif") as file:
        return file.read()


def item(name: str, day: int, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "scenes",
        "geometry": {"type": "Point", "coordinates": [9.0, 45.1]},
        "bbox": [9.0, 45.1, 9.0, 45.1],
        "properties": {"datetime": f"2024-05-{day:02}T10:00:00Z", **properties},
        "assets": {
            key: {"href": f"{FILES}image.tif", "type": "image/tiff; application=geotiff", **asset}
            for key, asset in assets.items()
        },
        "links": [],
    }


ITEMS = [
    item("new", 1, {"B04": {}, "image": {}, "other": {}}, baseline="04.00"),
    item("old", 2, {"B04": {}, "image": {}}, baseline="02.12"),
    item("stated", 3, {"B04": {"raster:bands": [{"scale": 2.0}]}, "image": {}}, baseline="04.00"),
    item("without", 4, {"B04": {}}),
    {**item("elsewhere", 5, {"B04": {}}), "collection": "others"},
]


def registered(url: str | None, tmp_path: Path, **changed: Any) -> None:
    facts = {
        "title": "Scenes",
        "api": url,
        "collection": "scenes",
        "bands": {"red": "B04", "nir": ("image", 1), "swir": "B12"},
        "rewrite": {FILES: f"{tmp_path}/"},
        "rules": [
            {"bands": ["red"], "scale": 0.5, "offset": -10, "property": "baseline", "at_least": "04.00"},
            {"bands": ["red"], "scale": 0.5, "offset": 0, "property": "baseline", "below": "04.00"},
            {"bands": ["nir"], "nodata": 1, "scale": 3},
        ],
    }
    pr.register(pr.DatasetDescriptor(id="mine/scenes", **{**facts, **changed}))


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_an_api_is_asked_for_the_dataset_and_its_numbers_reach_the_pixels(engine, image, tmp_path):
    with StacServer(ITEMS) as server:
        registered(server.url, tmp_path)
        scenes = pr.build("mine/scenes", bbox=(8, 45, 10, 46), datetime="2024-05-01/2024-05-03")
    words = [one.words for one in server.searches]
    assert {tuple(one["collections"]) for one in words} == {("scenes",)}
    assert words[0]["bbox"] == [8, 45, 10, 46]
    assert words[0]["datetime"] == "2024-05-01T00:00:00Z/2024-05-03T23:59:59.999999Z"
    assert scenes.raster.bands() == ["red", "nir", "swir"]
    frame = scenes.collect()
    assert frame["id"].to_list() == ["new", "old", "stated"]
    assert frame["nir"].struct.field("href").to_list() == [str(tmp_path / "image.tif")] * 3
    assert frame["swir"].null_count() == 3
    red = pl.col("red").raster.sample_points(*POINT, crs=32632, unscale=True)
    nir = pl.col("nir").raster.sample_points(*POINT, crs=32632)
    found = scenes.select("id", red, nir).collect(engine=engine)
    value = int(image[0, 0, 0])
    # What the item states counts first, then the rule (per field), then the file, whose scale is 9.
    assert found["red"].to_list() == [value * 0.5 - 10, value * 0.5, value * 2.0 - 10]
    assert found["nir"].to_list() == [int(image[1, 0, 0])] * 3
    assert frame["nir"].struct.field("nodata").to_list() == [1, 1, 1]


def test_a_build_into_a_folder_keeps_what_is_there_and_adds_what_is_asked_for_next(image, tmp_path):
    with StacServer(ITEMS) as server:
        registered(server.url, tmp_path)
        words = {"bbox": (8, 45, 10, 46), "into": tmp_path / "built"}
        pr.build("mine/scenes", datetime="2024-05-01/2024-05-02", **words)
        # Another question is not taken for the one before.
        scenes = pr.build("mine/scenes", datetime="2024-05-02/2024-05-03", **words)
    frame = scenes.sort("datetime").collect()
    assert frame["id"].to_list() == ["new", "old", "stated"]
    assert scenes.raster.bands() == ["red", "nir", "swir"]
    assert frame["red"].struct.field("offset").to_list() == [-10, 0, -10]
    in_memory = pl.scan_parquet(tmp_path / "built" / "*.parquet").select(pl.col("red").struct.field("scale"))
    assert sorted(in_memory.collect()["scale"].to_list()) == [0.5, 0.5, 2]


def test_bands_are_named_by_catalog_asset_or_not_at_all(image, tmp_path):
    with StacServer(ITEMS) as server:
        registered(server.url, tmp_path)
        words = {"bbox": (8, 45, 10, 46), "datetime": "2024-05"}
        with pytest.warns(UserWarning, match=r"1 item\(s\) have none of the bands"):
            found = pr.build("mine/scenes", bands=["nir"], **words)
        assert found.select("id").collect()["id"].to_list() == ["new", "old", "stated"]
        with pytest.warns(UserWarning, match="have none of the bands"):
            found = pr.build("mine/scenes", bands=["other"], **words).collect()
        assert found["other"].struct.field("href").to_list() == [str(tmp_path / "image.tif")]
        with pytest.raises(UsageError, match=r"no item has 'B12.1'"):
            pr.build("mine/scenes", bands=["swir"], **words)
        assert pr.build("mine/scenes", ids=["old"]).select("id").collect().item() == "old"
        assert pr.build("mine/scenes", max_items=2).collect().height == 2
        found = pr.build("mine/scenes", query={"baseline": {"eq": "04.00"}}, sortby="-datetime", **words)
        assert found.collect()["id"].to_list() == ["stated", "new"]


def test_build_from_stac_names_bands_as_the_catalog_does_where_it_knows_the_items(image, tmp_path):
    with StacServer(ITEMS) as server:
        registered(server.url, tmp_path)
        scenes = pr.build_from_stac(server.url, rewrite={FILES: f"{tmp_path}/"})
    frame = scenes.sort("datetime").collect()
    assert scenes.raster.bands() == ["red", "nir", "B04"]
    # The items of another collection are not known.
    assert frame.select(pl.col("red", "nir", "B04").is_not_null()).rows() == [
        (True, True, False),
        (True, True, False),
        (True, True, False),
        (True, False, False),
        (False, False, True),
    ]
    assert frame["red"].struct.field("offset").to_list()[:3] == [-10, 0, -10]
    # Without the place that they came from, nothing tells that they are of the dataset.
    named = pr.build_from_stac(ITEMS[:1], rewrite={FILES: f"{tmp_path}/"}, bands=["B04"]).collect()
    assert named["B04"].struct.field("scale").item() == 9
    linked = {**ITEMS[0], "links": [{"rel": "root", "href": f"{server.url}/"}]}
    named = pr.build_from_stac([linked], rewrite={FILES: f"{tmp_path}/"}, bands=["B04"]).collect()
    assert named["B04"].struct.field("scale").item() == 0.5


def test_a_static_catalog_is_filtered_here(image, tmp_path):
    folder = tmp_path / "catalog"
    folder.mkdir()
    for one in ITEMS:
        (folder / f"{one['id']}.json").write_text(json.dumps(one))
    links = [{"rel": "item", "href": f"./{one['id']}.json"} for one in ITEMS]
    about = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "of a test", "links": links}
    (folder / "catalog.json").write_text(json.dumps(about))
    registered(None, tmp_path, catalog=str(folder / "catalog.json"))
    found = pr.build("mine/scenes", bbox=(8, 45, 10, 46), datetime="2024-05-02/2024-05-31").sort("id").collect()
    assert found["id"].to_list() == ["old", "stated", "without"]
    assert found["red"].struct.field("scale").to_list() == [0.5, 2, 9]
    with pytest.raises(UsageError, match="a static catalog"):
        pr.build("mine/scenes", ids=["old"], query={"baseline": {"eq": "x"}})


def test_items_in_geoparquet_are_filtered_in_their_scan(image, tmp_path):
    rows = [
        {
            "id": one["id"],
            "collection": one["collection"],
            "geometry": shapely.Point(9.0, 45.1).wkb,
            "bbox": {"xmin": 9.0, "ymin": 45.1, "xmax": 9.0, "ymax": 45.1},
            "datetime": dt.datetime.fromisoformat(one["properties"]["datetime"]),
            "baseline": one["properties"].get("baseline"),
            "assets": {key: {"href": f"{FILES}image.tif", "type": "image/tiff"} for key in ("B04", "image")},
        }
        for one in ITEMS
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "items.parquet")
    registered(None, tmp_path, items=str(tmp_path / "items.parquet"))
    found = pr.build("mine/scenes", bbox=(8, 45, 10, 46), datetime="2024-05-02/2024-05-31").sort("id").collect()
    assert found["id"].to_list() == ["old", "stated", "without"]
    assert found["red"].struct.field("offset").to_list() == [0, -10, 0]
    assert found["red"].struct.field("scale").to_list() == [0.5, 0.5, 9]
    assert found["nir"].struct.field("href").to_list() == [str(tmp_path / "image.tif")] * 3


def test_a_recorded_item_of_the_planetary_computer_is_unscaled_by_its_baseline(tmp_path):
    path = RECORDED / "pc_sentinel-2-l2a_1_FeatureCollection.json"
    if not path.exists():
        pytest.skip("the recorded items of ../shared are not here")
    one = json.loads(path.read_text())["features"][0]
    container = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/"
    for band in ("B04", "SCL"):
        href = one["assets"][band]["href"].partition("?")[0]
        assert href.startswith(container)
        write_scene(tmp_path / href.removeprefix(container), origin=(500_000.0, 5e6))
    scenes = pr.build_from_stac([one], rewrite={container: f"{tmp_path}/"})
    assert scenes.raster.bands() == list(pr.dataset("pc/sentinel-2-l2a").bands)
    x, y = 500_005.0, 5e6 - 25  # two rows down: pixels count up from 0
    found = scenes.select(
        pl.col("B04", "SCL").raster.sample_points(x, y, crs=32632).name.suffix("_raw"),
        pl.col("B04", "SCL").raster.sample_points(x, y, crs=32632, unscale=True),
    ).collect()
    raw = found["B04_raw"].item()
    assert raw == found["SCL_raw"].item() > 0
    assert found["B04"].item() == pytest.approx((raw - 1000) / 10_000, abs=1e-12)
    assert found["SCL"].item() == raw


def test_what_the_catalog_knows_of_buckets_helps_to_find_files_and_never_pays(image, tmp_path):
    with StacServer(ITEMS[:1]) as server:
        registered(server.url, tmp_path, auth="requester_pays", regions={"s3://paid-scenes/": "eu-central-1"})
        with pytest.raises(UsageError, match="pays for it"):
            pr.build("mine/scenes", ids=["new"])
        assert server.asked == []
        pr.build("mine/scenes", ids=["new"], storage_options={"aws_request_payer": "true", "aws_access_key_id": "k"})
    assert hint_for("s3://paid-scenes/a.tif").region == "eu-central-1"
    assert hint_for("s3://paid-scenes/a.tif").signing == "requester-pays"
