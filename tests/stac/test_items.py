"""Are STAC items of every version read as pystac and shapely read them, or refused with a reason?"""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from polars_rasteret.errors import UsageError
from polars_rasteret.stac.asset_bands import Plane, asset_href, is_geotiff
from polars_rasteret.stac.instants import instant
from polars_rasteret.stac.item_columns import item_columns, property_column, united
from polars_rasteret.stac.items import footprint, items_of, resolved
from polars_rasteret.stac.stated_metadata import held, stated_crs, stated_number
from tests.support.stac_items import FILES, FOLDER, REFUSED, bands_of_items

needs_files = pytest.mark.skipif(not FILES, reason="the real items of ../shared/data/stac are not there")


def _raw(path: Path) -> list[dict[str, Any]]:
    content = json.loads(path.read_bytes())
    if isinstance(content, list):
        return content
    return content["features"] if content.get("type") == "FeatureCollection" else [content]


@needs_files
@pytest.mark.filterwarnings("ignore:Both proj")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_becomes_rows_as_pystac_reads_it_or_is_refused(path: Path) -> None:
    pystac = pytest.importorskip("pystac")
    found = items_of(path)
    if path.name in REFUSED:
        assert not found.items
        assert [reason for _, reason in found.refused] == [f"type is {REFUSED[path.name]!r}, not 'Feature'"]
        return
    assert not found.refused
    raw = _raw(path)
    frame = item_columns(found.items).frame
    assert frame["id"].to_list() == [one["id"] for one in raw]
    for row, one in zip(frame.iter_rows(named=True), raw, strict=True):
        geometry = one.get("geometry")
        assert (row["geometry"] is None) == (geometry is None)
        if geometry is not None:
            assert shapely.from_wkb(row["geometry"]).equals_exact(shapely.force_2d(shape(geometry)), 0)
        for name, value in one["properties"].items():
            _same_property(row, name, value)
        if "assets" not in one or geometry is None:
            continue  # an answer to `fields`, which pystac does not read
        try:
            item = pystac.Item.from_dict(one, preserve_dict=True)
        except pystac.errors.STACError:
            continue
        times = (item.datetime, item.common_metadata.start_datetime, item.common_metadata.end_datetime)
        ours = (row["datetime"], row["start_datetime"], row["end_datetime"])
        assert ours == tuple(None if t is None else t if t.tzinfo else t.replace(tzinfo=dt.UTC) for t in times)
        assert row["collection"] == item.collection_id
        if item.bbox is not None:
            half = len(item.bbox) // 2
            assert list(row["bbox"].values()) == [*item.bbox[:2], *item.bbox[half : half + 2]]


def _same_property(row: dict[str, Any], name: str, value: Any) -> None:
    if name in ("datetime", "start_datetime", "end_datetime", "proj:epsg", "proj:code"):
        return
    column = f"properties:{name}" if f"properties:{name}" in row else name
    if value is None:
        assert row.get(column) is None
    elif row[column] != value:
        assert json.loads(row[column]) == value


@needs_files
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pystac__raster-planet-example.json", {f"data.{n}": Plane("data", n - 1) for n in (1, 2, 3, 4)}),
        ("pystac__optional-epsg.json", {}),  # its one GeoTIFF has the roles data and visual
        ("stac-spec__simple-item.json", {}),  # a picture and a thumbnail
        ("landsat__LC08_L2SP_008059_20191201_20200825_02_T1_SR_stac.json", {"SR_B1.TIF": Plane("SR_B1.TIF", 0)}),
        ("odc-stac__lidar_dem.json", {"dem": Plane("dem", 0)}),
        ("rio-tiler__stac_raster.json", {name: Plane(name, 0) for name in ("red", "green", "blue")}),
    ],
)
def test_bands_of_real_items(name: str, expected: dict[str, Plane]) -> None:
    planes = bands_of_items(items_of(FOLDER / name).items, None)
    if "landsat" not in name:
        assert planes.keys() == expected.keys()
    assert {band: planes[band] for band in expected} == {band: [plane] for band, plane in expected.items()}


def _item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "a",
        "geometry": None,
        "properties": properties,
        "assets": {key: {"href": f"./{key}.tif"} | asset for key, asset in assets.items()},
    }


def test_names_are_keys_then_common_names_of_geotiffs() -> None:
    red = {"eo:bands": [{"common_name": "red"}]}
    picture = {"roles": ["visual"], "eo:bands": [{"common_name": c} for c in ("red", "green", "blue")]}
    item = _item({"B04": red, "B04-jp2": red | {"type": "image/jp2"}, "visual": picture})
    assert bands_of_items([item], ["red"]) == {"red": [Plane("B04", 0)]}
    assert bands_of_items([item], {"g": "green", "third": "visual.3"}) == {
        "g": [Plane("visual", 1)],
        "third": [Plane("visual", 2)],
    }
    assert bands_of_items([item, _item({})], ["B04"]) == {"B04": [Plane("B04", 0), None]}
    with pytest.raises(UsageError, match=r"ambiguous in item 'a': B04, B4a\."):
        bands_of_items([item, _item({"B04": red, "B4a": red})], ["red"])
    with pytest.raises(UsageError, match=r"no item has 'nir'\. Their assets: B04, B04-jp2, visual\."):
        bands_of_items([item], ["nir"])
    with pytest.raises(UsageError, match=r"'visual' of item 'a' has 3 bands; say which: visual\.1 to visual\.3"):
        bands_of_items([item], ["visual"])


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ({"type": "image/tiff; application=geotiff"}, True),
        ({"type": "image/vnd.stac.geotiff; cloud-optimized=true"}, True),
        ({"type": "image/jp2"}, False),
        ({"type": None, "href": "https://a/b.TIF?x=1"}, True),
        ({"href": "https://a/b.nc?x=.tif"}, False),
    ],
)
def test_a_geotiff_says_so_or_is_named_so(asset: dict[str, Any], expected: bool) -> None:
    assert is_geotiff({"href": "x.tif"} | asset) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T10:30:00Z", dt.datetime(2024, 5, 1, 10, 30)),
        ("2024-05-01 10:30:00.1234569+02:00", dt.datetime(2024, 5, 1, 8, 30, 0, 123456)),
        ("2024-05-01T00:10:00.5-0530", dt.datetime(2024, 5, 1, 5, 40, 0, 500000)),
        ("2024-05-01", dt.datetime(2024, 5, 1)),
    ],
)
def test_times(text: str, expected: dt.datetime) -> None:
    assert instant(text) == expected.replace(tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["", "today", "2024-13-01", "2024-05-01T25:00:00Z", 5, "0001-01-01T00:00:00+02:00"])
def test_no_times(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        instant(text)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, None, 2], "Int64", [1, None, 2]),
        ([1, 2.5], "Float64", [1.0, 2.5]),
        ([True, 1], "String", ["true", "1"]),
        ([2**63, 1], "String", ["9223372036854775808", "1"]),
        (["é", 1], "String", ['"é"', "1"]),
        ([[1], [], [2.5, None]], "List(Float64)", [[1.0], [], [2.5, None]]),
        ([[1], ["a"]], "String", ["[1]", '["a"]']),
        ([{"a": 1}, None], "String", ['{"a": 1}', None]),
    ],
)
def test_types_are_united(values: list[Any], dtype: str, expected: list[Any]) -> None:
    column = property_column("p", values)
    assert column is not None
    assert (str(column.dtype), column.to_list()) == (dtype, expected)
    assert property_column("p", [None, None]) is None


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize(
    "values",
    [
        [1, None, 2.5],
        [True, 1, None],
        ["é", 1, {"a": 1}],
        [[1], [], [2.5, None]],
        [[], [1], ["a"]],
        [None, [], ["a"]],
        [[[1]], [1], None],
    ],
)
def test_columns_of_pages_unite_as_if_they_were_one_page(values: list[Any], cut: int) -> None:
    items = [_item({}, p=value, q=1) for value in values]
    whole = item_columns(items)
    pages = united([item_columns(items[:cut]), item_columns(items[cut:])])
    assert pages.kinds == whole.kinds
    assert pages.frame.schema == whole.frame.select(pages.frame.columns).schema
    assert pages.frame.rows() == whole.frame.select(pages.frame.columns).rows()


def test_a_property_named_like_a_column_is_renamed() -> None:
    frame = item_columns([_item({}, collection="x", B04=3, platform="p")], ["B04"]).frame
    assert frame.select("collection", "properties:collection", "properties:B04", "platform").row(0) == (
        None,
        "x",
        3,
        "p",
    )


def test_what_is_no_item_is_refused_one_by_one() -> None:
    good = _item({})
    bad_time, bad_place = _item({}, datetime="soon"), _item({}) | {"geometry": {"type": "Blob"}}
    found = items_of(
        {
            "type": "FeatureCollection",
            "features": [good, bad_time, bad_place, 7, {"type": "Feature", "id": "b", "properties": {}}],
        }
    )
    assert found.items == [good]
    reasons = [reason for _, reason in found.refused]
    assert [reason.split(" ", 1)[0] for reason in reasons] == ["datetime:", "geometry", "is", "is"]


@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        ("./B.tif", "https://h/a/item.json?x=1", "https://h/a/B.tif"),
        ("../B 1#.tif", "s3://bucket/a/b/item.json", "s3://bucket/a/B 1#.tif"),
        ("B.tif", "/data/a/item.json", "/data/a/B.tif"),
        ("/x/B.tif", "/data/a/item.json", "/x/B.tif"),
        ("s3://b/B.tif", "https://h/a/item.json", "s3://b/B.tif"),
    ],
)
def test_relative_hrefs(href: str, base: str, expected: str) -> None:
    assert resolved(href, base) == expected


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]},  # a ring that is not closed
        {"type": "Polygon", "coordinates": [[[0.1, 0, 7], [1 / 3, 0, 7], [1, 1e-9, 7], [0.1, 0, 7]]]},
        {"type": "Polygon", "coordinates": ()},
        {"type": "MultiPolygon", "coordinates": [[[(0, 0), (1, 0), (1, 1), (0, 0)]]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [1, 2]}]},
    ],
)
def test_footprints_are_those_of_shapely(geometry: dict[str, Any]) -> None:
    expected = shapely.force_2d(shape(geometry))
    assert shapely.from_wkb(footprint(geometry)).equals_exact(expected, 0)
    assert footprint(geometry) == shapely.to_wkb(expected)


@pytest.mark.parametrize(
    "geometry", [{"type": "Feature", "geometry": None}, {"type": "Point"}, {"type": "Point", "coordinates": [["a"]]}, 7]
)
def test_what_is_no_geometry_is_refused(geometry: Any) -> None:
    with pytest.raises(ValueError, match="is no GeoJSON"):
        footprint(geometry)


def test_alternate_and_rewrite() -> None:
    item = _item({"B1": {"alternate": {"s3": {"href": "s3://b/B1.tif"}}}, "B2": {}, "s3_B2": {"href": "s3://b/2.tif"}})
    base = "https://h/a/item.json"
    assert [asset_href(item, key, base, alternate="s3") for key in ("B1", "B2")] == ["s3://b/B1.tif", "s3://b/2.tif"]
    assert asset_href(item, "B1", base, alternate=["gs", "s3"]) == "s3://b/B1.tif"
    bare = {"href": None, "type": "image/tiff"}
    for asset in ({"links": [{"href": "./0.tif"}]}, {"alternate": {"s3": {"href": "./0.tif"}}}):
        old = _item({"B1": bare | asset, "B2": bare})
        assert bands_of_items([old], None) == {"B1": [Plane("B1", 0)]}
        assert asset_href(old, "B1", base) == "https://h/a/0.tif"
    rewrite = {"https://h/": "gs://x/", "https://h/a/": "s3://y/"}
    assert asset_href(item, "B1", base, rewrite=rewrite) == "s3://y/B1.tif"


def test_each_field_comes_from_the_most_specific_place() -> None:
    asset = {
        "bands": [{"nodata": "nan"}],
        "scale": 0.1,
        "raster:bands": [{"nodata": 0, "scale": 2, "offset": -1000}, {"nodata": -9999}],
        "proj:epsg": None,
    }
    item = _item({"B1": asset, "B2": {"proj:code": "EPSG:3857"}}, **{"proj:epsg": 32631})
    item["properties"]["raster:bands"] = [{"nodata": "-inf", "offset": 7}]
    assert math.isnan(stated_number(item, "B1", 0, "nodata") or 0)
    assert [stated_number(item, "B1", 0, field) for field in ("scale", "offset")] == [0.1, -1000]
    assert stated_number(item, "B1", 1, "nodata") == -9999
    assert [stated_number(item, "B2", 0, field) for field in ("nodata", "scale", "offset")] == [-math.inf, None, 7]
    assert [stated_crs(item, key) for key in ("B1", "B2")] == ["EPSG:32631", "EPSG:3857"]


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (-9999, "uint16", None),
        (255, "uint8", 255),
        (math.nan, "int16", None),
        (0.5, "int16", None),
        (-1e40, "float64", -1e40),
    ],
)
def test_nodata_that_a_dtype_cannot_hold_is_ignored(value: float, dtype: str, expected: float | None) -> None:
    assert held(value, np.dtype(dtype)) == expected
