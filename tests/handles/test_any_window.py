"""Is any window of any bands a part of the image with a border of fill, however it is asked for?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import polars_rasteret as pr
from tests.support import recorded

HEIGHT, WIDTH, BORDER, NODATA = 53, 47, 30, 9
PIXELS = recorded.noise(11, height=HEIGHT, width=WIDTH, n_bands=3)
PIXELS[:, 10:14, 20:30] = NODATA
BANDS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def handle():
    store = recorded.Store()
    data = recorded.tiff(PIXELS, tile=16, interleave="pixel", nodata=NODATA)
    row = {"id": "one", "datetime": None, "image": store.put("one.tif", data)}
    bands = {name: ("image", at) for at, name in enumerate(BANDS)}
    yield next(recorded.build(store, [row], bands).raster.iter_rasters())
    store.close()


def spans(size: int) -> st.SearchStrategy[tuple[int, int]]:
    """Half-open spans that meet ``0:size`` and reach at most `BORDER` beyond it."""
    first = st.integers(-BORDER, size - 1)
    return first.flatmap(lambda at: st.tuples(st.just(at), st.integers(max(at + 1, 1), size + BORDER)))


@settings(max_examples=40)
@given(
    rows=spans(HEIGHT),
    cols=spans(WIDTH),
    bands=st.lists(st.sampled_from(BANDS), min_size=1, unique=True),
    fill=st.sampled_from([None, 0, 65_535]),
    way=st.sampled_from(["window", "bounds", "geometry"]),
)
def test_any_window_is_a_part_of_the_image_with_a_border_of_fill(handle, rows, cols, bands, fill, way):
    outside = NODATA if fill is None else fill
    whole = np.pad(PIXELS, [(0, 0), (BORDER, BORDER), (BORDER, BORDER)], constant_values=outside)
    size = recorded.RESOLUTION
    box = 500_000 + size * cols[0], 5_000_000 - size * rows[1], 500_000 + size * cols[1], 5_000_000 - size * rows[0]
    words = {
        "window": {"window": (*rows, *cols)},
        "bounds": {"bounds": box, "crs": recorded.EPSG},
        "geometry": {"geometry": shapely.box(*box), "crs": "native"},
    }[way]
    if way == "geometry":  # cut to the image
        rows, cols = (max(rows[0], 0), min(rows[1], HEIGHT)), (max(cols[0], 0), min(cols[1], WIDTH))
    at = [BANDS.index(name) for name in bands]
    want = whole[at, rows[0] + BORDER : rows[1] + BORDER, cols[0] + BORDER : cols[1] + BORDER]
    np.testing.assert_array_equal(handle.read(bands, fill_value=fill, **words), want)
    masked = handle.read(bands, masked=True, fill_value=fill, **words)
    there = np.pad(PIXELS != NODATA, [(0, 0), (BORDER, BORDER), (BORDER, BORDER)], constant_values=False)
    np.testing.assert_array_equal(
        ~np.ma.getmaskarray(masked), there[at, rows[0] + BORDER : rows[1] + BORDER, cols[0] + BORDER : cols[1] + BORDER]
    )


@settings(max_examples=10)
@given(boxes=st.lists(st.tuples(spans(HEIGHT), spans(WIDTH)), min_size=1, max_size=6))
def test_load_equals_read_of_each_geometry_and_the_verb(handle, boxes):
    size = recorded.RESOLUTION
    areas = [
        shapely.box(500_000 + size * c[0], 5_000_000 - size * r[1], 500_000 + size * c[1], 5_000_000 - size * r[0])
        for r, c in boxes
    ]
    loaded = handle.load(areas, ["blue", "red"], crs="native")
    table = handle.load(areas, ["blue", "red"], crs="native", as_="geopandas")
    by_verb = pr.to_geopandas(
        pr.raster(handle._row.lazy()).read_windows(areas, ["blue", "red"], crs="native"), crs="native"
    )
    for at, (rows, cols) in enumerate(boxes):
        want = PIXELS[:, max(rows[0], 0) : rows[1], max(cols[0], 0) : cols[1]]
        np.testing.assert_array_equal(loaded[at], want[[2, 0]])
        np.testing.assert_array_equal(table["blue"][at], want[2])
        np.testing.assert_array_equal(by_verb["red"][at], want[0])
        assert by_verb["red_transform"][at] == table["transform"][at]
    assert by_verb.crs == table.crs == f"EPSG:{recorded.EPSG}"
    assert pl.Series(table["id"].tolist()).unique().to_list() == ["one"]
