"""Are clear pixels those that the makers of each product call clear?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError

SCL = {4: True, 5: True, 6: True, **dict.fromkeys((0, 1, 2, 3, 7, 8, 9, 10, 11), False)}


def clear(dataset_id, band, values, dtype):
    frame = pl.DataFrame({band: pl.Series(values, dtype=dtype)})
    return frame.select(pr.clear_sky(dataset_id)).to_series().to_list()


@pytest.mark.parametrize(
    "dataset_id", ["earthsearch/sentinel-2-l2a", "earthsearch/sentinel-2-c1-l2a", "pc/sentinel-2-l2a"]
)
def test_sentinel_2_is_clear_over_vegetation_soil_and_water(dataset_id):
    assert clear(dataset_id, "SCL", list(SCL), pl.UInt8) == list(SCL.values())


@pytest.mark.parametrize("dataset_id", ["earthsearch/landsat-c2-l2", "pc/landsat-c2-l2"])
def test_landsat_is_clear_where_bit_6_of_its_quality_is_set(dataset_id):
    values = np.arange(2**16, dtype=np.uint16)
    assert clear(dataset_id, "qa_pixel", values, pl.UInt16) == ((values >> 6) & 1 == 1).tolist()


@pytest.mark.parametrize("dataset_id", ["pc/hls2-l30", "pc/hls2-s30", "lpcloud/hls-l30", "lpcloud/hls-s30"])
def test_hls_is_clear_where_cloud_beside_cloud_and_shadow_are_not_set(dataset_id):
    values = np.arange(256, dtype=np.uint8)
    assert clear(dataset_id, "Fmask", values, pl.UInt8) == [not value & 0b1110 for value in values.tolist()]
    # The same in the words of pr.bits.
    frame = pl.DataFrame({"Fmask": values})
    assert (
        frame.select(pr.clear_sky(dataset_id)).to_series().equals(frame.select(pr.bits("Fmask", 1, 3) == 0).to_series())
    )


def test_a_dataset_without_a_quality_band_is_refused_with_those_that_have_one():
    with pytest.raises(UsageError, match="no clear pixels of 'pc/nasadem'; it does of earthsearch/sentinel-2-l2a"):
        pr.clear_sky("pc/nasadem")
    with pytest.raises(UsageError, match="no dataset is called"):
        pr.clear_sky("nothing")


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_it_is_taken_as_valid_by_a_verb(engine):
    # red is 1000 + row * 64 + column; bit 6 of it is the sixth bit of "qa_pixel".
    scenes = pr.testing.example_scenes().with_columns(pl.col("red").alias("qa_pixel"))
    xs = [500_005.0 + 10 * column for column in range(60)]
    points = pl.DataFrame({"x": xs, "y": [4_999_995.0] * 60})
    found = scenes.head(1).raster.sample_points(
        points, ["nir"], crs=32632, valid=pr.clear_sky("pc/landsat-c2-l2"), record_columns=[]
    )
    expected = [bool((1000 + column) >> 6 & 1) for column in range(60)]
    assert [value is not None for value in found.collect(engine=engine)["nir"]] == expected
    assert 0 < sum(expected) < 60
