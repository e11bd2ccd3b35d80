"""Are windows free of known faults: casts, bleeding nodata, lost rows, zeros taken for nothing, tiles read once per band?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import rasterio.mask
import shapely
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.testing import MemorySource, RecordingSource
from tests.support.engines import ENGINES

PREFIX = "memory://area-faults/"
WEST, NORTH, SIZE = 500_000.0, 5_000_000.0, 128
TRANSFORM = Affine(10, 0, WEST, 0, -10, NORTH)
ZONES = [
    shapely.Point(WEST + 400, NORTH - 500).buffer(170, quad_segs=3),
    shapely.box(WEST + 903, NORTH - 708, WEST + 1_099, NORTH - 311),
    shapely.box(WEST - 55, NORTH - 95, WEST + 75, NORTH + 45),
]


def _file(pixels: np.ndarray, nodata: float | None) -> bytes:
    profile = {
        "driver": "GTiff",
        "crs": "EPSG:32632",
        "transform": TRANSFORM,
        "dtype": pixels.dtype.name,
        "nodata": nodata,
    }
    size = {"count": len(pixels), "height": SIZE, "width": SIZE, "tiled": True, "blockxsize": 64, "blockysize": 64}
    with MemoryFile() as memory:
        with memory.open(**profile, **size, interleave="pixel", compress="deflate") as sink:
            sink.write(pixels)
        return bytes(memory.read())


def _pixels() -> dict[str, tuple[np.ndarray, float | None]]:
    rng = np.random.default_rng(11)
    counts = rng.integers(0, 4, (3, SIZE, SIZE)).astype(np.uint8)  # 0 is a count here, as any other
    low = rng.integers(-30_000, -20_000, (1, SIZE, SIZE)).astype(np.int16)
    low[:, 40:60, 30:50] = -9_999
    return {"counts": (counts, None), "low": (low, -9_999)}


FILES = {name: _file(*one) for name, one in _pixels().items()}


@pytest.fixture(scope="module")
def source() -> RecordingSource:
    files = {f"{PREFIX}{name}.tif": one for name, one in FILES.items()}
    recorded = RecordingSource(MemorySource(files))
    pr.configure_store(PREFIX, store=recorded)
    return recorded


@pytest.fixture(scope="module")
def scene(source) -> pl.LazyFrame:
    counts = pr.build_from_files([f"{PREFIX}counts.tif"], bands=["c1", "c2", "c3"]).collect()
    low = pr.build_from_files([f"{PREFIX}low.tif"], bands=["low"]).collect()
    return counts.with_columns(low["low"], id=pl.lit("one")).lazy()


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of rasterio's own code
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("coverage", ["center", "all_touched"])
@pytest.mark.parametrize(("band", "name", "index"), [("low", "low", 1), ("c2", "counts", 2)])
def test_windows_are_those_of_rasterio_mask(scene, band, name, index, coverage, engine):
    """Values, dtype, and masks: pixels outside of the polygon, nodata, and zeros that are values."""
    query = scene.raster.read_windows(ZONES, [band], coverage=coverage, masked=True, crs=32632)
    got = query.collect(engine=engine)
    assert got.schema == query.collect_schema()
    assert got["record_id"].to_list() == ["one"] * len(ZONES)
    with MemoryFile(FILES[name]) as memory, memory.open() as image:
        for zone, answer in zip(ZONES, got[band].to_list(), strict=True):
            wanted, transform = rasterio.mask.mask(
                image, [zone], crop=True, filled=False, indexes=index, all_touched=coverage == "all_touched"
            )
            assert tuple(answer["transform"]) == pytest.approx(tuple(transform)[:6])
            assert (answer["height"], answer["width"]) == wanted.shape
            assert answer["pixels"] == wanted.reshape(-1).tolist()
            assert wanted.mask.any() or zone is not ZONES[0]
    inner = got.schema[band].to_schema()["pixels"].inner
    assert inner == {"low": pl.Int16, "c2": pl.UInt8}[band]


def test_bands_of_an_interleaved_file_share_their_tiles(scene, source):
    n_requests = []
    for bands in (["c1"], ["c1", "c2", "c3"]):
        source.clear()
        with pr.options(cache_bytes=0):
            scene.raster.read_windows(ZONES[1:2], bands, crs=32632).collect()
        n_requests.append(len(source.requests))
    assert n_requests[0] == n_requests[1] > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_cannot_be_read_keeps_its_rows_beside_windows_of_other_sizes(scene, engine):
    """Windows of several sizes and a failed record: every pair has its row, its id, and its own size or a reason."""
    gone = scene.with_columns(
        pl.lit("gone").alias("id"),
        pl.col("low").struct.with_fields(href=pl.lit(f"{PREFIX}gone.tif")),
    )
    both = pl.concat([scene, gone.select(scene.collect_schema().names())])
    got = both.raster.read_windows(ZONES, ["low"], crs=32632, on_error="null").collect(engine=engine)
    assert got["record_id"].to_list() == ["gone", "one"] * len(ZONES)  # of one time: by id
    assert got["low"].is_null().to_list() == [True, False] * len(ZONES)
    assert got["read_error"].is_null().to_list() == [False, True] * len(ZONES)
    sizes = {(one["height"], one["width"]) for one in got["low"].drop_nulls()}
    assert len(sizes) == len(ZONES)


def test_nodata_does_not_bleed_into_mixed_pixels_and_classes_stay_classes(scene):
    """Values from -30000 to -20000 around nodata of -9999; classes of 0 to 3, where a mean of classes would be none."""
    box = [shapely.box(WEST + 200, NORTH - 700, WEST + 600, NORTH - 300)]
    for method in ("bilinear", "cubic", "average"):
        words = {"shape": (17, 17), "crs": 32632, "resampling": {"low": method}, "masked": True}
        mixed = scene.raster.read_windows(box, ["low", "c1"], **words).collect()
        low = np.ma.masked_invalid(mixed["low"].to_numpy()[0].astype(float))
        assert low.mask.any()
        assert low.max() < (-20_000 if method != "cubic" else -18_000)  # cubic weights overshoot
        whole = scene.raster.read_windows(box, ["c1"], crs=32632).collect()["c1"].to_list()[0]
        assert set(np.unique(mixed["c1"].to_numpy()[0])) <= set(whole["pixels"])
