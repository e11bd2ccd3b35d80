"""Are all pixels of a full disk and of a world map found, by every question, where the Earth ends inside the image?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyproj
import pytest
import rasterio

import polars_rasteret as pr
from tests.support.engines import ENGINES

N_PIXELS = 60
EDGE = 5434894.885
WORLDS = {
    "full disk": ("+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80", (-EDGE, -EDGE, EDGE, EDGE)),
    "disk over the antimeridian": (
        "+proj=geos +h=35786023 +lon_0=170 +sweep=x +ellps=GRS80",
        (-EDGE, -EDGE, EDGE, EDGE),
    ),
    "world map": ("+proj=moll +lon_0=10 +datum=WGS84", (-1.81e7, -9.05e6, 1.81e7, 9.05e6)),
}


@pytest.fixture(scope="module", params=list(WORLDS))
def world(request, tmp_path_factory):
    """Give an image whose pixels count from 1, its CRS, and the places of its pixels on the Earth."""
    proj, box = WORLDS[request.param]
    crs = pyproj.CRS(proj)
    path = tmp_path_factory.mktemp("limb") / "image.tif"
    west, south, east, north = box
    transform = rasterio.Affine((east - west) / N_PIXELS, 0, west, 0, (south - north) / N_PIXELS, north)
    pixels = np.arange(1, N_PIXELS**2 + 1, dtype="int32").reshape(N_PIXELS, N_PIXELS)
    kind = {"driver": "GTiff", "width": N_PIXELS, "height": N_PIXELS, "count": 1, "dtype": "int32"}
    with rasterio.open(path, "w", **kind, crs=crs.to_wkt(), transform=transform) as file:
        file.write(pixels, 1)
    col, row = (axis.ravel() + 0.5 for axis in np.meshgrid(np.arange(N_PIXELS), np.arange(N_PIXELS)))
    x, y = transform.a * col + transform.c, transform.e * row + transform.f
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    on_earth = np.isfinite(lon)
    places = pl.DataFrame({"lon": lon[on_earth], "lat": lat[on_earth], "expected": pixels.ravel()[on_earth]})
    built = pr.build_from_files([str(path)], bands=["b"]).collect()
    return {"built": built, "without bbox": built.drop("geometry", "bbox")}, crs, box, places


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["built", "without bbox"])
def test_every_question_finds_every_pixel_on_the_earth(world, form, engine):
    frames, crs, box, places = world
    scenes = frames[form].lazy()
    found = scenes.raster.sample_points(places, ["b"], x="lon", y="lat", crs=4326).collect(engine=engine)
    assert found["b"].to_list() == places["expected"].to_list()
    paired = scenes.raster.pair(places, x="lon", y="lat", crs=4326)
    read = paired.with_columns(value=pl.col("b").raster.sample_points("lon", "lat", crs=4326)).collect(engine=engine)
    assert read["value"].to_list() == places["expected"].to_list()
    few = places.gather_every(97)
    areas = few.select("expected", xmin=pl.col("lon") - 1e-3, ymin=pl.col("lat") - 1e-3, xmax="lon", ymax="lat")
    areas = areas.select("expected", geometry=pl.struct("xmin", "ymin", "xmax", "ymax"))
    windows = scenes.raster.read_windows(areas, ["b"], crs=4326).collect(engine=engine)
    assert windows.height == few.height
    for expected, window in zip(windows["expected"], windows["b"], strict=True):
        assert expected in window["pixels"]
    for lon, lat in few.select("lon", "lat").rows()[::7]:
        assert scenes.raster.intersects((lon, lat, lon, lat)).select(pl.len()).collect(engine=engine).item() == 1
    whole = pl.DataFrame({"geometry": [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))]})
    disk = scenes.raster.read_windows(whole, ["b"], crs=crs).collect(engine=engine)
    assert [len(window["pixels"]) for window in disk["b"]] == [N_PIXELS**2]
    assert scenes.raster.intersects(box, crs=crs).select(pl.len()).collect(engine=engine).item() == 1
