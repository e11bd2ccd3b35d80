"""Does a question to a collection without ``bbox`` and ``geometry`` look only at what may answer?"""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.geo import bounds_cache
from polars_rasteret.pixels.rasters import raster_column as references
from polars_rasteret.testing import make_cog
from tests.support.engines import ENGINES

N_RECORDS = 3_000


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Give records all over the UTM zones; the file of the first is there."""
    path = tmp_path_factory.mktemp("without_bbox") / "a.tif"
    grid = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
    path.write_bytes(make_cog(np.full((1, 64, 64), 7, "uint8"), transform=grid))
    real = pr.build_from_files([str(path)], bands=["red"]).collect()
    rng = np.random.default_rng(0)
    transform = np.tile(grid, (N_RECORDS, 1))
    transform[1:, 2] = rng.integers(20_000, 80_000, N_RECORDS - 1) * 10
    transform[1:, 5] = rng.integers(100_000, 900_000, N_RECORDS - 1) * 10
    zones = np.concatenate([[32], rng.integers(1, 61, N_RECORDS - 1)])
    zones[zones == 32] = 33
    zones[0] = 32
    red = (
        real["red"]
        .gather(np.zeros(N_RECORDS, np.int64))
        .struct.unnest()
        .with_columns(
            crs=pl.Series([f"EPSG:326{zone:02}" for zone in zones]),
            transform=pl.Series(transform, dtype=pl.Array(pl.Float64, 6)),
            href=pl.Series([str(path)] + [f"https://example.com/{n}.tif" for n in range(1, N_RECORDS)]),
        )
        .to_struct("red")
    )
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "id": [f"R{n}" for n in range(N_RECORDS)],
            "datetime": [start + dt.timedelta(days=n) for n in range(N_RECORDS)],
            "red": red,
            "cloud": rng.uniform(0, 100, N_RECORDS) * (np.arange(N_RECORDS) > 0),
        }
    )


def questions(engine):
    """Name questions that the first record alone answers."""
    points = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})
    box = pl.DataFrame({"xmin": [300_010.0], "ymin": [4_999_900.0], "xmax": [300_100.0], "ymax": [4_999_990.0]})
    areas = box.select(geometry=pl.struct(pl.all()))
    own = {"x": "x", "y": "y", "crs": "native"}
    return {
        "points": lambda lf: lf.raster.sample_points(points, crs=32632).collect(engine=engine)["red"].to_list() == [7],
        "latest": lambda lf: (
            lf.raster.sample_points(points, crs=32632, match="latest").collect(engine=engine)["red"].to_list() == [7]
        ),
        "windows": lambda lf: lf.raster.read_windows(areas, crs=32632).collect(engine=engine).height == 1,
        "pair": lambda lf: lf.raster.pair(points, crs=32632).collect(engine=engine)["record_id"].to_list() == ["R0"],
        "own coordinates": lambda lf: (
            "R0" in lf.raster.pair(points, **own).collect(engine=engine)["record_id"].to_list()
        ),
        "intersects": lambda lf: (
            lf.raster.intersects((300_010, 4_999_900, 300_100, 4_999_990), crs=32632)
            .select("id")
            .collect(engine=engine)["id"]
            .to_list()
            == ["R0"]
        ),
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", questions(""))
def test_places_are_found_once_and_few_rasters_are_looked_at(monkeypatch, scenes, name, engine):
    monkeypatch.setattr(bounds_cache, "_runs", ())
    located, unpacked = [], []
    image_footprints, reference_of = bounds_cache.image_footprints, references.reference_of

    def locating(crs, *grid):
        located.append(len(crs))
        return image_footprints(crs, *grid)

    def referring(*args):
        unpacked.append(args)
        return reference_of(*args)

    monkeypatch.setattr(bounds_cache, "image_footprints", locating)
    monkeypatch.setattr(references, "reference_of", referring)
    ask = questions(engine)[name]
    assert ask(scenes.lazy())
    if name != "own coordinates":
        assert 0 < sum(located) <= N_RECORDS
    located.clear()
    copy = pl.DataFrame(scenes.to_dict(as_series=True)).clone()
    for lf in (scenes.lazy(), copy.lazy(), scenes.lazy().filter(pl.col("cloud") < 50), scenes.lazy().reverse()):
        assert ask(lf)
    assert not located
    assert len(unpacked) < 200


def test_a_record_without_a_box_among_others_is_found(scenes):
    """Boxes that are there are believed; where there is none, the grid is asked."""
    box = pl.struct(xmin=pl.lit(100.0), ymin=pl.lit(0.0), xmax=pl.lit(101.0), ymax=pl.lit(1.0))
    boxed = scenes.lazy().with_columns(bbox=pl.when(pl.col("id") != "R0").then(box))
    points = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})
    for engine in ENGINES:
        found = boxed.raster.pair(points, crs=32632).select("record_id").collect(engine=engine)
        assert found["record_id"].to_list() == ["R0"]
