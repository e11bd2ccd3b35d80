"""Does the comparison with the catalog name what is missing, what is elsewhere and which values differ?"""

from __future__ import annotations

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.catalog import known
from polars_rasteret.catalog.comparison import _is_within
from polars_rasteret.errors import UsageError

FACTS = {"title": "Scenes", "api": "https://stac.example.org/v1", "collection": "scenes"}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "registered", {})
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "datasets.toml"))


def registered(dataset_id="mine/scenes", **changed):
    one = pr.DatasetDescriptor(id=dataset_id, **{**FACTS, "bands": {"red": "B04", "nir": ("image", 3)}, **changed})
    pr.register(one)
    return one


def scenes():
    return pr.testing.example_scenes().with_columns(collection=pl.lit("scenes"))


def rows(comparison):
    return {row[0]: row[1:] for row in comparison.table.iter_rows()}


def test_the_dataset_is_found_by_collection_and_bands():
    registered(temporal_extent=["2024-01-01", ""], spatial_extent=[0, 40, 20, 50])
    registered("other/scenes", bands={"B04": "B04"})
    found = scenes().raster.compare_to_catalog()
    assert found.dataset.id == "mine/scenes"
    assert found.agrees
    assert rows(found)["band nir"] == ("UInt16", "image, band 3", True)
    assert rows(found)["time"] == ("2024-05-01 to 2024-06-01", "2024-01-01 to", True)
    assert rows(found)["bounds"][2]
    registered("third/scenes")
    with pytest.raises(UsageError, match="may be of mine/scenes or third/scenes"):
        scenes().raster.compare_to_catalog()
    with pytest.raises(UsageError, match="have no column 'collection'"):
        pr.testing.example_scenes().raster.compare_to_catalog()
    with pytest.raises(UsageError, match="are of else, which the catalog does not have"):
        scenes().with_columns(collection=pl.lit("else")).raster.compare_to_catalog()


def test_what_differs_is_named():
    registered(bands={"red": "B04", "swir": "B12"}, temporal_extent=["", "2024-05-10"], spatial_extent=[10, 40, 20, 50])
    found = scenes().with_columns(collection=pl.lit("else")).raster.compare_to_catalog("mine/scenes")
    assert not found.agrees
    disagreeing = [row[0] for row in found.table.iter_rows() if row[3] is False]
    assert disagreeing == ["collection", "time", "bounds", "band swir", "band nir"]


def test_values_that_are_not_as_the_rule_states_are_counted():
    new = {"property": "baseline", "at_least": "04.00"}
    old = {"property": "baseline", "below": "04.00"}
    registered(rules=[{"bands": ["r*"], "offset": -0.1, **new}, {"bands": ["r*"], "offset": 0, **old}])
    as_stated = scenes().with_columns(
        pl.Series("baseline", ["05.10", "02.12"]),
        pl.col("red").raster.with_metadata(offset=pl.when(pl.col("id") == "first").then(-0.1)),
    )
    found = as_stated.raster.compare_to_catalog()
    assert rows(found)["values red"] == ("as stated", "nodata, scale, offset", True)
    assert "values nir" not in rows(found)
    found = as_stated.with_columns(pl.lit("05.10").alias("baseline")).raster.compare_to_catalog()
    assert found.differing_values == {"red": 1}
    assert rows(found)["values red"][::2] == ("1 records differ", False)


def test_it_prints_with_aligned_columns_and_renders_as_escaped_html():
    registered(bands={"red": "<B04>"})
    found = scenes().raster.compare_to_catalog("mine/scenes")
    lines = repr(found).splitlines()
    assert lines[0].split() == ["what", "here", "catalog", "agrees"]
    assert len({line.find("catalog") for line in lines[:1]} | {lines[1].find("mine/scenes")}) == 1
    text = found._repr_html_()
    assert "&lt;B04&gt;" in text
    assert text.count("<tr>") == found.table.height + 1
    assert text.count("<th") == 4 + found.table.height


@pytest.mark.parametrize(
    ("box", "outer", "expected"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), True),
        ((0, 0, 1, 1), (-180, -90, 180, 90), True),
        ((170, 0, -170, 1), (-180, -90, 180, 90), True),
        ((170, 0, -170, 1), (160, 0, -160, 1), True),
        ((150, 0, -170, 1), (160, 0, -160, 1), False),
        ((-1, 0, 1, 1), (0, 0, 1, 1), False),
        ((0, 0, 2, 1), (0, 0, 1, 1), False),
        ((0, 0, 1, 2), (0, 0, 1, 1), False),
        ((350, 0, 355, 1), (-20, 0, 0, 1), True),
    ],
)
def test_a_box_is_within_another_one_also_across_the_antimeridian(box, outer, expected):
    assert _is_within(box, outer) is expected
