"""Does every combination of options that GDAL writes read as it was written?

Each file is written by rasterio and read back by it: both must be what the engine gives, pixels and header.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from polars_rasteret.errors import FileFormatError
from tests.support.gdal_release import same_dtype
from tests.support.tiff_driver import Driver, Raster

UTM = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
LAYOUTS = [
    {"tiled": True, "blockxsize": 16, "blockysize": 32},
    {"tiled": True, "blockxsize": 128, "blockysize": 16},  # wider than the image
    {"tiled": True, "blockxsize": 256, "blockysize": 256},  # larger than the image
    {"blockysize": 1},
    {"blockysize": 17},
    {"blockysize": 71},
]


def combinations():
    """Give (dtype, nbits, compress, predictor): everything GDAL writes."""
    for dtype in DTYPES:
        predictors = (1, 2, 3) if dtype[0] == "f" else (1, 2)
        for compress in ("NONE", "PACKBITS", "LERC", "LERC_DEFLATE", "LERC_ZSTD"):
            if "LERC" not in compress or dtype[-2:] != "64" or dtype == "float64":
                yield dtype, None, compress, 1
        for compress, predictor in itertools.product(("DEFLATE", "LZW", "ZSTD", "LZMA"), predictors):
            yield dtype, None, compress, predictor
    for compress, predictor in itertools.product(("DEFLATE", "LZW", "ZSTD"), (1, 2, 3)):
        yield "float32", 16, compress, predictor
    yield "float32", 16, "NONE", 1
    for bits in (1, 2, 3, 4, 5, 6, 7):
        yield "uint8", bits, "DEFLATE", 1
    for bits in (9, 10, 11, 12, 13, 14, 15):
        yield "uint16", bits, "ZSTD", 1


def pixels_of(seed, dtype, nbits, shape):
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        pixels = (np.cumsum(rng.normal(size=shape), axis=2) * 100).astype(np.float16 if nbits else dtype).astype(dtype)
        pixels[rng.random(shape) < 0.05] = np.nan
        pixels[:, 0, :3] = np.inf, -np.inf, -0.0
        return pixels
    most = (1 << nbits) - 1 if nbits else np.iinfo(dtype).max
    least = 0 if nbits else np.iinfo(dtype).min
    noisy = rng.integers(least, most, shape, dtype, endpoint=True)
    smooth = (np.arange(shape[2]) % (most + 1 if most < 128 else 100)).astype(dtype)
    return np.where(rng.random(shape) < 0.3, noisy, smooth)


def write(path, pixels, **options):
    bands, height, width = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", "GTiff", width=width, height=height, count=bands, dtype=pixels.dtype, **options
        ) as file:
            file.write(pixels)
    return path


def assert_reads_as_gdal(path, bands=None):
    """Compare header, all pixels and a window with rasterio; give rasterio's pixels."""
    data = path.read_bytes()
    tiff = Driver(data).parse()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            dtype = same_dtype(file.dtypes[0])
            expected = file.read(out_dtype=dtype)
            assert (tiff.height, tiff.width, tiff.n_bands, str(tiff.dtype)) == (*file.shape, file.count, dtype)
            assert (tiff.transform or (1, 0, 0, 0, 1, 0)) == file.transform[:6]
            assert_same_nodata(tiff.nodata, file.nodata)
    for band in range(tiff.n_bands) if bands is None else bands:
        raster = Raster(data, tiff, band)
        same = raster.whole().tobytes() == expected[band].tobytes()
        assert same or np.array_equal(raster.whole(), expected[band], equal_nan=expected.dtype.kind == "f")
        bottom, right = tiff.height // 2, tiff.width // 3
        part = raster.window(bottom, right, 3, 5)
        assert part.tobytes() == np.ascontiguousarray(raster.whole()[bottom : bottom + 3, right : right + 5]).tobytes()
    return expected


def assert_same_nodata(ours, theirs):
    if theirs is None or (isinstance(theirs, float) and math.isnan(theirs)):
        assert ours is None or theirs is not None
        assert (ours is None) == (theirs is None)
        assert ours is None or math.isnan(ours)
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    ("dtype", "nbits", "compress", "predictor", "byte_order", "interleave"),
    [
        # Both orders of bytes and both layouts for each encoding; their other two pairs with -m slow.
        pytest.param(*one, *pair, marks=[] if (at + number) % 2 else [pytest.mark.slow])
        for at, one in enumerate(combinations())
        for number, pair in enumerate([("LITTLE", "PIXEL"), ("LITTLE", "BAND"), ("BIG", "BAND"), ("BIG", "PIXEL")])
    ],
)
def test_every_combination(tmp_path, dtype, nbits, compress, predictor, byte_order, interleave):
    seed = repr((dtype, nbits, compress, predictor, byte_order, interleave))
    chosen = random.Random(seed)
    pixels = pixels_of(chosen.randrange(1 << 30), dtype, nbits, (chosen.choice([1, 2, 3, 5]), 71, 93))
    if "LERC" in compress:  # infinite values are outside of LERC
        pixels = np.where(np.isinf(pixels), np.zeros(1, dtype), pixels) if dtype[0] == "f" else pixels
    options = {"compress": compress, "interleave": interleave, "ENDIANNESS": byte_order}
    options |= {"nbits": nbits} if nbits else {}
    options |= {"predictor": predictor} if predictor > 1 else {}
    options |= {"BIGTIFF": chosen.choice(["YES", "NO"])}
    path = write(tmp_path / "combined.tif", pixels, **UTM, **options, **chosen.choice(LAYOUTS))
    if "LERC" in compress and dtype[0] == "f" and byte_order == "BIG":
        with rasterio.open(path) as file:  # GDAL loses values when it writes such a file
            assert not np.array_equal(file.read(), pixels, equal_nan=True)
        with pytest.raises(FileFormatError, match="uses LERC with floats in big-endian order"):
            Driver(path.read_bytes()).parse()
        return
    assert np.array_equal(assert_reads_as_gdal(path), pixels, equal_nan=dtype[0] == "f")


@pytest.mark.parametrize("interleave", ["PIXEL", "BAND"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("float32", 3), ("uint16", 1)])
def test_300_bands(tmp_path, interleave, dtype, predictor):
    pixels = pixels_of(1, dtype, None, (300, 20, 33))
    path = write(
        tmp_path / "many.tif", pixels, **UTM, compress="ZSTD", predictor=predictor, interleave=interleave,
        tiled=True, blockxsize=16, blockysize=16,
    )  # fmt: skip
    assert np.array_equal(assert_reads_as_gdal(path, [0, 1, 150, 299]), pixels, equal_nan=True)


@pytest.mark.parametrize("compress", ["LERC", "LERC_DEFLATE", "LERC_ZSTD"])
@pytest.mark.parametrize("max_z_error", [0, 0.01])
@pytest.mark.parametrize("invalid", ["none", "some", "tile", "all"])
def test_lerc_marks_invalid_pixels_as_nan(tmp_path, compress, max_z_error, invalid):
    pixels = np.cumsum(np.random.default_rng(0).normal(size=(2, 80, 96)), axis=2).astype(np.float32)
    where = {"none": np.s_[:, :0], "some": np.s_[:, 5:9, ::7], "tile": np.s_[:, :32, :32], "all": np.s_[:]}[invalid]
    pixels[where] = np.nan
    path = write(
        tmp_path / "lerc.tif", pixels, **UTM, compress=compress, MAX_Z_ERROR=max_z_error, nodata=np.nan,
        tiled=True, blockxsize=32, blockysize=32, interleave="BAND",
    )  # fmt: skip
    found = assert_reads_as_gdal(path)
    assert np.array_equal(np.isnan(found), np.isnan(pixels))
    assert np.isnan(pixels).any() == (invalid != "none")


@pytest.mark.parametrize(
    ("dtype", "nbits", "nodata"),
    [
        *(("uint8", None, value) for value in (0, 255)),
        *(("uint8", bits, (1 << bits) - 1) for bits in (1, 2, 4, 7)),
        *(("uint16", bits, (1 << bits) - 1) for bits in (9, 12, 15)),
        *(("int8", None, value) for value in (-128, -1)),
        *(("int16", None, value) for value in (-32_768, -9999)),
        ("uint32", None, 2**32 - 1),
        ("uint64", None, 2**53),
        ("int64", None, -(2**53)),
        *(
            ("float32", None, value)
            for value in (-9999, 0.1, 1e30, -3.4028234663852886e38, math.nan, math.inf, -math.inf)
        ),
        *(
            ("float64", None, value)
            for value in (-9999, 0.1, 1e300, -1.7976931348623157e308, math.nan, math.inf, -math.inf)
        ),
        *(("float32", 16, value) for value in (-9992, 65_504, math.nan)),  # as halves hold them
    ],
)
def test_nodata(tmp_path, dtype, nbits, nodata):
    pixels = pixels_of(3, dtype, nbits, (1, 20, 30))
    with np.errstate(over="ignore"):
        pixels[0, 3:6, 4:9] = nodata
    path = write(tmp_path / "nodata.tif", pixels, **UTM, nodata=nodata, **({"nbits": nbits} if nbits else {}))
    assert_reads_as_gdal(path)
    data = path.read_bytes()
    raster = Raster(data, Driver(data).parse(), 0)
    with rasterio.open(path) as file:
        valid = file.read_masks(1) > 0
    held = raster.tiles.nodata
    ours = raster.whole()
    assert np.array_equal(np.isnan(ours) if np.isnan(held) else ours == held, ~valid | (ours == held))
    assert (~valid).any()


@pytest.mark.parametrize("text", ["256", "-1", "1e400", "nan", "-inf", "18446744073709551616"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32"])
def test_nodata_that_no_pixel_can_have_masks_nothing(tmp_path, dtype, text):
    """GDAL_NODATA is text: put there what rasterio would not write."""
    pixels = pixels_of(4, dtype, None, (1, 9, 11))
    path = write(tmp_path / "out.tif", pixels, **UTM, nodata=77)
    entry = path.read_bytes()
    at = entry.index((42113).to_bytes(2, "little") + b"\x02\x00")
    changed = text.encode() + b"\0"
    data = entry[: at + 4] + len(changed).to_bytes(4, "little")
    data += (changed.ljust(4, b"\0") if len(changed) <= 4 else len(entry).to_bytes(4, "little")) + entry[at + 12 :]
    data += changed
    tiff = Driver(data).parse()
    value = float(text)
    is_value = math.isfinite(value) and value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    assert tiff.nodata == (int(value) if is_value else None)
    path.write_bytes(data)
    with rasterio.open(path) as file:
        assert np.array_equal(Raster(data, tiff, 0).whole(), file.read(1))


@pytest.mark.parametrize(
    "transform",
    [
        rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
        rasterio.Affine(10, 0, 500_000, 0, 10, 5_000_000),
        rasterio.Affine(-10, 0, 500_000, 0, -10, 5_000_000),
        rasterio.Affine(10, 0, 500_000, 0, -20.5, 5_000_000),
        rasterio.Affine(8.660254037844387, 5, 500_000, 5, -8.660254037844387, 5_000_000),
        rasterio.Affine(10, -1.7, 500_000, 0.9, -10, 5_000_000),
        rasterio.Affine(0, 10, 500_000, 10, 0, 5_000_000),
        rasterio.Affine(1 / 3, 0, -179.99999999999997, 0, -1 / 3, 1e-9),
    ],
)
@pytest.mark.parametrize("point", [False, True])
def test_transforms(tmp_path, transform, point):
    path = tmp_path / "place.tif"
    write(path, pixels_of(5, "uint8", None, (1, 9, 11)), crs="EPSG:32632", transform=transform)
    if point:
        with rasterio.open(path, "r+") as file:
            file.update_tags(AREA_OR_POINT="Point")
            file.transform = transform
    with rasterio.open(path) as file:
        expected = file.transform
    found = Driver(path.read_bytes()).parse().transform
    np.testing.assert_allclose(found, expected[:6], rtol=0, atol=1e-9)


def test_without_georeferencing_or_with_control_points_only_there_is_no_transform(tmp_path):
    pixels = pixels_of(6, "uint8", None, (1, 9, 11))
    tiff = Driver(write(tmp_path / "nowhere.tif", pixels).read_bytes()).parse()
    assert (tiff.crs, tiff.transform) == (None, None)
    points = [GroundControlPoint(row, col, 10.0 + col, 50.0 - row) for row, col in ((0, 0), (0, 11), (9, 0), (9, 11))]
    path = write(tmp_path / "points.tif", pixels, gcps=points, crs="EPSG:4326")
    tiff = Driver(path.read_bytes()).parse()
    assert tiff.transform is None
    assert np.array_equal(Raster(path.read_bytes(), tiff, 0).whole(), pixels[0])
