"""Does what STAC items state reach the pixels of a collection, from every place that items come from?"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pyproj
import pystac
import pytest
import rasterio

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, UsageError
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene


def item(name: str, assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": properties,
        "assets": assets,
        "links": [],
    }


def test_what_items_state_of_numbers_wins_over_the_file(tmp_path: Path) -> None:
    write_scene(tmp_path / "r.tif", scales=(3.0,), offsets=(1.0,))
    with rasterio.open(tmp_path / "r.tif") as file:
        pixels, (x, y), crs = file.read(1), file.xy(3, 5), file.crs
    value = int(pixels[3, 5])
    asset = {"href": "./r.tif", "raster:bands": [{"scale": 0.5, "offset": 7}]}
    items = [
        item("plain", {"red": asset}, datetime="2024-05-01"),
        item("file", {"red": {"href": "./r.tif"}}),
        item("hidden", {"red": asset | {"nodata": value}}),
        item("none", {}),
        item("too", {"red": asset | {"nodata": -1e9}}),
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with pytest.warns(UserWarning, match=r"1 item\(s\) have none of the bands"):
        scenes = pr.build_from_stac(path, bands=["red"])
    read = pl.col("red").raster.sample_points(x, y, crs=crs.to_epsg(), unscale=True)
    expected = [("plain", value * 0.5 + 7), ("file", value * 3.0 + 1), ("hidden", None), ("too", value * 0.5 + 7)]
    for engine in ("in-memory", "streaming"):
        assert scenes.select("id", read).collect(engine=engine).rows() == expected


def test_the_crs_of_the_file_wins_and_that_of_the_item_fills_in(tmp_path: Path) -> None:
    write_scene(tmp_path / "with.tif", crs="EPSG:32632")
    with rasterio.open(tmp_path / "with.tif") as file:
        pixels, profile = file.read(), {**file.profile, "crs": None}
    with rasterio.open(tmp_path / "without.tif", "w", **profile) as other:
        other.write(pixels)
    with rasterio.open(tmp_path / "without.tif") as other:
        assert other.crs is None
        assert not other.transform.is_identity
    stated = {"proj:epsg": 32633}
    items = [
        item(name, {"red": {"href": str(tmp_path / f"{name}.tif")} | asset}, **properties)
        for name, asset, properties in [
            ("with", {"proj:code": "EPSG:32633"}, stated),
            ("without", {"proj:code": "EPSG:32632"}, stated),
            ("without", {"proj:epsg": None}, {"proj:projjson": pyproj.CRS.from_epsg(32632).to_json_dict()}),
            ("without", {"proj:code": "EPSG:999999"}, {}),
        ]
    ]
    scenes = pr.build_from_stac(items[:1])
    assert scenes.select("proj:code").collect().item() == "EPSG:32632"
    of_file = scenes.select("bbox").collect().item()
    for one, code, box in [
        (items[1], "EPSG:32632", of_file),
        (items[2], "EPSG:32632", of_file),
        (items[3], None, None),
    ]:
        made = pr.build_from_stac([one]).collect()
        assert made["red"].struct.field("crs").to_list() == [code]
        assert made["bbox"].to_list() == [box]
    pr.build_from_stac(items[1:2], into=tmp_path / "c")
    with rasterio.open(tmp_path / "without.tif", "w", **profile | {"compress": None}) as other:
        other.write(pixels + 1)
    again = pr.refresh(tmp_path / "c").collect()
    assert again["red"].struct.field("crs").to_list() == ["EPSG:32632"]
    assert again["bbox"].to_list() == [of_file]


def test_a_catalog_is_crawled_on_disk_and_over_http_and_filtered_here(tmp_path: Path) -> None:
    catalog = pystac.Catalog("root", "of tests")
    for name, lon in (("west", 8.0), ("east", 12.0)):
        child = pystac.Collection(
            name, "c", pystac.Extent(pystac.SpatialExtent([[0, 0, 1, 1]]), pystac.TemporalExtent([[None, None]]))
        )
        catalog.add_child(child)
        for number in range(3):
            one = pystac.Item(
                f"{name}-{number}",
                {"type": "Point", "coordinates": [lon, 45.0]},
                [lon, 45.0, lon, 45.0],
                pystac.utils.str_to_datetime(f"2024-05-0{number + 1}T12:00:00Z"),
                {},
            )
            one.add_asset("red", pystac.Asset("./red.tif", roles=["data"]))
            child.add_item(one)
    catalog.normalize_and_save(str(tmp_path / "c"), pystac.CatalogType.SELF_CONTAINED)
    tif = write_scene(tmp_path / "red.tif").read_bytes()
    for path in list((tmp_path / "c").rglob("*-?.json")):
        (path.parent / "red.tif").write_bytes(tif)
    (tmp_path / "c/east/east-2/east-2.json").write_text("not json")
    copied = tmp_path / "c/east/east-1/east-1.json"  # a copy whose original lies elsewhere
    content = json.loads(copied.read_text())
    content["links"].append({"rel": "self", "href": "https://elsewhere.example/east-1.json"})
    copied.write_text(json.dumps(content))
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in (tmp_path / "c").rglob("*.*")}
    del files["c/west/west-2/west-2.json"]
    with RangeServer(files) as server:
        for place, n_lost in ((tmp_path / "c/catalog.json", 1), (server.url("c/catalog.json"), 2)):
            with pytest.warns(UserWarning, match=rf"{n_lost} thing\(s\) are no STAC items") as told:
                found = pr.build_from_stac(place, collections="east", datetime="2024-05-02/..").collect()
            assert len(told) == 1
            assert found.select("id", "header_error").rows() == [("east-1", None)]
            assert found["red"].struct.field("href")[0].endswith("c/east/east-1/red.tif")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert pr.build_from_stac(place, bbox=(7, 44, 9, 46), max_items=1).collect().height == 1
                boxed = pr.build_from_stac(place, bbox=(7, 44, 9, 46), ids=["west-0", "east-0"])
            assert boxed.select("id").collect().to_series().to_list() == ["west-0"]
        opened = pystac.Collection.from_file(str(tmp_path / "c/west/collection.json"))
        for objects in (opened, list(opened.get_items()), pystac.ItemCollection(opened.get_items())):
            found = pr.build_from_stac(objects).collect()
            assert sorted(found["id"]) == ["west-0", "west-1", "west-2"]
            assert not found["header_error"].is_not_null().any()
    with pytest.raises(UsageError, match="query=: the source is a static catalog"):
        pr.build_from_stac(tmp_path / "c/catalog.json", query={})
    with pytest.raises(UsageError, match="nothing is at"):
        pr.build_from_stac(tmp_path / "c/none.json")


def test_an_item_without_a_geometry_is_where_its_box_is(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif")
    asset = {"red": {"href": str(tmp_path / "a.tif")}}
    boxes = {"east": [179, 0, -179, 1], "high": [-179.5, 0, 0, -179, 1, 99], "far": [10, 0, 11, 1], "none": None}
    items = [item(name, asset) | {"bbox": box} for name, box in boxes.items()]
    for box in ((178, 0, -178, 1), (-179.2, 0, -178, 1)):
        assert pr.build_from_stac(items, bbox=box).select("id").collect()["id"].to_list() == ["east", "high"]


def test_a_server_may_not_name_files_of_this_machine(tmp_path: Path) -> None:
    secret = write_scene(tmp_path / "red.tif")
    listed = {
        "type": "FeatureCollection",
        "features": [item("a", {"red": {"href": f"file://{secret}"}}, datetime="2024-05-01")],
    }
    linked = {
        "type": "Catalog",
        "id": "c",
        "stac_version": "1.0.0",
        "links": [{"rel": "item", "href": f"file://{tmp_path}/i.json"}],
    }
    (tmp_path / "i.json").write_text(json.dumps(listed["features"][0]))
    files = {"items.json": json.dumps(listed).encode(), "catalog.json": json.dumps(linked).encode()}
    with RangeServer(files) as server:
        scenes = pr.build_from_stac(server.url("items.json"))
        assert "a file of this machine" in scenes.select("header_error").collect().item()
        with pytest.raises(FetchError, match="a file of this machine"):
            pr.build_from_stac(server.url("catalog.json"))
        moved = pr.build_from_stac(server.url("items.json"), rewrite={f"file://{tmp_path}": str(tmp_path)})
        assert moved.select("header_error").collect().item() is None


def test_keys_in_hrefs_are_not_kept(tmp_path: Path) -> None:
    tif = write_scene(tmp_path / "r.tif").read_bytes()
    with RangeServer({"r.tif": tif}) as server:
        signed = {"red": {"href": server.url("r.tif") + "?sig=s3cret&se=2030"}}
        with pytest.warns(UserWarning, match="signature") as told:
            scenes = pr.build_from_stac([item(str(n), signed) for n in range(300)]).collect()
    assert len(told) == 1
    assert "s3cret" not in str(scenes.rows())
    assert not scenes["header_error"].is_not_null().any()


def test_bands_by_number_and_common_name_read_the_bands_of_a_file(tmp_path: Path) -> None:
    write_scene(tmp_path / "image.tif", count=3)
    bands = [{"eo:common_name": name} for name in ("red", "green", "nir")]
    one = item("a", {"image": {"href": str(tmp_path / "image.tif"), "bands": bands}})
    for wanted, expected in [
        ({"B8": "nir", "G": "image.2"}, {"B8": 2, "G": 1}),
        (None, {"image.1": 0, "image.2": 1, "image.3": 2}),
        (["red"], {"red": 0}),
    ]:
        made = pr.build_from_stac([one], bands=wanted).collect()
        assert {name: made[name][0]["band_index"] for name in expected} == expected


def test_items_in_parquet_give_the_records_that_they_give_as_dicts(tmp_path: Path) -> None:
    rustac = pytest.importorskip("rustac")
    write_scene(tmp_path / "a.tif")
    items = [
        item(
            str(n),
            {"red": {"href": "./a.tif", "raster:bands": [{"scale": 0.5}]}},
            datetime=f"2024-05-0{n}T00:00:00Z",
            n=n,
        )
        | {"geometry": {"type": "Point", "coordinates": [n, 45.0]}, "bbox": [n, 45, n, 45], "collection": "c"}
        for n in (1, 2, 3)
    ]
    rustac.write_sync(str(tmp_path / "items.parquet"), items)
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    words = {"bands": ["red"], "datetime": "2024-05-02/..", "bbox": (0, 44, 2.5, 46)}
    changed = ["indexed_at", "stac_version", "stac_extensions"]  # rustac brings items to STAC 1.1
    expected = pr.build_from_stac(tmp_path / "items.json", **words).drop(changed).collect()
    assert expected["id"].to_list() == ["2"]
    assert not expected["header_error"].is_not_null().any()
    for source in (tmp_path / "items.parquet", pl.scan_parquet(tmp_path / "items.parquet")):
        if not isinstance(source, Path):
            words["rewrite"] = {"./": f"{tmp_path}/"}
        found = pr.build_from_stac(source, **words).collect()
        assert found.select(expected.columns).rows() == expected.rows()
    chosen = pr.build_from_stac(tmp_path / "items.parquet", filter=pl.col("n") > 2, into=tmp_path / "c")
    assert chosen.select("id").collect()["id"].to_list() == ["3"]
    with pytest.raises(UsageError, match="Polars expression, and the source is no table"):
        pr.build_from_stac(tmp_path / "items.json", filter=pl.col("n") > 2)
    with pytest.raises(UsageError, match="sortby=: the source is a table"):
        pr.build_from_stac(tmp_path / "items.parquet", sortby="n")
