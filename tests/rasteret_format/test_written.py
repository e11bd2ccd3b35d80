"""Is what is written for rasteret what rasteret itself would have written, and null where it would read wrong pixels?"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import warnings
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support import recorded
from tests.support.rasteret_answers import agrees

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "examples" / "data" / "rasteret"
SHARED = ROOT.parent / "shared" / "data"
DERIVED = (ROOT / "tests" / "data" / "derived", SHARED / "derived")
FREE = ("pixel_scale", "tiepoint", "photometric", "extra_samples")
"""Fields that no read of rasteret's needs."""


def file_named(name):
    for folder in DERIVED:
        if (folder / name).is_file():
            return folder / name
    return pytest.skip(f"{name} is in ../shared/data/derived only")


def rows_of(folder):
    frames = [pq.ParquetFile(part).read() for part in sorted(Path(folder).rglob("*.parquet"))]
    return {row["id"]: row for frame in frames for row in frame.to_pylist()}, [frame.schema for frame in frames]


def fixture(name):
    folder = BUNDLED if name == "naip_multiband" else SHARED / "rasteret" / name
    if not folder.is_dir():
        pytest.skip("../shared/data/rasteret is not there")
    if name == "aef_record_index":
        told = json.loads((folder / "descriptor.json").read_text())
        return (
            folder / "data",
            folder,
            pr.scan_collection(folder / "data", index=folder / "index.parquet", descriptor=told),
        )
    return folder / "collection", folder, pr.scan_collection(folder)


def stored_type(field):
    """Return the type below an extension type, which PyArrow names only where a library has registered it in the process."""
    return field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type


@pytest.mark.parametrize("name", ["naip_multiband", "landsat_per_band", "aef_record_index"])
def test_every_field_is_that_of_the_collection_that_rasteret_wrote(name, tmp_path):
    theirs, folder, scenes = fixture(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes.raster.sink_collection(tmp_path / "out", format="rasteret")
    (expected, their_schemas), (found, schemas) = rows_of(theirs), rows_of(tmp_path / "out")
    assert found.keys() == expected.keys()
    n_fields = 0
    for key, row in expected.items():
        for column in (
            "id",
            "datetime",
            "geometry",
            "bbox",
            "proj:epsg",
            "crs",
            "collection",
            "label",
            "split",
            "eo:cloud_cover",
        ):
            if column in row:
                assert found[key][column] == row[column], column
        for band, asset in row["assets"].items():
            ours = found[key]["assets"][band]
            assert (ours is None) == (asset is None)
            if asset is not None:
                assert ours == {**asset, "href": str(folder / asset["href"])}
            want, got = row[f"{band}_metadata"], found[key][f"{band}_metadata"]
            assert (want is None) == (got is None)
            for field in want or ():
                is_count_of_planes = field == "samples_per_pixel" and want["planar_configuration"] == 2
                if field not in FREE and not is_count_of_planes:
                    assert got[field] == want[field], (band, field)
                    n_fields += 1
                elif is_count_of_planes:
                    assert got[field] > (asset.get("band_index") or 0)
    assert n_fields > 30
    types = {field.name: stored_type(field) for schema in schemas for field in schema}
    for field in [one for schema in their_schemas for one in schema]:
        if field.name.endswith("_metadata") or field.name in (
            "id",
            "datetime",
            "geometry",
            "bbox",
            "assets",
            "proj:epsg",
            "crs",
        ):
            assert types[field.name] == stored_type(field), field.name


def test_folders_and_metadata_of_files_are_those_of_rasteret_and_the_collection_opens_again(tmp_path):
    scenes = pr.scan_collection(BUNDLED)
    scenes.raster.sink_collection(tmp_path / "naip_records", format="rasteret", description="Farms", source="naip")
    (part,) = (tmp_path / "naip_records").rglob("*.parquet")
    assert part.parent.relative_to(tmp_path).parts == ("naip_records", "year=2020", "month=4")
    file = pq.ParquetFile(part)
    metadata = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    (theirs,) = (BUNDLED / "collection").rglob("*.parquet")
    assert metadata.keys() == {key.decode() for key in pq.ParquetFile(theirs).schema_arrow.metadata}
    assert (metadata["description"], metadata["data_source"], metadata["date_range"]) == (
        "Farms",
        "naip",
        "2020-04-15,2020-04-15",
    )
    assert metadata["rasteret_collection_version"] == "1"
    assert json.loads(metadata["geo"])["columns"]["geometry"]["geometry_types"] == ["Polygon"]
    assert not {"year", "month", "proj:code"} & set(file.schema_arrow.names)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    again = pr.scan_collection(tmp_path / "naip_records")
    agrees(again, json.loads((BUNDLED / "oracle.json").read_text()), "streaming")
    scenes.raster.sink_collection(tmp_path / "one.parquet", format="rasteret")
    agrees(pr.scan_collection(tmp_path / "one.parquet"), json.loads((BUNDLED / "oracle.json").read_text()), "in-memory")


NULL = {
    "u16_deflate_p2_BE_t64.tif": "big-endian",
    "f32_zstd_p3_BE_bigtiff.tif": "big-endian",
    "i32_lzw_p2_BE_sep.tif": "big-endian",
    "u16_sparse_zstd.tif": "sparse tiles",
    "f32_lzw_p2_strip.tif": "strips",
    "u16_rotated.tif": "a turned or sheared grid",
    "u16_sheared.tif": "a turned or sheared grid",
    "u8x3_jpeg_ycbcr_t64.tif": "compression 7",
    "u8x4_webp_lossy_t64.tif": "compression 50001",
    "u8x3_jpegxl_tf_t64.tif": "compression 50002",
    "u16_jpeg2000_tf_t64.tif": "compression 34712",
    "f32_lerc_zstd_z01.tif": "LERC of floats, whose NaN becomes 0",
}
KEPT = [
    "u16_nbits12_lzw.tif",
    "u8_nbits1_deflate.tif",
    "u8_nbits4_deflate.tif",
    "f16_deflate_p3.tif",
    "int64_zstd_p2_t64.tif",
    "f32_southup.tif",
    "u8x4_lzma_t64.tif",
    "u16_packbits_t64.tif",
    "u16_lerc_deflate_t64.tif",
    "u8x3_maskifd_deflate.tif",
    "u16_tile_gt_image.tif",
    "u8x4_zstd_band_p2.tif",
    "COG_u16_zstd_b128.tif",
]


@pytest.mark.parametrize("name", NULL)
def test_what_rasteret_would_read_wrong_is_null_and_counted_in_one_warning(name, tmp_path):
    scenes = pr.build_from_files([file_named(name)], on_error="raise")
    n_bands = len(scenes.raster.bands())
    with pytest.warns(RuntimeWarning, match=re.escape(f": {n_bands} {NULL[name]}")) as told:
        scenes.raster.sink_collection(tmp_path / "out", format="rasteret")
    assert len(told) == 1
    (row,) = rows_of(tmp_path / "out")[0].values()
    assert [row[f"{band}_metadata"] for band in scenes.raster.bands()] == [None] * n_bands


@pytest.mark.parametrize("name", KEPT)
def test_what_rasteret_reads_right_is_written(name, tmp_path):
    path = file_named(name)
    scenes = pr.build_from_files([path], on_error="raise")
    scenes.raster.sink_collection(tmp_path / "out", format="rasteret")
    (row,) = rows_of(tmp_path / "out")[0].values()
    with rasterio.open(path) as dataset:
        a, _, c, _, e, f = tuple(dataset.transform)[:6]
        for number, band in enumerate(scenes.raster.bands()):
            got = row[f"{band}_metadata"]
            assert (got["image_height"], got["image_width"]) == dataset.shape
            assert (got["tile_height"], got["tile_width"]) == dataset.block_shapes[number]
            assert got["transform"] == [a, c, e, f]
            assert got["dtype"] == ("float16" if name.startswith("f16") else dataset.dtypes[number])
            nodata = dataset.nodatavals[number]
            assert got["nodata"] == nodata or (math.isnan(nodata) and math.isnan(got["nodata"]))
            assert row["assets"][band].get("band_index", 0) == number
            assert row["proj:epsg"] == dataset.crs.to_epsg()


def scene(tmp_path, name="a.tif", **words):
    path = tmp_path / name
    path.write_bytes(recorded.tiff(recorded.noise(1, height=256, width=256), **words))
    return str(path)


def test_times_places_nodata_and_columns_of_the_caller_are_those_of_the_records(tmp_path):
    href = scene(tmp_path)
    utc = dt.UTC
    frame = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "href": [href] * 3,
            "datetime": [dt.datetime(2020, 3, 1, 5, tzinfo=utc), None, None],
            "start_datetime": [None, dt.datetime(2021, 12, 31, tzinfo=utc), None],
            "end_datetime": [None, dt.datetime(2022, 1, 3, tzinfo=utc), None],
            "geometry": [
                None,
                shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)]).wkb,
                None,
            ],
            "eo:cloud_cover": [3.0, None, 5.0],
        }
    )
    scenes = pr.build_from_table(frame, bands={"B": ("href", 0)})
    scenes = scenes.with_columns(pl.col("B").raster.with_metadata(nodata=pl.when(pl.col("id") == "a").then(7)))
    scenes.raster.sink_collection(tmp_path / "out", format="rasteret")
    parts = {part.parent.relative_to(tmp_path / "out").as_posix() for part in (tmp_path / "out").rglob("*.parquet")}
    nothing = "__HIVE_DEFAULT_PARTITION__"
    assert parts == {"year=2020/month=3", "year=2021/month=12", f"year={nothing}/month={nothing}"}
    rows, _ = rows_of(tmp_path / "out")
    assert [rows[key]["datetime"] for key in "abc"] == [dt.datetime(2020, 3, 1, 5), dt.datetime(2021, 12, 31), None]
    assert rows["b"]["end_datetime"] == dt.datetime(2022, 1, 3)
    assert [rows[key]["eo:cloud_cover"] for key in "abc"] == [3.0, None, 5.0]
    assert (rows["b"]["bbox"]["xmin"], rows["b"]["bbox"]["xmax"]) == (-180, 180)
    assert rows["a"]["bbox"]["xmin"] < rows["a"]["bbox"]["xmax"]
    assert rows["a"]["B_metadata"]["nodata"] == 7
    assert rows["b"]["B_metadata"]["nodata"] is None
    assert "band_index" not in rows["a"]["assets"]["B"]


def test_bands_in_another_crs_than_their_record_and_without_a_code_are_null(tmp_path):
    one, other = scene(tmp_path, "a.tif"), scene(tmp_path, "b.tif", epsg=32633)
    frame = pl.DataFrame({"id": ["a"], "R": [one], "N": [other], "L": [one]})
    scenes = pr.build_from_table(frame, bands={name: (name, 0) for name in "RNL"})
    scenes = scenes.with_columns(pl.col("L").struct.with_fields(crs=pl.lit("a CRS without a code")))
    damaged = scenes.with_columns(pl.col("R").struct.with_fields(tiles=pl.lit(b"damaged")))
    with pytest.warns(RuntimeWarning, match="1 a damaged tile table"):
        damaged.drop("bbox", "geometry").raster.sink_collection(tmp_path / "damaged", format="rasteret")
    with pytest.warns(RuntimeWarning, match=r": 1 another CRS than other bands of the record, 1 no EPSG code$"):
        scenes.drop("bbox", "geometry").raster.sink_collection(tmp_path / "out", format="rasteret")
    (row,) = rows_of(tmp_path / "out")[0].values()
    assert [row[f"{band}_metadata"] is None for band in "RNL"] == [False, True, True]
    assert (row["proj:epsg"], row["crs"]) == (32632, "EPSG:32632")


def test_modes_keep_or_replace_what_is_there(tmp_path):
    scenes, target = pr.build_from_files([scene(tmp_path)]), tmp_path / "out"
    own = tmp_path / "own"
    scenes.raster.sink_collection(own)
    with pytest.raises(UsageError, match="collection of this package"):
        scenes.raster.sink_collection(own, format="rasteret", mode="append")
    scenes.raster.sink_collection(target, format="rasteret", partition_by=[])
    with pytest.raises(UsageError, match="exists already"):
        scenes.raster.sink_collection(target, format="rasteret")
    scenes.with_columns(id=pl.lit("more")).raster.sink_collection(
        target, format="rasteret", mode="append", partition_by=[]
    )
    assert sorted(pr.scan_collection(target).select("id").collect()["id"]) == ["a", "more"]
    scenes.raster.sink_collection(target, format="rasteret", mode="overwrite", partition_by="id")
    assert [part.parent.name for part in target.rglob("*.parquet")] == ["id=a"]
    with pytest.raises(UsageError, match="local folders"):
        scenes.raster.sink_collection("s3://bucket/out", format="rasteret")
    with pytest.raises(UsageError, match="'native' or 'rasteret'"):
        scenes.raster.sink_collection(target, format="zarr")
