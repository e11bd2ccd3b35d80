"""Is the default grid of an image in another CRS the one that GDAL suggests, and does it hold all of the image?"""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from rasterio.transform import Affine
from rasterio.warp import calculate_default_transform

from polars_rasteret.errors import UsageError
from polars_rasteret.grids.default_grid import default_grid
from polars_rasteret.grids.pixel_grid import PixelGrid

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio's own code

UTM = PixelGrid("EPSG:32632", (10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0), 1098, 549)
SOUTH_UP = PixelGrid("EPSG:26912", (30.0, 0.0, 324_000.0, 0.0, 30.0, 5_100_000.0), 143, 107)
DEGREES = PixelGrid("EPSG:4326", (0.25, 0.0, -20.0, 0.0, -0.25, 70.0), 200, 120)
WORLD = PixelGrid("EPSG:4326", (1.0, 0.0, -180.0, 0.0, -1.0, 80.0), 360, 160)


@pytest.mark.parametrize("image", [UTM, SOUTH_UP, DEGREES, WORLD], ids=["utm", "south-up", "degrees", "world"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:6933"])
@pytest.mark.parametrize("resolution", [None, 1.7], ids=["suggested", "coarser"])
def test_it_is_the_grid_that_gdal_suggests(image, crs, resolution):
    if image is WORLD and crs == "EPSG:6933":
        pytest.skip("of a map of the whole Earth GDAL fits the width of pixels to the width of the map")
    a, _, c, _, e, f = image.transform
    bounds = c, f + image.height * e, c + image.width * a, f  # left, bottom, right, top as rasterio has them
    want, width, height = calculate_default_transform(image.crs, crs, image.width, image.height, *bounds)
    size = None if resolution is None else (resolution * want.a, 2 * resolution * want.a)
    if size is not None:
        more = {"resolution": size}
        want, width, height = calculate_default_transform(image.crs, crs, image.width, image.height, *bounds, **more)
    found = default_grid(image, crs, size, label="red")
    assert found.crs == crs
    assert (found.width, found.height) == (width, height)
    np.testing.assert_allclose(found.transform, tuple(want)[:6], rtol=1e-9)


@pytest.mark.parametrize(
    ("image", "crs"),
    [
        (PixelGrid("EPSG:32601", (1e4, 0, 100_000, 0, -1e4, 6.1e6), 60, 40), "EPSG:4326"),  # over the antimeridian
        (PixelGrid("EPSG:32660", (1e4, 0, 400_000, 0, -1e4, 6.1e6), 60, 40), "EPSG:3857"),
        (PixelGrid("EPSG:3413", (5e4, 0, -1e6, 0, -5e4, 2.3e6), 70, 90), "EPSG:4326"),  # around the north pole
        (PixelGrid("EPSG:3031", (5e4, 0, -1.33e6, 0, -5e4, 1.1e6), 60, 40), "EPSG:4326"),  # and the south pole
        (PixelGrid("EPSG:4326", (1.0, 0, 0, 0, -1.0, 80), 360, 160), "EPSG:3857"),  # from Greenwich to Greenwich
    ],
    ids=["utm 1", "utm 60", "north pole", "south pole", "0..360"],
)
def test_every_pixel_of_the_image_lies_on_it_across_seams_and_around_poles(image, crs):
    found = default_grid(image, crs, None, label="red")
    row, col = np.mgrid[: image.height : 3, : image.width : 3] + 0.5
    x, y = Affine(*image.transform) @ (col.ravel(), row.ravel())
    x, y = pyproj.Transformer.from_crs(image.crs, crs, always_xy=True).transform(x, y)
    period = 360.0 if crs == "EPSG:4326" else 2 * np.pi * 6_378_137
    to_pixel = ~Affine(*found.transform)
    middle = (Affine(*found.transform) @ (found.width / 2, 0))[0]
    x = x - period * np.round((x - middle) / period)
    at_col, at_row = to_pixel @ (x, y)
    assert (at_col > -1).all()
    assert (at_col < found.width + 1).all()
    assert (at_row > -1).all()
    assert (at_row < found.height + 1).all()
    # It is not larger than needed: no seam makes a grid around the Earth of a small image.
    n_pixels = image.width * image.height
    assert found.width * found.height < 6 * n_pixels


def test_an_image_without_a_place_is_an_error():
    nowhere = PixelGrid(None, (1.0, 0, 0, 0, -1.0, 0), 5, 5)
    with pytest.raises(UsageError, match="target_crs: red has no CRS or no transform"):
        default_grid(nowhere, "EPSG:4326", None, label="red")
    beyond = PixelGrid("EPSG:4326", (0.1, 0, 10.0, 0, -0.1, 190.0), 5, 5)
    with pytest.raises(UsageError, match="target_crs: red has no place in EPSG:3857"):
        default_grid(beyond, "EPSG:3857", None, label="red")
