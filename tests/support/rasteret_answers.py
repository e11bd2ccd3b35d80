"""Answers that rasteret itself recorded, and how they are compared."""

from __future__ import annotations

import numpy as np
import polars as pl
import shapely

from polars_rasteret.tiff.tile_table import unpack


def agrees(scenes, oracle, engine):
    """Check all points and windows that rasteret recorded; its nodata values are nulls here."""
    points = pl.DataFrame(oracle["points_lonlat"], schema=["lon", "lat"], orient="row")
    theirs = pl.DataFrame(oracle["sample_points"])
    bands = theirs["band"].unique(maintain_order=True).to_list()
    query = scenes.raster.sample_points(points, bands, crs=4326, layout="long", unmatched="drop")
    keys = ["point_index", "record_id", "band"]
    both = theirs.join(query.collect(engine=engine), on=keys, how="left", suffix="_here")
    assert both.height == theirs.height
    for name in ("point_x", "point_y", "point_crs", "raster_crs"):
        assert both[f"{name}_here"].to_list() == both[name].to_list()
    assert both["datetime_here"].dt.to_string("%Y-%m-%d %H:%M:%S").to_list() == both["datetime"].to_list()
    columns = scenes.select("id", *bands).collect()
    nodata = {
        (row["id"], band): (unpack(row[band]["tiles"]).nodata if row[band] else None)
        for row in columns.iter_rows(named=True)
        for band in bands
    }
    n_null = 0
    for row in both.iter_rows(named=True):
        if row["value_here"] is None:
            n_null += 1
            assert row["value"] == nodata[row["record_id"], row["band"]]
        else:
            assert row["value_here"] == row["value"]
    box = shapely.box(*oracle["aoi_bbox_lonlat"])
    windows = scenes.raster.read_windows([box], bands, crs=4326, coverage="center").collect(engine=engine)
    for one in oracle["get_gdf"]:
        (window,) = windows.filter(pl.col("record_id") == one["record_id"])[one["band"]].to_list()
        pixels = np.array(window["pixels"], one["dtype"]).reshape(window["height"], window["width"])
        np.testing.assert_array_equal(pixels, one["data"])
        np.testing.assert_allclose(window["transform"], one["transform"], rtol=0, atol=1e-6)
    return n_null, len(oracle["get_gdf"])
