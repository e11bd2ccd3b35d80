"""Is a STAC item recognised as one of a dataset, and does the catalog state what the item leaves out?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import polars_rasteret as pr
from polars_rasteret.catalog import known
from polars_rasteret.catalog.item_facts import ItemDatasets, StatedValues

STAC = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stac"


def stated_by_rule(dataset, asset, band_index, field, properties):
    values = StatedValues(dataset)
    found = values.of(asset, band_index, properties)
    assert values.of(asset, band_index, properties) is found  # kept for items of one kind
    return found.get(field)


@pytest.fixture
def sentinel():
    path = STAC / "api" / "pc_sentinel-2-l2a_1_FeatureCollection.json"
    if not path.exists():
        pytest.skip("the recorded items of ../shared are not here")
    return json.loads(path.read_text())["features"][0]


def test_a_recorded_item_of_the_planetary_computer_is_of_its_dataset_and_not_of_earth_search(sentinel):
    assert ItemDatasets().of(sentinel).id == "pc/sentinel-2-l2a"
    bare = {**sentinel, "links": []}
    assert ItemDatasets().of(bare) is None
    assert ItemDatasets().of(bare, "https://earth-search.aws.element84.com/v1/").id == "earthsearch/sentinel-2-l2a"
    assert ItemDatasets().of(bare, "https://earth-search.aws.element84.com/v10") is None
    assert ItemDatasets().of({"collection": None}) is None
    assert ItemDatasets().of({"collection": "sentinel-2-l2a", "links": [None, {"href": 3}]}) is None


def test_an_older_id_of_a_collection_is_known():
    api = "https://cmr.earthdata.nasa.gov/stac/LPCLOUD"
    assert {ItemDatasets().asked(api, name).id for name in ("HLSL30_2.0", "HLSL30.v2.0")} == {"lpcloud/hls-l30"}


def test_the_users_own_dataset_wins_over_a_built_in_one_of_the_same_place(monkeypatch):
    monkeypatch.setattr(known, "registered", {})
    place = {"api": "https://earth-search.aws.element84.com/v1", "collection": "sentinel-2-l2a"}
    pr.register(pr.DatasetDescriptor(id="mine/s2", title="Mine", bands={"red": "red"}, **place))
    assert ItemDatasets().asked(place["api"], "sentinel-2-l2a").id == "mine/s2"


def test_the_offset_of_sentinel_2_follows_the_baseline_of_its_item(sentinel):
    dataset = ItemDatasets().of(sentinel)
    assert sentinel["properties"]["s2:processing_baseline"] == "05.11"
    for asset in ("B01", "B8A", "B12"):
        assert stated_by_rule(dataset, asset, 0, "scale", sentinel["properties"]) == 0.0001
        # 1000 in pixels, since ESA's baseline 04.00.
        assert stated_by_rule(dataset, asset, 0, "offset", sentinel["properties"]) == -1000 * 0.0001
    for baseline, offset in [
        ("04.00", -0.1),
        ("03.01", 0.0),
        ("02.12", 0.0),
        ("10.00", -0.1),
        (None, None),
        ("new", None),
    ]:
        assert stated_by_rule(dataset, "B04", 0, "offset", {"s2:processing_baseline": baseline}) == offset
    for asset in ("SCL", "AOT", "WVP", "visual"):
        assert stated_by_rule(dataset, asset, 0, "offset", sentinel["properties"]) is None


def test_thermal_bands_of_hls_have_a_scale_of_their_own_and_fmask_none():
    dataset = pr.dataset("pc/hls2-l30")
    found = [stated_by_rule(dataset, band, 0, "scale", {}) for band in ("B04", "B09", "B10", "B11", "Fmask")]
    assert found == [0.0001, 0.0001, 0.01, 0.01, None]
    assert stated_by_rule(dataset, "B10", 0, "nodata", {}) == -9999
    assert stated_by_rule(pr.dataset("pc/hls2-s30"), "B10", 0, "scale", {}) == 0.0001
    assert stated_by_rule(dataset, "B04", 1, "scale", {}) is None
