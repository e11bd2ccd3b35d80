"""Are the items of STAC-GeoParquet those that it was made of, and is no more of a table read than can match?"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import shapely
from shapely.geometry import shape

import polars_rasteret as pr
from polars_rasteret.collection.queries.periods import period_of
from polars_rasteret.collection.queries.spatial import lonlat_geometry
from polars_rasteret.errors import UsageError
from polars_rasteret.hrefs import Provenance
from polars_rasteret.ingest.table_bands import bands_of_rows, places_of_bands
from polars_rasteret.stac.geoparquet_items import ItemTable, is_item_table
from polars_rasteret.stac.item_columns import item_columns
from polars_rasteret.stac.items import items_of
from polars_rasteret.stac.stated_metadata import stated_crs, stated_number
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene
from tests.support.signed_bucket import SignedBucket
from tests.support.stac_items import bands_of_items

FOLDER = Path(__file__).resolve().parents[3] / "shared/data/stac"
FILES = [
    *sorted(FOLDER.glob("stac-geoparquet__*.json")),
    *sorted(FOLDER.glob("odc-stac__*json")),
    *sorted(FOLDER.glob("landsat__LC*.json")),
    *sorted(FOLDER.glob("rio-tiler__*.json")),
    FOLDER / "stac-spec__extended-item.json",
]


def _written(items, path):
    """Write items with rustac, a writer of STAC-GeoParquet that shares nothing with what is tested."""
    rustac = pytest.importorskip("rustac")

    async def write():
        await rustac.write(str(path), items)

    asyncio.run(write())
    return path


def _told(frame, column):
    """Return a column with JSON texts parsed, and times cut to the milliseconds that rustac keeps."""
    values = frame[column].to_list()
    if frame.schema[column] == pl.String:
        values = [json.loads(one) if one is not None and one[:1] in "[{" else one for one in values]
    if column in ("created", "updated"):
        values = [None if one is None else dt.datetime.fromisoformat(one) for one in values]
    if column == "geometry":
        return [None if one is None else shapely.from_wkb(one) for one in values]
    return [
        one.replace(microsecond=one.microsecond // 1000 * 1000) if isinstance(one, dt.datetime) else one
        for one in values
    ]


@pytest.mark.skipif(not FOLDER.exists(), reason="the real items of ../shared/data/stac are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_rows_have_the_columns_and_bands_of_the_items_they_were_made_of(path, tmp_path):
    items = items_of(path).items
    if not items:
        pytest.skip("a collection")
    if any(not isinstance(one.get("geometry"), dict) for one in items):
        pytest.skip("its writer refuses a null geometry")
    try:
        table = ItemTable(_written(items, tmp_path / "items.parquet"))
    except Exception as error:
        if type(error).__module__.startswith("rustac"):
            pytest.skip(f"its writer refuses the item: {error}")
        raise
    (page,) = table.pages()
    assert not page.refused
    # rustac takes a property "collection" for that of the item, and drops empty lists of extensions.
    expected = item_columns(items).frame
    if "properties:collection" in expected.columns:
        expected = expected.with_columns(collection="properties:collection").drop("properties:collection")
    expected = expected.with_columns(pl.when(pl.col("stac_extensions").list.len() > 0).then("stac_extensions"))
    found = item_columns(page.items).frame
    assert set(found.columns) == set(expected.columns)
    for name, dtype in expected.schema.items():
        assert found.schema[name] == dtype, name
        own, other = _told(found, name), _told(expected, name)
        if name == "geometry":
            assert shapely.equals_exact(own, other, tolerance=1e-12, normalize=True).all()
        elif name not in ("stac_version", "bbox"):  # rustac brings items to its own version, and writes 2D boxes
            assert own == other, name
    assert bands_of_items(page.items, None) == bands_of_items(items, None)
    for own, other in zip(page.items, items, strict=True):
        for name, planes in bands_of_items([other], None).items():
            (plane,) = planes
            assert stated_crs(own, plane.key) == stated_crs(other, plane.key), name
            for field in ("nodata", "scale", "offset"):
                assert stated_number(own, *plane, field) == stated_number(other, *plane, field)
            assert own["assets"][plane.key]["href"] == other["assets"][plane.key]["href"]


@pytest.mark.parametrize("name", ["stac-geoparquet__naip", "rustac-py__extended-item"])
def test_published_tables_have_the_items_that_pyarrow_reads(shared_file, name):
    path = shared_file(f"geoparquet/{name}.parquet")
    (page,) = ItemTable(path).pages()
    raw = pq.read_table(path)
    rows = raw.to_pylist()
    assert not page.refused
    for item, row in zip(page.items, rows, strict=True):
        assert item["id"] == row["id"]
        assert item["collection"] == row["collection"]
        wkb = row["geometry"] if isinstance(row["geometry"], bytes) else row["geometry"].wkb
        assert shapely.from_wkb(item["geometry"]).equals(shapely.from_wkb(wkb))
        assert dt.datetime.fromisoformat(item["properties"]["datetime"]) == row["datetime"]
        assert item["properties"]["proj:epsg"] == row["proj:epsg"]
        assert {key: asset["href"] for key, asset in item["assets"].items()} == {
            key: asset["href"] for key, asset in row["assets"].items() if asset is not None
        }


def _grid_of_items(n_across=40):
    """Return items on a grid of one degree, each a day later, with properties that make rows wide."""
    rng = np.random.default_rng(0)
    first = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    items = []
    for number in range(n_across * n_across):
        x, y = number % n_across, number // n_across
        box = shapely.box(x, y, x + 1, y + 1)
        items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": f"i{number}",
                "collection": "a" if number % 2 else "b",
                "geometry": shapely.geometry.mapping(box),
                "bbox": list(box.bounds),
                "links": [],
                "properties": {
                    "datetime": (first + dt.timedelta(days=number)).isoformat().replace("+00:00", "Z"),
                    "noise": rng.bytes(400).hex(),
                },
                "assets": {"red": {"href": f"https://host.test/{number}.tif"}},
            }
        )
    return items


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    items = _grid_of_items()
    path = _written(items, tmp_path_factory.mktemp("grid") / "all.parquet")
    # Row groups of a hundred rows, in the order of the grid; plain WKB.
    frame = pl.read_parquet(path).with_columns(pl.col("geometry").ext.storage())
    frame.write_parquet(path, row_group_size=100)
    return items, path


def _search(source, *, datetime=None, bbox=None, intersects=None, **words):
    """Return a table and the rows that the words of a caller mean."""
    place = bbox if bbox is not None else intersects
    return ItemTable(
        source,
        period=None if datetime is None else period_of(datetime),
        geometry=None if place is None else lonlat_geometry(place),
        **words,
    )


def _ids(table):
    return [item["id"] for page in table.pages() for item in page.items]


WORDS = [
    {"bbox": (3.2, 5.1, 4.5, 5.9)},
    {"datetime": "2020-02-01/2020-02-10"},
    {"datetime": ("2023", "2023-02")},
    {"ids": ["i7", "i1203"]},
    {"collections": ["a"], "datetime": "2020-01"},
    {"intersects": shapely.Polygon([(0.5, 0.5), (3.5, 3.5), (0.5, 3.5)])},
    {"bbox": (3.2, 5.1, 9.5, 9.9), "datetime": "2020", "collections": ["b"], "max_items": 2},
    {"filter": pl.col("noise").str.starts_with("a")},
    {"max_items": 3},
    {},
]


def _reference(items, words):
    """Return the ids of items by the words of an API, item by item."""

    def meets(item):
        time = item["properties"]["datetime"]
        if (period := words.get("datetime")) is not None:
            first, last = period.split("/") if isinstance(period, str) and "/" in period else (period, period)
            first, last = period if isinstance(period, tuple) else (first, last)
            if not first <= time or not time[: len(last)] <= last:
                return False
        if (box := words.get("bbox")) is not None and not shape(item["geometry"]).intersects(shapely.box(*box)):
            return False
        if (geometry := words.get("intersects")) is not None and not shape(item["geometry"]).intersects(geometry):
            return False
        if (ids := words.get("ids")) is not None and item["id"] not in ids:
            return False
        if "filter" in words and not item["properties"]["noise"].startswith("a"):
            return False
        return item["collection"] in words.get("collections", "ab")

    return [item["id"] for item in items if meets(item)][: words.get("max_items")]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: "-".join(words) or "all")
def test_rows_are_those_that_an_api_would_answer(grid, words):
    items, path = grid
    expected = _reference(items, words)
    assert expected
    assert _ids(_search(path, **words)) == expected
    assert _ids(_search(pl.scan_parquet(path), **words)) == expected


def test_boxes_times_and_ids_reach_the_scan_and_its_bytes(grid):
    _, path = grid
    table = _search(path, bbox=(3.2, 5.1, 4.5, 5.9), datetime="2020-07", ids=["i203", "i204", "i900"])
    plan = table.frame.explain()
    selection = plan[plan.index("Parquet SCAN") :]
    for name in ("id", "bbox", "datetime"):
        assert f'col("{name}")' in selection[selection.index("SELECTION") :]
    with RangeServer({"all.parquet": path}) as server:
        url = server.url("all.parquet")
        n_bytes = []
        for words in ({}, {"bbox": (3.2, 5.1, 4.5, 5.9)}, {"datetime": "2020-07-21/2020-07-22"}, {"ids": ["i203"]}):
            server.requests.clear()
            found = _ids(_search(url, **words))
            n_bytes.append((len(found), sum(one.byte_stop - one.byte_start for one in server.requests)))
        assert ItemTable(url).provenance is Provenance.LOOPBACK
    (n_all, everything), *some = n_bytes
    size = path.stat().st_size
    assert n_all == 1_600
    assert everything >= 0.9 * size
    # Footers are asked for as the last 256 kB, a few times.
    assert all(n_found < 10 and bytes_read < 0.75 * everything for n_found, bytes_read in some), n_bytes


def test_boxes_over_the_antimeridian_find_both_sides(tmp_path):
    items = _grid_of_items(3)
    for item, west in zip(items, (178, 179, -180, -179, 0, 90, -90, 10, 20), strict=True):
        box = shapely.box(west, 0, west + 1, 1)
        item |= {"geometry": shapely.geometry.mapping(box), "bbox": list(box.bounds)}
    table = _search(_written(items, tmp_path / "x.parquet"), bbox=(179.5, 0.2, -179.5, 0.8))
    assert _ids(table) == ["i1", "i2"]


def test_columns_with_dots_json_texts_and_keyed_lists_are_assets_too():
    red = {"href": "x.tif", "type": "image/tiff", "roles": ["data"]}
    forms = {
        "dots": {"assets.red.href": ["x.tif"], "assets.red.type": ["image/tiff"], "assets.red.roles": [["data"]]},
        "json": {"assets": [json.dumps({"red": red})]},
        "list": {"assets": [[{"key": "red", "value": red}]]},
        "struct": {"assets": [{"red": red, "gone": None}]},
    }
    for form, columns in forms.items():
        (page,) = ItemTable(pl.DataFrame({"id": ["a"], "gsd": [10], **columns})).pages()
        assert page.items[0]["assets"] == {"red": red}, form
        assert page.items[0]["properties"] == {"gsd": 10}
        assert list(bands_of_items(page.items, None)) == ["red"]


def test_times_of_any_form_are_compared_and_kept(tmp_path):
    texts = ["2020-01-01", "2020-01-02T23:30:00-02:00", "2020-01-03T10:00:00.1234567Z", None, "yesterday"]
    frame = pl.DataFrame({"id": list("abcde"), "datetime": texts, "assets": [{"red": {"href": "x.tif"}}] * 5})
    (page,) = ItemTable(frame).pages()
    assert [item["properties"].get("datetime") for item in page.items] == texts[:4]
    assert page.refused == [("e", "datetime: 'yesterday' is not a time in RFC 3339")]
    assert _ids(_search(frame, datetime="2020-01-03")) == ["b", "c"]
    naive = frame[:1].with_columns(datetime=dt.datetime(2020, 1, 1))
    assert _ids(_search(naive, datetime="2020-01-01")) == ["a"]


def test_geometries_that_are_none_and_empty_ones_are_told_apart():
    wkb = [shapely.Point(1, 2, 3).wkb, b"no", None, shapely.Polygon().wkb]
    places = pl.Series([shapely.Point(7, 8).wkb, b"no", None, None], dtype=pl.Binary)
    frame = pl.DataFrame({"id": list("abcd"), "geometry": wkb, "proj:geometry": places, "assets": ["{}"] * 4})
    (page,) = ItemTable(frame).pages()
    assert [name for name, _ in page.refused] == ["b"]
    assert page.refused[0][1].startswith("geometry is no GeoJSON")
    assert [item["geometry"] for item in page.items] == [shapely.Point(1, 2).wkb, None, None]
    assert page.items[0]["properties"]["proj:geometry"]["coordinates"] == (7.0, 8.0)
    assert item_columns(page.items).frame["geometry"].to_list() == [shapely.Point(1, 2).wkb, None, None]


def test_relative_hrefs_begin_at_the_item_else_at_the_table(tmp_path):
    links = [[{"rel": "self", "href": "https://host.test/items/a.json"}], []]
    frame = pl.DataFrame({"id": ["a", "b"], "links": links, "assets": [{"red": {"href": "./x.tif"}}] * 2})
    frame.write_parquet(tmp_path / "t.parquet")
    (page,) = ItemTable(tmp_path / "t.parquet").pages()
    assert page.bases == ["https://host.test/items/a.json", f"{tmp_path}/"]


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_pages_hold_so_many_items_at_most_and_all_in_order(grid, size):
    items, path = grid
    pages = [[item["id"] for item in page.items] for page in ItemTable(path, max_items=20).pages(size)]
    assert max(map(len, pages)) <= size
    assert [name for page in pages for name in page] == [item["id"] for item in items[:20]]


@pytest.mark.parametrize(
    ("columns", "words", "message"),
    [
        ({"id": ["a"], "href": ["x.tif"]}, {}, "build_from_table"),
        ({"id": ["a"], "assets": ["{}"]}, {"collections": ["x"]}, "no column 'collection'"),
        ({"id": ["a"], "assets": ["{}"]}, {"filter": "eo:cloud_cover < 20"}, "CQL2"),
        ({"id": ["a"], "assets": ["{}"]}, {"datetime": "2020"}, "no column 'datetime'"),
    ],
)
def test_tables_without_what_is_asked_are_refused(columns, words, message):
    with pytest.raises(UsageError, match=message):
        _search(pl.DataFrame(columns), **words)


def test_tables_are_told_from_items_and_apis(tmp_path):
    assert is_item_table("s3://bucket/items.parquet")
    assert is_item_table("hf://datasets/o/n")
    assert is_item_table(tmp_path)
    assert is_item_table(pl.DataFrame())
    assert is_item_table(pl.DataFrame().to_arrow())
    assert not is_item_table("https://api.test/v1")
    assert not is_item_table(tmp_path / "items.json")
    assert not is_item_table([{"type": "Feature"}])


def test_a_private_bucket_is_opened_for_the_table_and_for_its_files(tmp_path):
    image = write_scene(tmp_path / "a.tif").read_bytes()
    items = _grid_of_items(2)
    for item in items:
        item["assets"] = {"red": {"href": "s3://itemtables/a.tif"}}
    table = _written(items, tmp_path / "items.parquet").read_bytes()
    with SignedBucket("itemtables", {"a.tif": image, "items.parquet": table}) as bucket:
        options = {**bucket.place, **bucket.keys}
        scenes = pr.build_from_stac(
            "s3://itemtables/items.parquet", ids=["i1", "i2"], storage_options=options
        ).collect()
        assert scenes["id"].to_list() == ["i1", "i2"]
        assert scenes["header_error"].null_count() == 2
        assert {one.key_id for one in bucket.requests} == {bucket.key_id}
        pr.configure_store("s3://itemtables/")


@pytest.mark.skipif(not FOLDER.exists(), reason="the real items of ../shared/data/stac are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_assets_of_a_table_of_hrefs_are_the_bands_that_stac_says(path):
    """The rule of ``build_from_table(bands="assets")`` works on columns; here it meets that of items, written for itself."""
    items = items_of(path).items
    if not items:
        pytest.skip("a collection")
    assets = [{key: _plain(asset) for key, asset in item["assets"].items()} for item in items]
    frame = pl.DataFrame({"id": [item["id"] for item in items], "assets": assets}, infer_schema_length=None)
    expected = bands_of_items(items, None)
    found = bands_of_rows("assets", places_of_bands("assets", frame.schema), frame)
    assert {one.name for one in found} == set(expected)
    for one in found:
        planes = expected[one.name]
        hrefs = [
            None if plane is None else item["assets"][plane.key]["href"]
            for plane, item in zip(planes, items, strict=True)
        ]
        assert one.hrefs == hrefs
        assert [index for index, plane in zip(one.band_index.tolist(), planes, strict=True) if plane is not None] == [
            plane.band_index for plane in planes if plane is not None
        ]


def _plain(asset):
    """Return what a rule of bands looks at; the rest of real assets has values of several types under one name."""
    lists = {name: [{"n": 1} for _ in asset[name]] for name in ("bands", "eo:bands", "raster:bands") if asset.get(name)}
    return {name: asset.get(name) for name in ("href", "type", "roles")} | lists
