"""Is the catalog that comes with the package in order, and is every fault of a file of datasets named with its place?"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.catalog.descriptor_toml import descriptors_of, toml_of
from polars_rasteret.catalog.known import built_in
from polars_rasteret.errors import UsageError

STAC = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "stac"


def test_the_built_in_datasets_are_read_and_have_a_place_bands_and_a_license():
    known = built_in()
    assert len(known) >= 21
    for one in known.values():
        assert one.bands
        assert one.title
        assert one.license
    twelve = "sentinel-2-l2a landsat-c2-l2 naip cop-dem-glo-30 cop-dem-glo-90"
    assert {f"earthsearch/{name}" for name in twelve.split()} < set(known)
    assert known["aef/v1-annual"].bands["A63"].index == 63
    # The crops are in the asset cropland; cultivated holds two classes only.
    assert known["pc/usda-cdl"].bands["CDL"].asset == "cropland"


RECORDED = {
    "pc/sentinel-2-l2a": "api/pc_sentinel-2-l2a_1_FeatureCollection.json",
    "pc/alos-dem": "api/pc_alos-dem_1_FeatureCollection.json",
    "pc/esa-worldcover": "api/pc_esa-worldcover_1_FeatureCollection.json",
    "pc/nasadem": "api/pc_nasadem_1_FeatureCollection.json",
    "earthsearch/cop-dem-glo-30": "api/es_TestCLISearchtest_matchedinprocess_1_FeatureCollection.json",
    "earthsearch/landsat-c2-l2": "landsat__LC08_L2SP_047027_20201204_02_T1.json",
}


@pytest.mark.parametrize("dataset_id", RECORDED)
def test_a_recorded_item_has_the_assets_of_every_band(dataset_id):
    if not STAC.exists():
        pytest.skip("the recorded items of ../shared are not here")
    content = json.loads((STAC / RECORDED[dataset_id]).read_text())
    item = content["features"][0] if "features" in content else content
    one = pr.dataset(dataset_id)
    assert {source.asset for source in one.bands.values()} <= set(item["assets"])
    assert {source.index for source in one.bands.values()} == {0}
    if one.place == "api" and "features" in content:
        assert item["collection"] == one.collection
        assert any(link["href"].startswith(one.api) for link in item["links"])


@pytest.mark.parametrize("dataset_id", [one for one in RECORDED if one.partition("/")[0] == "pc"])
def test_a_recorded_item_lies_in_the_extent_of_its_dataset(dataset_id):
    if not STAC.exists():
        pytest.skip("the recorded items of ../shared are not here")
    properties = json.loads((STAC / RECORDED[dataset_id]).read_text())["features"][0]["properties"]
    first, last = pr.dataset(dataset_id).temporal_extent
    assert first.isoformat() <= (properties.get("start_datetime") or properties["datetime"])[:10]
    assert last is None or (properties.get("end_datetime") or properties["datetime"])[:10] <= last.isoformat()


SCENES = """
schema_version = 1

[dataset."mine/scenes"]
title = "Scenes"
api = "https://stac.example.org/v1"
collection = "scenes"
bands = { red = "B04" }

[dataset.plain]
title = "Plain"
path = "/data/plain"
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dataset", "datasets.toml is no TOML"),
        ("schema_version = 2", "datasets.toml: schema_version is 2"),
        ("stores = 1", "stores is unexpected"),
        ("dataset = 3", "dataset is unexpected"),
        ("dataset.x = 3", "datasets.toml: dataset 'x' is 3"),
        (SCENES.replace('title = "Scenes"', "title = 3"), "line 5: dataset 'mine/scenes': field 'title'"),
        (SCENES.replace('red = "B04"', "red = 4"), "line 8: dataset 'mine/scenes': field 'bands': band 'red' is 4"),
        (SCENES.replace("collection =", "colection ="), "line 7: dataset 'mine/scenes': there is no field 'colection'"),
        (SCENES.replace('collection = "scenes"', ""), "line 4: dataset 'mine/scenes': field 'collection': a STAC API"),
        (SCENES + 'auth = "key"', "line 13: dataset 'plain': field 'auth'"),
        (SCENES + "\n[dataset.plain.bands]\nred = 1", "line 14: dataset 'plain': field 'bands'"),
        (SCENES + '\n[[dataset.plain.rules]]\nbands = ["*"]', "line 14: dataset 'plain': field 'rules': the rule"),
        (SCENES + 'id = "other"', "line 13: dataset 'plain': there is no field 'id'"),
        (SCENES.replace("[dataset.plain]", '[dataset."a  b"]'), "line 10: dataset id is 'a  b'"),
    ],
)  # fmt: skip
def test_a_fault_of_a_file_is_named_with_line_dataset_and_field(text, words):
    with pytest.raises(UsageError) as caught:
        descriptors_of(text, "datasets.toml")
    assert words in str(caught.value)


NAMES = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+){0,2}(/[a-z0-9]+)?", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(str.strip)
NUMBERS = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False))
SIDES = st.tuples(st.floats(-180, 180), st.floats(-90, 0), st.floats(-180, 180), st.floats(0, 90))
DESCRIPTORS = st.builds(
    pr.DatasetDescriptor,
    id=NAMES,
    title=TEXTS,
    description=st.text(st.characters(codec="utf-8"), max_size=8),
    path=st.just("/data/scenes"),
    collection=st.none() | TEXTS,
    collection_aliases=st.lists(TEXTS, max_size=2),
    bands=st.dictionaries(TEXTS, st.one_of(TEXTS, st.tuples(TEXTS, st.integers(0, 9))), min_size=1, max_size=3),
    columns=st.dictionaries(st.sampled_from(["id", "proj:epsg"]), TEXTS),
    alternate=st.none() | TEXTS,
    requires_account=st.booleans(),
    commercial_use=st.none() | st.booleans(),
    temporal_extent=st.tuples(st.none() | st.dates(), st.none()),
    spatial_extent=st.none() | SIDES,
    rules=st.lists(
        st.fixed_dictionaries({"bands": st.lists(TEXTS, min_size=1, max_size=2)}, optional={"offset": NUMBERS}).map(
            lambda rule: {"nodata": float("-inf"), **rule}
        ),
        max_size=2,
    ),
    notes=st.lists(TEXTS, max_size=2),
)


@given(st.lists(DESCRIPTORS, max_size=3))
def test_what_is_written_as_toml_is_read_back_unchanged(descriptors):
    by_id = {one.id: one for one in descriptors}
    assert descriptors_of(toml_of(by_id.values()), "datasets.toml") == by_id


def test_the_built_in_catalog_survives_being_written_and_read():
    assert descriptors_of(toml_of(built_in().values()), "datasets.toml") == built_in()


def test_search_finds_words_in_any_case_in_names_bands_and_notes():
    assert pr.datasets("MODIS interval")["id"].to_list() == ["pc/modis-43a4-061"]
    assert pr.datasets("Fmask")["id"].to_list() == ["pc/hls2-l30", "pc/hls2-s30", "lpcloud/hls-l30", "lpcloud/hls-s30"]
    assert pr.datasets("no such words").height == 0
    assert pr.datasets("no such words").schema == pr.datasets().schema
    assert pr.datasets().filter(pl.col("auth") == "requester_pays")["id"].to_list() == [
        "earthsearch/landsat-c2-l2",
        "earthsearch/naip",
    ]
