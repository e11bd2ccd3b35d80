"""Does an array have the pixels, rows and nulls of the frame it was made of?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shapely

import polars_rasteret as pr
from polars_rasteret.errors import UsageError

RED = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
CRS = 32632


def pixels(record: str, band: str, rows: slice, cols: slice) -> np.ndarray:
    """What `example_scenes` says of its pixels."""
    red = RED + {"first": 1000, "second": 2000}[record]
    return (red if band == "red" else 3 * red)[rows, cols]


def box(row: int, col: int, height: int = 3, width: int = 4) -> shapely.Geometry:
    return shapely.box(
        500_000 + 10 * col, 5_000_000 - 10 * (row + height), 500_000 + 10 * (col + width), 5_000_000 - 10 * row
    )


@pytest.fixture
def scenes() -> pl.LazyFrame:
    return pr.testing.example_scenes()


@pytest.fixture
def targets() -> pl.DataFrame:
    wkb = [shapely.to_wkb(box(*at)) for at in ((5, 6), (50, 20), (0, 0))]
    return pl.DataFrame({"name": ["a", "b", "c"], "geometry": wkb})


EXPECTED = {"a": (slice(5, 8), slice(6, 10)), "b": (slice(50, 53), slice(20, 24)), "c": (slice(0, 3), slice(0, 4))}


def expected(rows: pl.DataFrame, bands: list[str]) -> np.ndarray:
    told = rows.select("name", "record_id").rows()
    return np.stack([[pixels(record, band, *EXPECTED[name]) for band in bands] for name, record in told])


@pytest.mark.parametrize("bands", [["red", "nir"], ["nir", "red"], ["nir"], "red", None])
@pytest.mark.parametrize("words", [{"shape": (3, 4)}, {}], ids=["arrays", "structs"])
def test_windows_become_one_array_in_the_order_of_rows_and_bands(scenes, targets, bands, words, engine):
    found = scenes.raster.read_windows(targets, crs=CRS, **words).collect(engine=engine)
    array, rows = pr.to_numpy(found, bands)
    names = ["red", "nir"] if bands is None else [bands] if isinstance(bands, str) else bands
    assert array.shape == (6, len(names), 3, 4)
    assert array.dtype == np.uint16
    assert type(array) is np.ndarray
    np.testing.assert_array_equal(array, expected(rows, names))
    assert rows.columns == [name for name in found.columns if name not in names]
    assert rows["record_id"].to_list() == found["record_id"].to_list()


def test_a_stack_and_a_single_band_are_not_copied(scenes, targets):
    stack = scenes.raster.read_windows(targets, crs=CRS, shape=(3, 4), stack=True).collect()
    array, rows = pr.to_numpy(stack, ["red", "nir"])
    np.testing.assert_array_equal(array, expected(rows, ["red", "nir"]))
    assert np.shares_memory(array, stack["pixels"].to_numpy(allow_copy=False))
    one = scenes.raster.read_windows(targets, ["nir"], crs=CRS, shape=(3, 4)).collect()
    assert np.shares_memory(pr.to_numpy(one, "nir")[0], one["nir"].to_numpy(allow_copy=False))
    assert np.shares_memory(pr.to_numpy(stack)[0], pr.to_numpy(stack)[0])


@pytest.mark.parametrize(
    "words", [{"window": (5, 8, 6, 10)}, {"bounds": box(5, 6).bounds, "crs": CRS}], ids=["window", "bounds"]
)
@pytest.mark.parametrize("kind", ["expressions", "struct", "stack"])
def test_expressions_give_the_same_array_as_verbs(scenes, words, kind):
    if kind == "expressions":
        query = scenes.select("id", *(pl.col(band).raster.read_window(**words) for band in ("red", "nir")))
    else:
        more = {"stack": True, "shape": (3, 4)} if kind == "stack" else {}
        query = scenes.select("id", pr.read_window(["red", "nir"], **words, **more))
    array, rows = pr.to_numpy(query, ["red", "nir"])
    assert rows.to_dict(as_series=False) == {"id": ["first", "second"]}
    want = [
        [pixels(record, band, slice(5, 8), slice(6, 10)) for band in ("red", "nir")] for record in ("first", "second")
    ]
    np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize(
    "words", [{"shape": (3, 4)}, {"shape": (3, 4), "stack": True}, {}], ids=["arrays", "stack", "structs"]
)
def test_rows_without_pixels_are_kept_and_masked_or_filled(scenes, targets, words):
    far = pl.DataFrame({"name": ["far"], "geometry": [shapely.to_wkb(box(9_000, 0))]})
    asked = pl.concat([targets.head(1), far, targets.tail(1)])
    found = scenes.raster.read_windows(asked, crs=CRS, unmatched="null", **words).collect()
    array, rows = pr.to_numpy(found)
    assert rows["name"].to_list() == ["a", "a", "far", "c", "c"]
    assert isinstance(array, np.ma.MaskedArray)
    is_far = np.array([one == "far" for one in rows["name"]])
    np.testing.assert_array_equal(array.mask, np.broadcast_to(is_far[:, None, None, None], array.shape))
    there = rows.filter(pl.col("name") != "far")
    np.testing.assert_array_equal(array.data[~is_far], expected(there, ["red", "nir"]))
    filled, _ = pr.to_numpy(found, fill_value=7)
    assert type(filled) is np.ndarray
    assert filled.dtype == np.uint16
    np.testing.assert_array_equal(filled[~is_far], array.data[~is_far])
    assert (filled[is_far] == 7).all()


@pytest.mark.parametrize(
    "words", [{"shape": (3, 4)}, {"shape": (3, 4), "stack": True}, {}], ids=["arrays", "stack", "structs"]
)
def test_null_elements_are_masked_where_they_are(scenes, words):
    area = [shapely.Polygon([(500_000, 5_000_000), (500_040, 5_000_000), (500_040, 4_999_970)])]
    found = scenes.raster.read_windows(area, crs=CRS, masked=True, coverage="center", **words).collect()
    array, _ = pr.to_numpy(found)
    inside = [
        shapely.contains_xy(area[0], 500_005 + 10 * col, 4_999_995 - 10 * row) for row in range(3) for col in range(4)
    ]
    assert array.shape == (2, 2, 3, 4)
    np.testing.assert_array_equal(~array.mask, np.broadcast_to(np.reshape(inside, (3, 4)), array.shape))
    want = pixels("second", "nir", slice(0, 3), slice(0, 4))
    np.testing.assert_array_equal(array[1, 1].compressed(), want[np.reshape(inside, (3, 4))])


@pytest.mark.parametrize("n_before", [1, 2])
def test_a_slice_of_a_frame_gives_its_own_rows(scenes, targets, n_before):
    far = pl.DataFrame({"name": ["far"], "geometry": [shapely.to_wkb(box(9_000, 0))]})
    for words in ({"shape": (3, 4)}, {}):
        asked = pl.concat([far, targets])
        found = scenes.raster.read_windows(asked, ["red"], crs=CRS, unmatched="null", **words).collect()
        whole, _ = pr.to_numpy(found)
        part, rows = pr.to_numpy(found.slice(n_before, 4))
        assert rows.height == 4
        np.testing.assert_array_equal(part, whole[n_before : n_before + 4])
        np.testing.assert_array_equal(np.ma.getmaskarray(part), np.ma.getmaskarray(whole)[n_before : n_before + 4])


def test_a_failed_row_is_kept_with_its_reason(scenes, targets):
    broken = scenes.with_columns(
        pl.when(pl.col("id") == "second")
        .then(pl.col("red").struct.with_fields(href=pl.lit("memory://example-scenes/gone.tif")))
        .otherwise(pl.col("red"))
        .alias("red")
    )
    found = broken.raster.read_windows(targets, ["red"], crs=CRS, shape=(3, 4), on_error="null").collect()
    array, rows = pr.to_numpy(found)
    has_failed = rows["read_error"].is_not_null().to_numpy()
    assert has_failed.tolist() == [False, True] * 3
    assert array.mask[has_failed].all()
    assert not array.mask[~has_failed].any()


def test_an_empty_answer_has_no_rows(scenes, targets):
    none = scenes.raster.read_windows(targets.head(0), crs=CRS, shape=(3, 4)).collect()
    array, rows = pr.to_numpy(none)
    assert array.shape == (0, 2, 3, 4)
    assert rows.height == 0
    assert pr.to_numpy(scenes.raster.read_windows(targets.head(0), crs=CRS))[0].shape == (0, 2, 0, 0)


def test_bands_get_the_dtype_that_holds_all():
    frame = pl.DataFrame(
        {"a": pl.Series(np.zeros((2, 3, 4), np.uint16)), "b": pl.Series(np.full((2, 3, 4), -1, np.int16))}
    )
    array, _ = pr.to_numpy(frame)
    assert array.dtype == np.int32
    wide = frame.with_columns(
        pl.Series("b", np.zeros((2, 3, 4), np.int64)), pl.Series("c", np.zeros((2, 3, 4), np.uint64))
    )
    with pytest.raises(
        UsageError, match=r"no dtype holds every value of b \(int64\), c \(uint64\); convert them one by one"
    ):
        pr.to_numpy(wide, ["b", "c"])


def test_what_does_not_fit_into_one_array_is_an_error_that_names_the_way(scenes):
    ragged = scenes.raster.read_windows([box(0, 0), box(0, 0, 5, 4)], ["red"], crs=CRS)
    with pytest.raises(UsageError, match=r"2 sizes, among them 3 x 4 and 5 x 4 pixels.*shape=\(height, width\)"):
        pr.to_numpy(ragged)
    with pytest.raises(UsageError, match=r"no column holds windows.*read_windows"):
        pr.to_numpy(scenes.select("id"))
    with pytest.raises(UsageError, match="green is no column of windows; those of the frame are red"):
        pr.to_numpy(ragged, ["green"])
    with pytest.raises(UsageError, match="bands name red twice"):
        pr.to_numpy(ragged, ["red", "red"])
    stack = scenes.raster.read_windows([box(0, 0)], crs=CRS, shape=(3, 4), stack=True)
    with pytest.raises(UsageError, match="the stack has 2 bands, and bands names 1"):
        pr.to_numpy(stack, ["red"])
    with pytest.raises(UsageError, match="fill_value=-1 does not fit band red"):
        pr.to_numpy(scenes.raster.read_windows([box(9_000, 0)], crs=CRS, shape=(3, 4), unmatched="null"), fill_value=-1)
    with pytest.raises(UsageError, match="got a list"):
        pr.to_numpy([1])
