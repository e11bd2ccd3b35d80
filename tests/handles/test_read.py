"""Are the arrays of a handle those that rasterio reads?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyproj
import pytest
import rasterio
import rasterio.mask
import shapely
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform
from rasterio.windows import Window, from_bounds

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from tests.support import recorded

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")  # of rasterio's own code

WINDOWED = [
    "COG_u16_zstd_b128.tif",  # nodata 0, overviews
    "u8x4_zstd_pixel_p1.tif",  # interleaved bands
    "i32_lzw_p2_BE_sep.tif",  # big-endian, separate planes
    "int8_deflate_p2.tif",
    "f32_zstd_p3_BE_bigtiff.tif",
    "u16_sparse_nodata_sep_BE.tif",
    "uint64_zstd_p2_t64.tif",
    "image-tiff__geo-5b.tif",
    "cogeotiff__big.endian.tiff",  # no georeferencing
    "gdal-autotest__test3_with_mask_1bit.tif",
    "rasterio__float_nan.tif",
    "rio-tiler__inverted_lat.tif",  # south-up
]


def outside(dataset: rasterio.DatasetReader) -> float:
    return 0 if dataset.nodata is None else dataset.nodata


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_beyond_the_image_equals_a_boundless_read(name, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    with in_rasterio(real_file(name)) as dataset:
        height, width = dataset.shape
        for rows, cols in (
            ((-3, height // 2 + 1), (-2, width // 2 + 1)),
            ((height // 3, height + 4), (width // 3, width + 5)),
        ):
            want = dataset.read(
                window=Window(cols[0], rows[0], cols[1] - cols[0], rows[1] - rows[0]),
                boundless=True,
                fill_value=outside(dataset),
            )
            got = handle.read(window=(*rows, *cols))
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
            assert handle.read(handle.bands[-1], window=(*rows, *cols)).shape == want.shape[1:]
            np.testing.assert_array_equal(handle.read(handle.bands[-1], window=(*rows, *cols)), want[-1])


LOSSY = (
    "jpeg",
    "jpg",
    "webp",
    "be_cog",
    "sasha",
    "ycbcr",
    "goes",
    "cog_rgb",
    "stefan",
    "jpegxl",
    "png",
    "lerc_z01",
    "zstd_z01",
)
"""Parts of names of files whose pixels depend on the decoder, or that GDAL here cannot decode."""


def test_bundled_files_equal_rasterio_beyond_their_edges(bundled_data, in_rasterio):
    n_equal, n_unread = 0, []
    for path in sorted(bundled_data.glob("tiff/*"))[::2] + sorted(bundled_data.glob("derived/*")):
        if any(word in path.name for word in LOSSY):
            continue
        try:
            handle = pr.open(path)
        except pr.errors.FileFormatError:
            n_unread.append(path.name)
            continue
        with in_rasterio(path) as dataset:
            if dataset.width * dataset.height > 1_000_000:
                continue
            # A plain read, with a border of its own: rasterio resamples boundless reads of rotated images.
            border = [(0, 0), (2, 1), (1, 3)]
            want = np.pad(dataset.read(), border, constant_values=outside(dataset))
            got = handle.read(window=(-2, dataset.height + 1, -1, dataset.width + 3))
            np.testing.assert_array_equal(got, want, err_msg=path.name)
            n_equal += 1
    assert n_equal > 80
    assert len(n_unread) < 20


@pytest.mark.parametrize(
    "name", ["gdal-autotest__test3_with_mask_1bit.tif", "COG_u16_zstd_b128.tif", "rio-tiler__cog_uint8_rgba.tif"]
)
def test_masked_is_the_mask_of_rasterio(name, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    with in_rasterio(real_file(name)) as dataset:
        n = min(dataset.count, 3)  # the alpha band itself is masked in neither
        height, width = dataset.height - 6, dataset.width - 11
        window = Window(10, 5, width, height)
        want = dataset.read(list(range(1, n + 1)), window=window, masked=True)
        got = handle.read(handle.bands[:n], window=(5, 5 + height, 10, 10 + width), masked=True)
    assert isinstance(got, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(want))
    np.testing.assert_array_equal(got.filled(0), want.filled(0))


@pytest.mark.parametrize(
    "name", ["COG_u16_zstd_b128.tif", "i16_scale_offset.tif", "rio-tiler__inverted_lat.tif", "u8x4_zstd_pixel_p1.tif"]
)
def test_a_geometry_equals_rasterio_mask_and_bounds_their_window(name, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    with in_rasterio(real_file(name)) as dataset:
        left, bottom, right, top = dataset.bounds
        size = abs(right - left)
        area = shapely.Point(left + size / 3, (bottom + top) / 2).buffer(size / 2.5)  # beyond the left edge
        for all_touched, coverage in ((False, "center"), (True, "all_touched")):
            want, _ = rasterio.mask.mask(dataset, [area], crop=True, all_touched=all_touched, nodata=outside(dataset))
            np.testing.assert_array_equal(handle.read(geometry=area, crs="native", coverage=coverage), want)
        want, _ = rasterio.mask.mask(dataset, [area], crop=True, filled=False)
        got = handle.read(geometry=area, crs=handle.crs, coverage="center", masked=True)
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(want))
        # Bounds are not cut to the image.
        box = area.bounds
        if dataset.transform.e < 0:
            window = from_bounds(*box, dataset.transform)
            rows = int(np.floor(window.row_off)), int(np.ceil(window.row_off + window.height))
            cols = int(np.floor(window.col_off)), int(np.ceil(window.col_off + window.width))
            assert cols[0] < 0
            np.testing.assert_array_equal(handle.read(bounds=box, crs=handle.crs), handle.read(window=(*rows, *cols)))


@pytest.mark.parametrize(
    "name", ["COG_u16_zstd_b128.tif", "int8_deflate_p2.tif", "u16_rotated.tif", "COG_u16_webmerc_lerc.tif"]
)
@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_target_crs_is_the_image_that_gdal_would_warp_pixel_by_pixel(name, target, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    with in_rasterio(real_file(name)) as dataset, WarpedVRT(dataset, crs=target, tolerance=0) as warped:
        np.testing.assert_array_equal(handle.read(target_crs=target), warped.read())
        height, width = warped.shape
        part = height // 4, height // 2, width // 4, width - 3
        np.testing.assert_array_equal(
            handle.read(target_crs=target, window=part), warped.read()[:, part[0] : part[1], part[2] : part[3]]
        )
        x, y = warped.xy(height // 2, width // 2)
        area = shapely.Point(x, y).buffer(abs(warped.bounds.right - warped.bounds.left) / 5)
        want, transform = rasterio.mask.mask(warped, [area], crop=True, nodata=outside(dataset))
        np.testing.assert_array_equal(
            handle.read(target_crs=target, geometry=area, crs=target, coverage="center"), want
        )
        (loaded,) = handle.load(area, as_="xarray", crs=target, target_crs=target)
        np.testing.assert_allclose(loaded["x"][0], transform.c + transform.a / 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "target", "most"),
    [
        ("COG_u16_zstd_b128.tif", 4326, 0),
        ("COG_u16_webmerc_lerc.tif", 4326, 0),
        ("u16_rotated.tif", 3857, 0),
        ("i16_scale_offset.tif", 4326, 1),  # rows become coarser: the kernel is stretched
    ],
)
def test_interpolated_pixels_in_another_crs_are_those_of_gdal(name, target, most, real_file, in_rasterio):
    handle = pr.open(real_file(name))
    for method in ("bilinear", "cubic"):
        how = {"crs": f"EPSG:{target}", "resampling": Resampling[method], "tolerance": 0}
        with in_rasterio(real_file(name)) as dataset, WarpedVRT(dataset, **how) as warped:
            want = warped.read(masked=True)
        got = handle.read(target_crs=target, resampling=method, masked=True)
        np.testing.assert_array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(want))
        assert np.abs(got.astype(np.float64) - want.astype(np.float64)).max() <= most


def test_a_resolution_in_another_crs_is_that_of_the_pixels(real_file, in_rasterio):
    path, resolution = real_file("int8_deflate_p2.tif"), (0.0007, 0.0005)
    with in_rasterio(path) as dataset:
        size = dataset.width, dataset.height
        transform, width, height = calculate_default_transform(
            dataset.crs, "EPSG:4326", *size, *dataset.bounds, resolution=resolution
        )
        pixels, to_pixel = np.pad(dataset.read(1), 1, constant_values=dataset.nodata), ~dataset.transform
        move = pyproj.Transformer.from_crs(4326, dataset.crs, always_xy=True).transform
    row, col = np.mgrid[:height, :width] + 0.5
    x, y = move(transform.c + transform.a * col, transform.f + transform.e * row)
    at_row = np.floor(to_pixel.d * x + to_pixel.e * y + to_pixel.f).astype(int)
    at_col = np.floor(to_pixel.a * x + to_pixel.b * y + to_pixel.c).astype(int)
    want = pixels[np.clip(at_row, -1, size[1]) + 1, np.clip(at_col, -1, size[0]) + 1]
    np.testing.assert_array_equal(pr.open(path).read(target_crs=4326, resolution=resolution), want[None])


@pytest.mark.parametrize("method", ["nearest", "average", "bilinear"])
def test_a_shape_is_the_decimated_read_of_rasterio(method, real_file, in_rasterio):
    path = real_file("i16_scale_offset.tif")  # without overviews
    handle = pr.open(path)
    with in_rasterio(path) as dataset:
        want = dataset.read(out_shape=(1, 40, 30), resampling=Resampling[method])
    got = handle.read(shape=(40, 30), resampling=method)
    assert got.shape == want.shape
    assert np.abs(got.astype(float) - want).max() <= (0 if method == "nearest" else 1)


@pytest.fixture
def two_grids():
    """One record of two files: red of 64 pixels of 10 m, swir of 32 of 20 m."""
    store = recorded.Store()
    red, swir = recorded.noise(1, height=64, width=64), recorded.noise(2, height=32, width=32, dtype="int32")
    resolution = recorded.RESOLUTION
    columns = {
        "id": "both",
        "datetime": pl.Series(["2024-05-01T10:00:00Z"]).str.to_datetime(time_zone="UTC")[0],
        "red": store.put("red.tif", recorded.tiff(red, tile=16)),
        "swir": store.put("swir.tif", _coarse(swir, 2 * resolution)),
    }
    yield pr.open(recorded.build(store, [columns], {"red": "red", "swir": "swir"})), red[0], swir[0], store
    store.close()


def _coarse(pixels, resolution):
    from rasterio.io import MemoryFile
    from rasterio.transform import Affine

    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=32,
            height=32,
            count=1,
            dtype="int32",
            crs=f"EPSG:{recorded.EPSG}",
            transform=Affine(resolution, 0, 500_000.0, 0, -resolution, 5_000_000.0),
            tiled=True,
            blockxsize=16,
            blockysize=16,
        ) as file:
            file.write(pixels)
        return bytes(memory.getbuffer())


def test_bands_of_two_resolutions_meet_on_one_grid(two_grids):
    handle, red, swir, _ = two_grids
    fine = np.kron(swir, np.ones((2, 2), np.int32))
    got = handle.read(window=(-2, 30, 4, 40))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got[:, 2:], np.stack([red, fine])[:, :30, 4:40])
    assert not got[:, :2].any()
    np.testing.assert_array_equal(handle.read(grid="coarsest", window=(0, 5, 0, 6))[1], swir[:5, :6])
    np.testing.assert_array_equal(handle.read(["swir", "red"], grid="red"), np.stack([fine, red]))
    np.testing.assert_array_equal(handle.read("swir", window=(0, 5, 0, 6)), swir[:5, :6])
    (dataset,) = handle.load((500_000, 4_999_900, 500_100, 5_000_000), as_="xarray", crs="native")
    assert dataset["red"].dtype == np.uint16
    assert dataset["swir"].dtype == np.int32


def test_all_geometries_of_one_call_share_their_tiles(two_grids):
    handle, red, _, store = two_grids
    store.clear()
    boxes = [shapely.box(500_000 + 10 * at, 4_999_800, 500_100 + 10 * at, 5_000_000) for at in range(30)]
    loaded = handle.load(boxes, "red", crs=recorded.EPSG)
    for at, one in enumerate(loaded):
        np.testing.assert_array_equal(one[0], red[:20, at : at + 10])
    assert store.most_often_asked() == 1


def test_a_point_with_a_shape_is_the_window_around_it(two_grids):
    handle, red, *_ = two_grids
    point = shapely.Point(500_105, 4_999_895)  # row 10, column 10
    np.testing.assert_array_equal(handle.read("red", geometry=point, crs=recorded.EPSG, shape=(5, 4)), red[8:13, 8:12])


def test_unscaled_values_and_fills_are_in_their_units(real_file, in_rasterio):
    path = real_file("i16_scale_offset.tif")
    handle = pr.open(path)
    with in_rasterio(path) as dataset:
        want = dataset.read(1).astype(np.float64) * dataset.scales[0] + dataset.offsets[0]
    got = handle.read("b1", window=(-1, dataset.height, 0, dataset.width), unscale=True, fill_value=0.25)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[1:], want.astype(np.float32))
    assert (got[0] == 0.25).all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"bands": "green"}, "no band green; it has red, nir"),
        ({"window": (0, 1, 0, 1), "bounds": (0, 0, 1, 1)}, "window and bounds are given; pass one of them"),
        ({"bounds": (0, 0, 1, 1), "geometry": shapely.Point(0, 0)}, "bounds and geometry are given"),
        ({"window": (64, 70, 0, 3)}, r"window=\(64, 70, 0, 3\) does not meet the image .* rows 0..64"),
        ({"window": (3, 3, 0, 3)}, "is empty"),
        ({"window": (0, 3, 0)}, "expected .row_start, row_stop, col_start, col_stop"),
        ({"window": (0, 2.5, 0, 1)}, "whole numbers"),
        ({"bounds": (0, 0, 1, 1)}, "CRS of the coordinates is not known"),
        ({"bounds": (0, 0, 1, 1), "crs": 4326}, r"bounds=\(0, 0, 1, 1\) does not meet the image of record 'first'"),
        ({"bounds": (0, 3, 1, 1), "crs": 4326}, "miny <= maxy"),
        ({"geometry": shapely.box(0, 0, 1, 1)}, "CRS of the coordinates is not known"),
        ({"geometry": 7, "crs": 4326}, "int"),
        ({"fill_value": 1.5}, "does not fit band red"),
        ({"coverage": "half"}, "coverage='half'"),
        ({"target_crs": "nowhere"}, "not understood"),
        ({"shape": (3, 3), "resolution": 10}, "both shape and resolution"),
        ({"target_crs": 4326, "bounds": (0, 0, 1, 1), "crs": "native"}, "pass the crs of the coordinates by name"),
        ({"target_crs": 4326, "resampling": "sharp"}, "resampling='sharp'; expected one of nearest"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_words_are_errors_that_say_what_to_write(words, told):
    handle = next(pr.testing.example_scenes().raster.iter_rasters())
    with pytest.raises(UsageError, match=told):
        handle.read(**words)
