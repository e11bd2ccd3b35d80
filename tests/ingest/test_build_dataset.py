"""Does `build` ask where the catalog says, and refuse what cannot be answered before the first request?"""

from __future__ import annotations

import polars as pl
import pytest
import rasterio
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.catalog import known
from polars_rasteret.errors import UsageError
from tests.support.scene_files import write_scene

NOWHERE = "http://127.0.0.1:1/v1"
SMALL = {"spatial_extent": (9, 45, 10, 46), "temporal_extent": ("2024-01-01", "2024-12-31")}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setattr(known, "registered", {})
    monkeypatch.setenv("POLARS_RASTERET_DATASETS", str(tmp_path / "datasets.toml"))
    for name in ("AWS_REQUEST_PAYER", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def registered(**changed):
    facts = {"title": "Scenes", "api": NOWHERE, "collection": "scenes", "bands": {"red": "B04"}, **SMALL}
    one = pr.DatasetDescriptor(id="mine/scenes", **{**facts, **changed})
    pr.register(one)
    return one


@pytest.fixture
def local(tmp_path):
    pr.testing.example_scenes().raster.sink_collection(tmp_path / "scenes")
    pr.register_local("mine/scenes", tmp_path / "scenes")
    return pr.scan_collection(tmp_path / "scenes")


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_local_dataset_opens_as_its_collection(local, engine):
    assert_frame_equal(pr.build("mine/scenes").collect(engine=engine), local.collect())
    found = pr.build("mine/scenes", bbox=(9, 45, 10, 46), datetime="2024-06", bands=["nir"]).collect(engine=engine)
    assert_frame_equal(found, local.raster.subset(datetime="2024-06").drop("red").collect())
    assert pr.build("mine/scenes", ids=["second"]).select("id").collect(engine=engine)["id"].to_list() == ["second"]
    assert pr.build("mine/scenes", bbox=(0, 0, 1, 1)).collect(engine=engine).height == 0
    points = pl.DataFrame({"lon": [9.001], "lat": [45.15]})
    sampled = pr.build("mine/scenes").raster.sample_points(points, ["red"], crs=4326).collect(engine=engine)
    assert_frame_equal(sampled, local.raster.sample_points(points, ["red"], crs=4326).collect())


def test_words_that_mean_nothing_for_a_local_dataset_are_refused(local, tmp_path):
    with pytest.raises(UsageError, match="has no band 'blue'; it has red, nir"):
        pr.build("mine/scenes", bands=["blue"])
    assert pr.build("mine/scenes", bands="red").raster.bands() == ["red"]
    for bands in ([], [3]):
        with pytest.raises(UsageError, match="expected names of raster columns"):
            pr.build("mine/scenes", bands=bands)
    with pytest.raises(UsageError, match="name red twice"):
        pr.build("mine/scenes", bands=["red", "red"])
    with pytest.raises(UsageError, match=r"query=, sortby= mean nothing"):
        pr.build("mine/scenes", query={"a": 1}, sortby="b")
    with pytest.raises(UsageError, match=r"is a collection already; .*sink_collection"):
        pr.build("mine/scenes", into=tmp_path / "copy")
    with pytest.raises(UsageError, match="bbox or intersects, not both"):
        pr.build("mine/scenes", bbox=(0, 0, 1, 1), intersects="POINT (0 0)")


@pytest.mark.parametrize(
    ("changed", "words", "missing"),
    [
        ({"spatial_extent": None}, {}, ["bbox="]),
        ({"spatial_extent": (0, 0, 20, 20)}, {}, ["bbox="]),
        ({"spatial_extent": (175, 0, -175, 20)}, {}, ["bbox="]),
        ({"temporal_extent": ("2020-01-01", "")}, {}, ["datetime="]),
        ({"temporal_extent": ("2020-01-01", "2024-01-01")}, {"bbox": (0, 0, 1, 1)}, ["datetime="]),
        ({"spatial_extent": None, "temporal_extent": ("", "")}, {}, ["bbox=", "datetime="]),
        ({"spatial_extent": None, "temporal_extent": ("", "")}, {"intersects": "POINT (0 0)"}, ["datetime="]),
    ],
)
def test_place_and_time_are_required_where_the_coverage_is_large(changed, words, missing):
    registered(**changed)
    with pytest.raises(UsageError) as caught:
        pr.build("mine/scenes", **words)
    assert [word for word in ("bbox=", "datetime=") if f"{word} (" in str(caught.value)] == missing


def test_the_message_shows_an_example_that_has_an_answer():
    with pytest.raises(UsageError, match=r"for example bbox=\(-122.45, 37.74, -122.35, 37.84\), datetime='2024-06-01"):
        pr.build("earthsearch/sentinel-2-l2a")


NEEDS = {
    "requester_pays": ({"auth": "requester_pays", "regions": {"s3://paid/": "us-west-2"}}, "pays for it"),
    "earthdata": (
        {"auth": "earthdata", "credentials_url": "https://data.nasa.example/s3credentials"},
        "Earthdata login",
    ),
    "credentials": ({"auth": "credentials", "regions": {"s3://private/": "us-west-2"}}, "need credentials"),
}


@pytest.mark.parametrize("auth", NEEDS)
def test_a_dataset_that_needs_credentials_is_refused_without_them_before_a_request(auth):
    changed, words = NEEDS[auth]
    registered(**changed)
    # Nothing listens at its API: a request would be a FetchError.
    with pytest.raises(UsageError, match=words):
        pr.build("mine/scenes")


def test_landsat_of_earth_search_says_how_to_pay():
    with pytest.raises(UsageError, match=r"'aws_request_payer': 'true'.*pr.configure_store\('s3://usgs-landsat/'"):
        pr.build("earthsearch/landsat-c2-l2", bbox=(0, 0, 1, 1), datetime="2024-01")
    # Keys alone do not say that their owner pays.
    with pytest.raises(UsageError, match="nothing says that you will"):
        pr.build("earthsearch/landsat-c2-l2", ids=["a"], storage_options={"aws_access_key_id": "x"})


@pytest.mark.parametrize("auth", NEEDS)
def test_credentials_that_are_configured_for_a_place_of_the_dataset_count(auth, monkeypatch):
    one = registered(**NEEDS[auth][0])
    place = next(iter(one.regions), "https://data.nasa.example/")
    options = {"aws_request_payer": "true"} if auth == "requester_pays" else {"headers": {"Authorization": "Bearer x"}}
    from polars_rasteret.ingest.dataset_access import check_credentials

    check_credentials(one, storage_options=options, credential_provider=None)
    with pytest.raises(UsageError):
        check_credentials(one, storage_options=None, credential_provider=None)
    pr.configure_store(place, storage_options=options)
    try:
        check_credentials(one, storage_options=None, credential_provider=None)
    finally:
        pr.configure_store(place)
    if auth == "requester_pays":
        monkeypatch.setenv("AWS_REQUEST_PAYER", "true")
    elif auth == "credentials":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    else:
        return
    check_credentials(one, storage_options=None, credential_provider=None)


@pytest.fixture
def table(tmp_path):
    """Three images beside each other, in a table with years, columns of its own names, and hrefs that are rewritten."""
    for number in range(3):
        write_scene(
            tmp_path / "images" / f"{number}.tif", dtype="int16", count=2, origin=(500_000.0 + 9_000 * number, 5e6)
        )
    scenes = pr.build_from_files(sorted((tmp_path / "images").glob("*.tif")), bands=["a", "b"]).collect()
    pl.DataFrame(
        {
            "fid": [10, 11, 12],
            "year": [2022, 2023, 2023],
            "geom": scenes["geometry"],
            "path": [f"https://stable.example.org/{number}.tif" for number in range(3)],
            "level": ["old", "2.1", "10.0"],
        }
    ).write_parquet(tmp_path / "table.parquet")
    registered(
        api=None,
        collection=None,
        table=str(tmp_path / "table.parquet"),
        bands={"A": ("path", 0), "B": ("path", 1)},
        columns={"id": "fid", "datetime": "year", "geometry": "geom"},
        rewrite={"https://stable.example.org/": f"{tmp_path}/images/"},
        rules=[{"bands": ["A"], "nodata": -128}, {"bands": ["*"], "scale": 0.5, "property": "level", "at_least": "3"}],
    )
    return scenes


@pytest.mark.parametrize("into", [False, True], ids=["memory", "folder"])
def test_a_table_is_built_with_its_columns_bands_and_rules(table, tmp_path, into):
    where = tmp_path / "built" if into else None
    for _ in range(1 + into):  # a second build finds all records there
        found = pr.build("mine/scenes", into=where).sort("id").collect()
        assert found["id"].to_list() == ["10", "11", "12"]
        assert found["start_datetime"].dt.year().to_list() == [2022, 2023, 2023]
        assert found["A"].struct.field("href").to_list() == [str(tmp_path / "images" / f"{n}.tif") for n in range(3)]
        assert found["B"].struct.field("band_index").to_list() == [1, 1, 1]
        assert found["A"].struct.field("nodata").to_list() == [-128] * 3
        assert found["B"].struct.field("nodata").to_list() == [None] * 3
        assert found["B"].struct.field("scale").to_list() == [None, None, 0.5]
    point = pl.DataFrame({"x": [500_005.0], "y": [5e6 - 5]})
    sampled = pr.build("mine/scenes", ids=["10"]).raster.sample_points(point, ["A", "B"], crs=32632).collect()
    with rasterio.open(tmp_path / "images" / "0.tif") as file:
        assert [sampled["A"].item(), sampled["B"].item()] == file.read()[:, 0, 0].tolist()


def test_only_headers_of_records_that_are_asked_for_are_read(table, tmp_path):
    (tmp_path / "images" / "0.tif").unlink()
    (tmp_path / "images" / "2.tif").unlink()
    box = table["bbox"][1]
    small = (box["xmin"], box["ymin"], box["xmax"], box["ymax"])
    for words in ({"bbox": small}, {"ids": ["11"]}, {"bbox": small, "datetime": "2023-07", "bands": ["B"]}):
        found = pr.build("mine/scenes", **words, on_error="raise").collect()
        assert found["id"].to_list() == ["11"]
        assert found.lazy().raster.bands() == words.get("bands", ["A", "B"])
    assert pr.build("mine/scenes", bbox=small, datetime="2022", on_error="raise").collect().height == 0
    assert pr.build("mine/scenes", max_items=1, datetime="2023", on_error="raise").collect()["id"].to_list() == ["11"]
    with pytest.raises(UsageError, match="query= mean nothing"):
        pr.build("mine/scenes", query={})
    with pytest.raises(UsageError, match="has no band 'C'; it has A, B"):
        pr.build("mine/scenes", bands=["C"])
