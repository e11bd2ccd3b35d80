"""Is the overview chosen that GDAL chooses?"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.windows import Window

from polars_rasteret.plan.overviews import overview_levels

PYRAMIDS = {
    "twos": (701, 913, (2, 4, 8)),
    "odd": (640, 960, (3, 7)),
    "tall": (900, 90, (2, 4, 8, 16)),
    "none": (200, 300, ()),
}


@cache
def sizes_of(name: str, folder: str) -> tuple[str, list[tuple[int, int]]]:
    """A file each of whose levels holds its own number, and the size of each."""
    height, width, factors = PYRAMIDS[name]
    path = f"{folder}/{name}.tif"
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8", "tiled": True}
    transform = rasterio.Affine(1, 0, 5, 0, -1, 5)
    with rasterio.open(path, "w", **profile, transform=transform, blockxsize=64, blockysize=64) as sink:
        sink.write(np.zeros((height, width), np.uint8), 1)
    sizes = [(height, width)]
    if factors:
        with rasterio.open(path, "r+") as sink:
            sink.build_overviews(factors, Resampling.nearest)
    for at in range(len(factors)):
        with rasterio.open(path, "r+", overview_level=at) as sink:
            sizes.append((sink.height, sink.width))
            sink.write(np.full((sink.height, sink.width), at + 1, np.uint8), 1)
    return path, sizes


@pytest.mark.parametrize("name", PYRAMIDS)
@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_the_level_is_that_of_rasterio(name, tmp_path_factory, data):
    path, sizes = sizes_of(name, str(tmp_path_factory.getbasetemp()))
    height, width = sizes[0]
    size = [data.draw(st.one_of(st.integers(1, side).map(float), st.floats(1, side))) for side in (height, width)]
    start = [data.draw(st.floats(0, side - one)) for side, one in zip((height, width), size, strict=True)]
    ratio = data.draw(st.floats(0.5, 20))
    shape = tuple(max(1, int(one / ratio * data.draw(st.sampled_from([1.0, 1.0, 0.7])))) for one in size)
    is_nearest = data.draw(st.booleans())
    with rasterio.open(path) as source:
        found = source.read(
            1,
            window=Window(start[1], start[0], size[1], size[0]),
            out_shape=shape,
            resampling=Resampling.nearest if is_nearest else Resampling.bilinear,
        )
    assert (found == found[0, 0]).all()
    level = overview_levels(
        sizes,
        (np.array(size[:1]), np.array(size[1:])),
        (np.array(shape[:1]), np.array(shape[1:])),
        is_nearest=is_nearest,
    )
    assert level.tolist() == [found[0, 0]]


def test_a_window_that_lacks_a_rounding_error_is_whole():
    """512 pixels into 256: a size that came from coordinates may be a hair below."""
    sizes = [(1024, 1024), (512, 512)]
    size, shape = np.array([512 - 1e-9]), np.array([512])
    assert overview_levels(sizes, (size, size), (shape, shape), is_nearest=True).tolist() == [0]
    assert overview_levels(sizes, (size, size), (shape // 2, shape // 2), is_nearest=False).tolist() == [1]
