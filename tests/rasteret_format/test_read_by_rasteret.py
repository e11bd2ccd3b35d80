"""Does rasteret itself read the pixels of the files from what is written for it?

rasteret needs Python 3.12, so it runs in an interpreter of its own: RASTERET_PYTHON names one that has rasteret 0.4.1.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rasterio
import rasterio.warp

import polars_rasteret as pr

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "tests" / "data" / "derived", ROOT.parent / "shared" / "data" / "derived")
SHARED = ROOT.parent / "shared" / "data" / "rasteret"
PYTHON = os.environ.get("RASTERET_PYTHON")
FILES = [
    "u8x4_zstd_pixel_p1.tif",
    "u8x4_zstd_band_p2.tif",
    "u16_nbits12_lzw.tif",
    "u8_nbits1_deflate.tif",
    "u8_nbits4_deflate.tif",
    "f16_deflate_p3.tif",
    "int64_zstd_p2_t64.tif",
    "int8_deflate_p2.tif",
    "f32_southup.tif",
    "u8x4_lzma_t64.tif",
    "u16_packbits_t64.tif",
    "u16_lerc_deflate_t64.tif",
    "u8x3_maskifd_deflate.tif",
    "u16_tile_gt_image.tif",
    "COG_u16_zstd_b128.tif",
    "i16_scale_offset.tif",
]
SCRIPT = """
import json, sys
import pyarrow as pa
from rasteret import Collection

asked = json.load(sys.stdin)
answers = []
for one in asked:
    collection = Collection.from_parquet(one["path"])
    points = pa.table({"lon": one["lon"], "lat": one["lat"]})
    found = collection.sample_points(points, one["bands"], x_column="lon", y_column="lat", geometry_crs=4326)
    rows = found.select(["point_index", "record_id", "band", "value"]).to_pylist()
    answers.append([collection.bands, rows])
print("ANSWERS" + json.dumps(answers))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="RASTERET_PYTHON names no Python with rasteret 0.4.1"),
]


def answers_of(asked, tmp_path):
    done = subprocess.run(
        [PYTHON, "-c", SCRIPT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("ANSWERS")[2])


def test_pixels_of_files_of_every_kind_are_those_of_rasterio(tmp_path):
    asked, wanted = [], []
    for name in FILES:
        path = next((folder / name for folder in FOLDERS if (folder / name).is_file()), None)
        if path is None:
            continue
        scenes = pr.build_from_files([path], on_error="raise")
        scenes.raster.sink_collection(tmp_path / path.stem, format="rasteret")
        with rasterio.open(path) as dataset:
            rows, cols = (
                one.ravel()
                for one in np.meshgrid(*(np.linspace(0.1, 0.9, 4) * n // 1 for n in dataset.shape), indexing="ij")
            )
            x, y = rasterio.transform.xy(dataset.transform, rows, cols)
            lon, lat = rasterio.warp.transform(dataset.crs, "EPSG:4326", x, y)
            pixels = dataset.read()[:, rows.astype(int), cols.astype(int)]
        bands = scenes.raster.bands()
        asked.append({"path": str(tmp_path / path.stem), "lon": list(lon), "lat": list(lat), "bands": bands})
        wanted.append((name, bands, pixels))
    for (name, bands, pixels), (theirs, rows) in zip(wanted, answers_of(asked, tmp_path), strict=True):
        assert sorted(theirs) == sorted(bands), name
        assert len(rows) == pixels.size, name
        for row in rows:
            np.testing.assert_equal(row["value"], pixels[bands.index(row["band"]), row["point_index"]].item(), name)


@pytest.mark.parametrize("name", ["naip_multiband", "landsat_per_band", "aef_record_index"])
def test_answers_are_those_that_rasteret_gave_of_its_own_collections(name, tmp_path):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip("../shared/data/rasteret is not there")
    words = {}
    if name == "aef_record_index":
        told = json.loads((folder / "descriptor.json").read_text())
        words = {"index": folder / "index.parquet", "descriptor": told}
    scenes = pr.scan_collection(folder / "data" if words else folder, **words)
    scenes.raster.sink_collection(tmp_path / "out", format="rasteret")
    oracles = [json.loads(file.read_text()) for file in sorted(folder.glob("oracle*.json"))]
    asked = []
    for oracle in oracles:
        lon, lat = zip(*oracle["points_lonlat"], strict=True)
        bands = list(dict.fromkeys(row["band"] for row in oracle["sample_points"]))
        asked.append({"path": str(tmp_path / "out"), "lon": lon, "lat": lat, "bands": bands})
    keys = ["point_index", "record_id", "band"]
    for oracle, (_, rows) in zip(oracles, answers_of(asked, tmp_path), strict=True):
        want = pl.DataFrame(oracle["sample_points"]).select(*keys, "value").sort(keys)
        assert pl.DataFrame(rows).select(*keys, pl.col("value").cast(pl.Float64)).sort(keys).equals(want)
