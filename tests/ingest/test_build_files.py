"""Does one record per file come out, with the right bands, times, places and reasons?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rasterio
import shapely
from rasterio.warp import transform_bounds

from polars_rasteret.errors import FetchError, FileFormatError, UsageError
from polars_rasteret.ingest.build_from_files import build_from_files
from polars_rasteret.profile import profile
from polars_rasteret.schema import RECORD_COLUMNS, pixel_dtype, raster_dtype
from tests.support.range_server import RangeServer
from tests.support.scene_files import write_scene

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"


def test_naip_files_of_three_zones_become_three_records():
    paths = sorted(EXAMPLES.glob("m_*.tif"))
    found = build_from_files(EXAMPLES / "m_*.tif").collect()
    assert found.columns == [*RECORD_COLUMNS, "b1", "b2", "b3", "b4"]
    assert {name: found.schema[name] for name in RECORD_COLUMNS} == RECORD_COLUMNS
    assert found.schema["b1"] == raster_dtype(pl.UInt8())
    assert found["id"].to_list() == [path.stem for path in paths]
    assert found["header_error"].to_list() == [None] * 3
    assert found["proj:epsg"].n_unique() == 3
    for row, path in zip(found.iter_rows(named=True), paths, strict=True):
        with rasterio.open(path) as file:
            assert row["proj:code"] == f"EPSG:{file.crs.to_epsg()}" == row["b4"]["crs"]
            assert row["b1"]["href"] == str(path)
            assert row["b4"]["band_index"] == 3
            assert row["b1"]["transform"] == list(file.transform)[:6]
            assert (row["b1"]["width"], row["b1"]["height"]) == (file.width, file.height)
            expected = transform_bounds(file.crs, "OGC:CRS84", *file.bounds, densify_pts=21)
        assert row["b1"]["nodata"] is None
        bbox = row["bbox"]
        np.testing.assert_allclose([bbox[side] for side in ("xmin", "ymin", "xmax", "ymax")], expected, atol=1e-5)
        footprint = shapely.from_wkb(row["geometry"])
        assert footprint.is_valid
        assert shapely.is_ccw(footprint.exterior)
        assert shapely.covers(shapely.box(bbox["xmin"], bbox["ymin"], bbox["xmax"], bbox["ymax"]), footprint)


def test_band_names_come_from_descriptions_when_all_have_one(tmp_path):
    write_scene(tmp_path / "named.tif", count=2, descriptions=("red", "nir"))
    write_scene(tmp_path / "plain.tif", count=3)
    found = build_from_files([tmp_path / "named.tif", tmp_path / "plain.tif"]).collect()
    assert found.columns[len(RECORD_COLUMNS) :] == ["red", "nir", "b1", "b2", "b3"]
    assert found.select(pl.col("red", "b1").is_null()).rows() == [(False, True), (True, False)]
    assert found["header_error"].to_list() == [None, None]


@pytest.mark.parametrize("descriptions", [("red", "red"), ("red", ""), ("id", "nir")])
def test_descriptions_that_are_no_column_names_give_way_to_numbers(tmp_path, descriptions):
    write_scene(tmp_path / "a.tif", count=2, descriptions=descriptions)
    assert build_from_files(tmp_path).collect().columns[len(RECORD_COLUMNS) :] == ["b1", "b2"]


def test_bands_given_by_name_or_index_are_the_only_ones(tmp_path):
    write_scene(tmp_path / "a.tif", count=3)
    assert build_from_files(tmp_path, bands=["x", "y", "z"]).collect_schema().names()[-3:] == ["x", "y", "z"]
    found = build_from_files(tmp_path, bands={"nir": 2}).collect()
    assert found["nir"].struct.field("band_index").to_list() == [2]


def test_a_band_a_file_does_not_have_is_null_with_a_reason(tmp_path):
    write_scene(tmp_path / "a.tif", count=1)
    write_scene(tmp_path / "b.tif", count=2)
    found = build_from_files(tmp_path, bands={"red": 0, "nir": 1}).collect()
    assert found["nir"].is_null().to_list() == [True, False]
    assert found["header_error"][0].startswith("nir: ")
    assert "1 band" in found["header_error"][0]
    assert found["header_error"][1] is None
    with pytest.raises(FileFormatError, match="nir"):
        build_from_files(tmp_path, bands={"red": 0, "nir": 1}, on_error="raise")


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.tif", b""), ("text.tif", b"not a tiff at all"), ("cut.tif", None), ("zeros.tif", bytes(5000))],
)
def test_a_bad_file_keeps_its_record_and_tells_why(tmp_path, name, content):
    good = write_scene(tmp_path / "good.tif")
    bad = tmp_path / name
    bad.write_bytes(good.read_bytes()[:60] if content is None else content)
    found = build_from_files([good, bad]).collect()
    assert found["b1"].is_null().to_list() == [False, True]
    assert found["header_error"].is_null().to_list() == [True, False]
    assert found["header_error"][1].startswith("b1: ")
    assert name in found["header_error"][1]
    assert found["bbox"][1] is None
    assert found["geometry"][1] is None
    assert found["id"][1] == Path(name).stem
    with pytest.raises((FileFormatError, FetchError), match=name):
        build_from_files([good, bad], on_error="raise")


@pytest.mark.parametrize("on_error", ["null", "raise"])
@pytest.mark.parametrize(("n_bands", "n_names"), [(4, 1), (4, 2), (4, 5), (1, 2), (2, 1), (3, 4)])
def test_a_list_that_fits_no_file_is_an_error_that_shows_the_dict(tmp_path, n_bands, n_names, on_error):
    write_scene(tmp_path / "a.tif", count=n_bands)
    names = [f"n{number}" for number in range(n_names)]
    with pytest.raises(UsageError, match=rf"a.tif has {n_bands} band.*bands=\{{'n0': 0") as told:
        build_from_files(tmp_path, bands=names, on_error=on_error)
    with pytest.raises(UsageError, match="list of"):
        build_from_files(tmp_path, bands=names, on_error=on_error, into=tmp_path / "into")
    choice = eval(str(told.value).rpartition("bands=")[2])
    assert build_from_files(tmp_path / "a.tif", bands=choice, on_error="raise").collect().height == 1


def test_a_file_that_a_list_does_not_fit_keeps_its_record_and_gives_no_pixels(tmp_path):
    write_scene(tmp_path / "a.tif", count=2)
    write_scene(tmp_path / "b.tif", count=4)
    write_scene(tmp_path / "c.tif", count=1)
    for into in (None, tmp_path / "into"):
        found = build_from_files(tmp_path / "*.tif", bands=["red", "nir"], into=into).sort("id").collect()
        assert found["red"].is_null().to_list() == found["nir"].is_null().to_list() == [False, True, True]
        assert "has 4 band(s)" in found["header_error"][1]
        assert "has 1 band(s)" in found["header_error"][2]
    with pytest.raises(UsageError, match="has 4 band"):
        build_from_files(tmp_path / "*.tif", bands=["red", "nir"], on_error="raise")


@pytest.mark.filterwarnings("ignore:build_from_files. none")
def test_only_bad_files_give_an_uint8_band(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"MM nothing")
    found = build_from_files(tmp_path, bands=["B04"]).collect()
    assert found.schema["B04"] == raster_dtype(pl.UInt8())
    assert found["B04"].to_list() == [None]
    assert build_from_files(tmp_path).collect().columns[-1] == "b1"


def test_a_missing_file_is_a_bad_file_and_a_missing_folder_is_an_error(tmp_path):
    with pytest.warns(
        UserWarning, match=r"none of the 1 file\(s\) can be used; the first: b1: .*gone\.tif.*on_error='raise'"
    ):
        found = build_from_files([str(tmp_path / "gone.tif")]).collect()
    assert "gone.tif" in found["header_error"][0]
    with pytest.raises(UsageError, match="does not exist"):
        build_from_files(tmp_path / "no_such_folder")
    with pytest.raises(UsageError, match="no file matches"):
        build_from_files(str(tmp_path / "*.tif"))
    with pytest.raises(UsageError, match=r"holds no \.tif"):
        build_from_files(tmp_path)


def test_hostile_files_never_stop_a_build(shared_data):
    found = build_from_files(shared_data / "broken").collect()
    assert found.height == len([one for one in (shared_data / "broken").iterdir() if one.suffix in (".tif", ".tiff")])
    bands = [name for name in found.columns if name not in RECORD_COLUMNS]
    silent = found.filter(pl.all_horizontal(pl.col(bands).is_null()), pl.col("header_error").is_null())
    assert silent.height == 0, silent["id"].to_list()


@pytest.mark.parametrize(
    "name",
    [
        "with space.tif",
        "hash#tag.tif",
        "per%20cent.tif",
        "ünï—码.tif",
        "question?.tif",
        "brackets[1].tif",
        "a=b;c&d.tif",
    ],
)
def test_odd_names_are_found_by_path_folder_and_list(tmp_path, name):
    path = write_scene(tmp_path / "ö #1 %41" / name)
    for sources in (path, str(path), path.parent, [str(path)], pl.Series([str(path)])):
        found = build_from_files(sources).collect()
        assert found["header_error"].to_list() == [None]
        assert found["b1"].struct.field("href").to_list() == [str(path)]
        assert found["id"].to_list() == [path.stem]


def test_relative_paths_become_absolute_hrefs(tmp_path, monkeypatch):
    write_scene(tmp_path / "sub" / "a.tif")
    monkeypatch.chdir(tmp_path)
    for sources in ("sub/a.tif", "sub", "sub/*.tif", "**/*.tif"):
        assert build_from_files(sources).collect()["b1"].struct.field("href").to_list() == [
            str(tmp_path / "sub" / "a.tif")
        ]


def test_a_file_url_is_opened(tmp_path):
    path = write_scene(tmp_path / "a b.tif")
    found = build_from_files(path.as_uri()).collect()
    assert found["header_error"].to_list() == [None]
    assert found["id"].to_list() == ["a b"]


def test_times_come_from_the_tiff_tag_as_utc(tmp_path):
    write_scene(tmp_path / "a.tif", tags={"TIFFTAG_DATETIME": "2021:05:06 07:08:09"})
    found = build_from_files(tmp_path).collect()
    assert found["datetime"].to_list() == [dt.datetime(2021, 5, 6, 7, 8, 9, tzinfo=dt.UTC)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-05-01", dt.datetime(2024, 5, 1, tzinfo=dt.UTC)),
        ("2024-05-01T10:00:00Z", dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)),
        ("2024-05-01T10:00:00+02:00", dt.datetime(2024, 5, 1, 8, tzinfo=dt.UTC)),
        (dt.date(2024, 5, 1), dt.datetime(2024, 5, 1, tzinfo=dt.UTC)),
        (
            dt.datetime(2024, 5, 1, 10, tzinfo=dt.timezone(dt.timedelta(hours=2))),
            dt.datetime(2024, 5, 1, 8, tzinfo=dt.UTC),
        ),
        (None, None),
    ],
)
def test_times_are_brought_to_utc(tmp_path, given, expected):
    path = write_scene(tmp_path / "a.tif")
    assert build_from_files(path, datetime=[given]).collect()["datetime"].to_list() == [expected]
    assert build_from_files(path, datetime=lambda _href: given).collect()["datetime"].to_list() == [expected]


@pytest.mark.parametrize("given", [dt.datetime(2024, 5, 1), "2024-05-01T10:00:00"])
def test_a_time_without_a_zone_is_refused(tmp_path, given):
    path = write_scene(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=r"dt\.replace_time_zone\('UTC'\)"):
        build_from_files(path, datetime=[given])
    with pytest.raises(UsageError, match=r"dt\.replace_time_zone\('UTC'\)"):
        build_from_files(path, datetime=pl.Series([given]))


def test_ids_are_a_list_or_a_function_of_the_href(tmp_path):
    write_scene(tmp_path / "a.tif")
    write_scene(tmp_path / "b.tif")
    assert build_from_files(tmp_path, id=["x", "y"]).collect()["id"].to_list() == ["x", "y"]
    named = build_from_files(tmp_path, id=lambda href: Path(href).name.upper()).collect()
    assert named["id"].to_list() == ["A.TIF", "B.TIF"]
    with pytest.raises(UsageError, match="3 values for 2 files"):
        build_from_files(tmp_path, id=["x", "y", "z"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"bands": "red"}, "list of names"),
        ({"bands": []}, "empty"),
        ({"bands": ["a", "a"]}, "2 times"),
        ({"bands": ["geometry"]}, "record column"),
        ({"bands": {"a": -1}}, "0-based"),
        ({"on_error": "skip"}, "on_error"),
        ({"id": "one"}, "one value per file"),
    ],
)
def test_wrong_words_are_usage_errors(tmp_path, words, message):
    write_scene(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=message):
        build_from_files(tmp_path, **words)


@pytest.mark.parametrize("sources", [5, None, b"a.tif", {"a": 1}, [3], pl.DataFrame({"a": ["x"]})])
def test_other_sources_are_usage_errors(sources):
    with pytest.raises(UsageError, match="sources"):
        build_from_files(sources)


def test_an_empty_list_is_an_empty_collection():
    found = build_from_files([], bands=["red"]).collect()
    assert found.height == 0
    assert found.schema["red"] == raster_dtype(pl.UInt8())
    assert {name: found.schema[name] for name in RECORD_COLUMNS} == RECORD_COLUMNS


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (["uint8", "uint16"], pl.UInt16()),
        (["uint8", "int8"], pl.Int16()),
        (["uint16", "float32"], pl.Float32()),
        (["int32", "float32"], pl.Float64()),
        (["uint8", "uint8"], pl.UInt8()),
    ],
)
def test_mixed_formats_become_the_smallest_lossless_supertype(tmp_path, formats, expected):
    paths = [write_scene(tmp_path / f"{number}.tif", dtype=dtype) for number, dtype in enumerate(formats)]
    found = build_from_files(paths).collect()
    assert pixel_dtype(found.schema["b1"]) == expected
    assert found["header_error"].null_count() == 2


def test_a_format_that_fits_no_common_dtype_is_a_null_raster_with_a_reason(tmp_path):
    paths = [
        write_scene(tmp_path / f"{n}.tif", dtype=dtype)
        for n, dtype in enumerate(["int64", "int64", "float32", "uint8"])
    ]
    found = build_from_files(paths).collect()
    assert pixel_dtype(found.schema["b1"]) == pl.Int64()
    assert found["b1"].is_null().to_list() == [False, False, True, False]
    assert "float32" in found["header_error"][2]
    assert "int64" in found["header_error"][2]


@pytest.mark.filterwarnings("ignore:build_from_files. none")
def test_complex_samples_are_refused_by_name(tmp_path):
    write_scene(tmp_path / "a.tif", dtype="complex64")
    found = build_from_files(tmp_path).collect()
    assert found["b1"].to_list() == [None]
    assert "complex" in found["header_error"][0].lower()


def test_scale_and_offset_come_from_the_file(tmp_path):
    write_scene(tmp_path / "a.tif", count=2, scales=(0.5, 1.0), offsets=(3.0, 0.0))
    found = build_from_files(tmp_path).collect()
    assert found["b1"].struct.field("scale").to_list() == [0.5]
    assert found["b1"].struct.field("offset").to_list() == [3.0]


def test_a_file_without_georeference_has_no_place(tmp_path):
    write_scene(tmp_path / "a.tif", crs=None)
    found = build_from_files(tmp_path).collect()
    assert found["header_error"].to_list() == [None]
    assert found["b1"].is_not_null().all()
    assert found["bbox"].to_list() == [None]
    assert found["geometry"].to_list() == [None]
    assert found["proj:code"].to_list() == [None]


def test_an_image_across_the_antimeridian_is_split_and_its_bbox_runs_from_east_to_west(tmp_path):
    write_scene(tmp_path / "a.tif", crs="EPSG:32601", origin=(200_000.0, 6_700_000.0), pixel=5_000.0)
    row = build_from_files(tmp_path).collect().row(0, named=True)
    assert row["bbox"]["xmin"] > 170
    assert row["bbox"]["xmax"] < -160
    footprint = shapely.from_wkb(row["geometry"])
    assert footprint.geom_type == "MultiPolygon"
    assert footprint.is_valid
    assert shapely.bounds(footprint)[0] == -180
    assert shapely.bounds(footprint)[2] == 180


def test_headers_over_http_take_one_request_each_and_every_href_is_read_once(tmp_path):
    path = write_scene(tmp_path / "a b.tif", count=3)
    with RangeServer({"x/a b.tif": path, "c#d.tif": path}) as server:
        hrefs = [server.url("x/a b.tif"), server.url("c#d.tif"), server.url("x/a b.tif")]
        with profile() as seen:
            found = build_from_files(hrefs).collect()
        assert len(server.requests) == 2
    assert found["header_error"].to_list() == [None] * 3
    assert found["id"].to_list() == ["a b", "c#d", "a b"]
    assert seen.summary()["requests"].item() == 2


def test_a_server_that_refuses_one_file_leaves_the_others(tmp_path):
    path = write_scene(tmp_path / "a.tif")
    with RangeServer({"a.tif": path}) as server:
        found = build_from_files([server.url("a.tif"), server.url("gone.tif")]).collect()
    assert found["header_error"].is_null().to_list() == [True, False]
    assert "404" in found["header_error"][1] or "not" in found["header_error"][1].lower()


def test_a_scheme_nobody_reads_is_one_bad_row_among_good_ones_and_an_error_alone(tmp_path):
    path = write_scene(tmp_path / "a.tif")
    found = build_from_files([str(path), "gopher://x/a.tif"]).collect()
    assert found["header_error"].is_null().to_list() == [True, False]
    with pytest.raises(UsageError, match="gopher"):
        build_from_files(["gopher://x/a.tif"])


def test_into_writes_a_collection_and_scans_it(tmp_path):
    write_scene(tmp_path / "scenes" / "a.tif")
    made = build_from_files(tmp_path / "scenes", into=tmp_path / "out.parquet")
    assert {one.name for one in tmp_path.iterdir()} == {"scenes", "out.parquet"}
    assert made.collect()["id"].to_list() == ["a"]
    write_scene(tmp_path / "scenes" / "b.tif")
    again = build_from_files(tmp_path / "scenes", into=tmp_path / "out.parquet")
    assert again.collect()["id"].sort().to_list() == ["a", "b"]
    assert {one.name for one in tmp_path.iterdir()} == {"scenes", "out.parquet"}
