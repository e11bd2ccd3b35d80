"""Are pixels null that a file's mask or alpha band hides, as rasterio says, and is a mask read only where it matters?"""

from __future__ import annotations

import dataclasses
import io
import struct
import warnings
from functools import cache, partial

import numpy as np
import polars as pl
import pytest
import rasterio
import tifffile
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import from_origin

import polars_rasteret as pr
from polars_rasteret.engine import Out, cost_of, read_windows
from polars_rasteret.errors import BudgetError, FetchError, FileFormatError
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from polars_rasteret.plan.masks import mask_reads
from polars_rasteret.profile import profile
from tests.support.engine_reads import (
    OPTIONS,
    make_read,
    parsed,
    random_points,
    random_windows,
    reference_to,
)

HEIGHT, WIDTH = 210, 300
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 48}


def shown_part(height=HEIGHT, width=WIDTH):
    """Give a mask with edges inside of tiles, tiles that are all masked, and single pixels."""
    row, col = np.mgrid[:height, :width]
    shown = ((row - 120) ** 2 + (col - 170) ** 2 < 90**2) | (col < 20)
    return (shown & (row * 7 + col * 13) % 11 > 0).astype(np.uint8) * 255


def some_pixels(n_bands, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200, (n_bands, HEIGHT, WIDTH)).astype(dtype)


def file_of(pixels, *, mask=None, overviews=(), colors=None, config=None, **creation):
    """Give the bytes of a GeoTIFF that GDAL writes."""
    n_bands, height, width = pixels.shape
    layout = {"driver": "GTiff", "height": height, "width": width, "count": n_bands, "dtype": pixels.dtype.name}
    layout |= {"crs": "EPSG:32632"}
    settings = {"GDAL_TIFF_INTERNAL_MASK": True} | (config or {})
    with warnings.catch_warnings(), rasterio.Env(**settings), MemoryFile() as memory:
        warnings.simplefilter("ignore")
        layout["transform"] = from_origin(500_000, 5_000_000, 10, 10)
        with memory.open(**layout | creation) as file:
            if colors:
                file.colorinterp = colors
            file.write(pixels)
            if mask is not None:
                file.write_mask(mask)
            if overviews:
                file.build_overviews(overviews, rasterio.enums.Resampling.nearest)
        return bytes(memory.getbuffer())


def rgba(dtype="uint8"):
    pixels = some_pixels(4, dtype)
    pixels[3] = np.where(shown_part() > 0, np.random.default_rng(1).integers(1, 256, (HEIGHT, WIDTH)), 0)
    return pixels


def masks_of(data, level=0):
    """Give what rasterio says of each band: True where it is valid."""
    options = {"overview_level": level - 1} if level else {}
    with MemoryFile(data) as memory, memory.open(**options) as file:
        return file.read_masks() != 0


def directories_of(data):
    """Give, per directory of a classic little-endian TIFF, where the entry of each tag is."""
    found, at = [], struct.unpack_from("<I", data, 4)[0]
    while at:
        n = struct.unpack_from("<H", data, at)[0]
        entries = [at + 2 + 12 * index for index in range(n)]
        found.append({struct.unpack_from("<H", data, entry)[0]: entry for entry in entries})
        at = struct.unpack_from("<I", data, at + 2 + 12 * n)[0]
    return found


def sparse_mask(make, *args, **options):
    """Give a file whose mask lacks every third tile."""
    out = bytearray(make(*args, **options))
    entries = directories_of(out)[1]
    for tag in (324, 325):
        kind, n, at = struct.unpack_from("<HII", out, entries[tag] + 2)
        size = {3: 2, 4: 4}[kind]
        for index in range(0, n, 3):
            out[at + index * size : at + (index + 1) * size] = bytes(size)
    return bytes(out)


def mask_in_other_tiles():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as out:
        place = [(33550, "d", 3, (10.0, 10.0, 0.0)), (33922, "d", 6, (0, 0, 0, 500_000.0, 5_000_000.0, 0))]
        out.write(some_pixels(1, "uint8")[0], tile=(64, 64), compression="zlib", metadata=None, extratags=place)
        out.write(shown_part() > 0, tile=(80, 112), compression="packbits", subfiletype=4, metadata=None)
    return file.getvalue()


def masked_files():
    shown, one, three = shown_part(), some_pixels(1, "uint8"), some_pixels(3, "uint8")
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    return {
        "mask": partial(file_of, one, mask=shown, compress="deflate", **TILED),
        "mask of a file without compression": partial(file_of, one, mask=shown, **TILED),
        "mask in strips": partial(file_of, three, mask=shown, compress="lzw", blockysize=16),
        "mask, bands apart": partial(file_of, three, mask=shown, compress="deflate", interleave="band", **TILED),
        "mask of 16 bits": partial(
            file_of, some_pixels(2, "uint16"), mask=shown, compress="zstd", predictor=2, **TILED
        ),
        "mask of floats": partial(
            file_of, some_pixels(1, "float32"), mask=shown, compress="deflate", predictor=3, **TILED
        ),
        "mask, most significant byte first": partial(
            file_of, some_pixels(1, "int16"), mask=shown, compress="deflate", ENDIANNESS="BIG", **TILED
        ),
        "mask, BigTIFF": partial(file_of, one, mask=shown, compress="deflate", BIGTIFF="YES", **TILED),
        "mask and overviews": partial(file_of, three, mask=shown, overviews=(2, 4), compress="deflate", **TILED),
        "mask of JPEG": partial(
            file_of,
            three,
            mask=shown,
            overviews=(2,),
            compress="jpeg",
            photometric="ycbcr",
            **TILED | {"blockysize": 64},
        ),
        "mask of 8 bits": partial(
            file_of, one, mask=shown, compress="deflate", config={"GDAL_TIFF_INTERNAL_MASK_TO_8BIT": False}
        ),
        "mask in other tiles": mask_in_other_tiles,
        "mask with sparse tiles": partial(sparse_mask, file_of, one, mask=shown, compress="deflate", **TILED),
        "alpha": partial(
            file_of, rgba(), photometric="rgb", alpha="yes", overviews=(2, 4), compress="deflate", **TILED
        ),
        "alpha, bands apart": partial(
            file_of, rgba(), photometric="rgb", alpha="yes", overviews=(2,), compress="lzw", interleave="band", **TILED
        ),
        "alpha of 16 bits": partial(file_of, rgba("uint16"), photometric="rgb", alpha="yes", compress="lzw", **TILED),
        "alpha of 16 bits, bands apart": partial(
            file_of, rgba("uint16"), photometric="rgb", alpha="premultiplied", compress="lzw", interleave="band"
        ),
        "alpha, pixels are associated": partial(
            file_of, rgba(), photometric="rgb", alpha="premultiplied", compress="zstd"
        ),
        "alpha of WebP": partial(
            file_of,
            rgba(),
            photometric="rgb",
            alpha="yes",
            compress="webp",
            WEBP_LOSSLESS=True,
            **TILED | {"blockysize": 64},
        ),
        "alpha of one band": partial(file_of, rgba()[2:], alpha="yes", compress="deflate", **TILED),
        "alpha that GDAL_METADATA tells": partial(
            file_of, rgba("uint16"), photometric="minisblack", colors=[*colors, ColorInterp.alpha]
        ),
        "no alpha, GDAL_METADATA says": partial(
            file_of,
            rgba("uint16")[:2],
            alpha="yes",
            photometric="minisblack",
            colors=[ColorInterp.red, ColorInterp.green],
        ),
        "no alpha, it is signed": partial(file_of, rgba("int16")[2:], alpha="yes", compress="deflate"),
        "no alpha, five bands": partial(
            file_of, np.concatenate([rgba(), rgba()[3:]]), photometric="minisblack", compress="lzw"
        ),
        "no alpha, it is not the last": partial(file_of, rgba(), photometric="minisblack", alpha="yes"),
    }


FILES = masked_files()


@cache
def made(name):
    return FILES[name]()


def cog_of(data, **creation):
    with MemoryFile(data) as source, source.open() as file, MemoryFile() as memory:
        copy(file, memory.name, driver="COG", BLOCKSIZE=128, **creation)
        return bytes(memory.getbuffer())


@pytest.mark.parametrize("name", FILES)
def test_validity_is_what_rasterio_says(store, name):
    data = made(name)
    href = store.put(data)
    levels = parsed(href, data).images
    for level, image in enumerate(levels):
        expected = masks_of(data, level)
        height, width = image.layout.height, image.layout.width
        for windows in (
            random_windows(level, height=height, width=width),
            random_points(level, height=height, width=width),
        ):
            reads = [
                make_read([reference_to(store, href, band)], windows, level=level) for band in range(len(expected))
            ]
            for one, answer in zip(expected, read_windows(reads, OPTIONS), strict=True):
                for at, (_, row, col, n_rows, n_cols) in enumerate(windows):
                    padded = np.zeros((height + 300, width + 300), bool)
                    padded[100 : 100 + height, 100 : 100 + width] = one
                    cut = padded[100 + row : 100 + row + n_rows, 100 + col : 100 + col + n_cols]
                    np.testing.assert_array_equal(answer.valid[answer.offset[at] : answer.offset[at + 1]], cut.ravel())


def test_the_made_files_are_what_they_are_called():
    flags = {}
    for name in FILES:
        data = made(name)
        with MemoryFile(data) as memory, memory.open() as file:
            flags[name] = [flag.name for flag in file.mask_flag_enums[0]]
            assert len(file.overviews(1)) == len(parsed("f", data).images) - 1
    for name, found in flags.items():
        kind = name.split()[0].strip(",")
        assert found == {"mask": ["per_dataset"], "alpha": ["per_dataset", "alpha"], "no": ["all_valid"]}[kind], name
    tiff = parsed("f", made("mask with sparse tiles"))
    assert (tiff.masks[0].byte_count == 0).sum() == 9
    assert (tiff.images[0].byte_count > 0).all()
    tiff = parsed("f", made("mask in other tiles"))
    assert [(one.layout.tile_width, one.tile_height) for one in (tiff.images[0], tiff.masks[0])] == [
        (64, 64),
        (112, 80),
    ]
    assert [one.layout.samples.bits for one in tiff.masks] == [1]


OTHERWISE = {
    "tiff/gdal-autotest__test_nodatavalues.tif": "NODATA_VALUES: to GDAL a pixel is nodata only where it is in all bands",
}


def test_validity_in_every_third_party_file_is_what_rasterio_says(store, shared_data, reference):
    n_masked, differing, refusals = 0, set(), []
    for name, expected in reference.items():
        if expected["status"] != "ok" or np.prod(expected["blocksize"], dtype=float) > OPTIONS.max_tile_bytes:
            continue  # refused unless pr.options(max_tile_bytes=) says otherwise: tests/tiff/test_decoding_memory.py
        path = shared_data / name
        data = path.read_bytes()
        try:
            tiff = parsed(name, data)
        except FileFormatError as error:
            refusals.append(str(error))
            continue
        n_masked += bool(tiff.masks) or tiff.alpha is not None
        shapes = [tuple(one["shape"]) for one in expected["overviews"]]
        href = store.put(data)
        bands = [reference_to(store, href, band) for band in range(tiff.n_bands)]
        for level, image in enumerate(bands[0].tiles.images):
            most = 1_000 if tiff.masks or tiff.alpha is not None else 100
            size = min(image.height, most), min(image.width, most)
            reads = [make_read([one], [(0, 0, 0, *size)], level=level) for one in bands]
            answers = read_windows(reads, OPTIONS)
            options = {"overview_level": shapes.index((image.height, image.width))} if level else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with rasterio.open(path, **options) as file:
                    masks = file.read_masks(window=((0, size[0]), (0, size[1]))) != 0
            for answer, mask in zip(answers, masks, strict=True):
                if answer.values.dtype.kind == "f":  # NaN is null here
                    mask &= ~np.isnan(answer.values).reshape(size)
                if not np.array_equal(answer.valid, mask.ravel()):
                    differing.add(name)
    assert differing == set(OTHERWISE)
    assert not [one for one in refusals if " mask " in one]
    assert n_masked >= 20


def test_mask_or_nodata_or_alpha_makes_a_pixel_null(store):
    shown, pixels = shown_part(), rgba()
    data = file_of(
        pixels, mask=shown[::-1, ::-1], nodata=7, photometric="rgb", alpha="yes", compress="deflate", **TILED
    )
    href = store.put(data)
    whole = [(0, 0, 0, HEIGHT, WIDTH)]
    reads = [make_read([reference_to(store, href, band)], whole) for band in range(4)]
    by_mask = shown[::-1, ::-1] > 0
    for band, answer in enumerate(read_windows(reads, OPTIONS)):
        expected = by_mask & (pixels[band] != 7)
        if band < 3:
            expected &= pixels[3] > 0
        np.testing.assert_array_equal(answer.valid, expected.ravel())
        np.testing.assert_array_equal(answer.values, pixels[band].ravel())


def test_stacks_files_without_masks_and_nulls_mix(store):
    plain, shown = some_pixels(3, "uint8", 5), shown_part()
    hrefs = [
        store.put(made("mask in strips")),
        store.put(file_of(plain, compress="deflate")),
        store.put(made("alpha")),
    ]
    bands = {href: masks_of(store.files[href]) for href in hrefs}
    rng = np.random.default_rng(3)
    n = 40
    windows = np.stack(
        [rng.integers(-1, 3, n), rng.integers(-20, HEIGHT, n), rng.integers(-20, WIDTH, n), *[np.full(n, 33)] * 2], 1
    )
    windows[::7, 3:] = 0
    size = 33 * 33
    values, valid = np.zeros(n * 3 * size, np.uint8), np.zeros(n * 3 * size, bool)
    reads = [
        make_read(
            [reference_to(store, href, band) for href in hrefs],
            windows,
            out=Out(values=values[band * size :], valid=valid[band * size :], stride=3 * size),
        )
        for band in range(3)
    ]
    read_windows(reads, OPTIONS)
    expected = np.zeros((n, 3, 33, 33), bool)
    for at, (which, row, col, n_rows, _) in enumerate(windows):
        if which < 0 or not n_rows:
            continue
        padded = np.zeros((3, HEIGHT + 100, WIDTH + 100), bool)
        padded[:, 50 : 50 + HEIGHT, 50 : 50 + WIDTH] = bands[hrefs[which]][:3]
        expected[at] = padded[:, 50 + row : 83 + row, 50 + col : 83 + col]
    np.testing.assert_array_equal(valid.reshape(expected.shape), expected)
    assert shown.any()


def asked(store, reads):
    """Give what a read asks the store for, with an empty cache: ranges, bytes and tiles."""
    clear_cache()
    store.source.requests.clear()
    with profile() as seen:
        read_windows(reads, OPTIONS)
    counts = seen.summary()
    return len(store.source.requests), counts["tiles"].item(), counts["decoded_tiles"].item()


def test_a_mask_is_read_only_where_a_file_has_one_and_validity_is_asked_for(store):
    point = [(0, 100, 100, 1, 1)]

    def tiles_of(name_or_data, *, bands=(0,), want_valid=True):
        href = store.put(made(name_or_data) if isinstance(name_or_data, str) else name_or_data)
        reads = [make_read([reference_to(store, href, band)], point, want_valid=want_valid) for band in bands]
        bill = cost_of(reads, OPTIONS)
        n_requests, n_tiles, n_decoded = asked(store, reads)
        assert (n_requests, n_tiles) == (bill.requests, bill.tiles)
        assert n_decoded == n_tiles
        return n_tiles

    plain = file_of(some_pixels(3, "uint8"), compress="deflate", **TILED)
    assert tiles_of(plain) == tiles_of(plain, want_valid=False) == 1
    assert tiles_of("mask") == 2
    assert tiles_of("mask", want_valid=False) == 1
    assert tiles_of("mask and overviews", bands=(0, 1, 2)) == 2  # one tile of all bands, one of the mask
    assert tiles_of("alpha", bands=(0, 1, 2, 3)) == tiles_of("alpha", bands=(1,)) == 1  # alpha comes with its bands
    assert tiles_of("alpha, bands apart", bands=(0,)) == 2
    assert tiles_of("alpha, bands apart", bands=(0, 3)) == 2
    assert tiles_of("alpha, bands apart", bands=(3,)) == 1  # alpha itself has no mask
    assert tiles_of("alpha, bands apart", bands=(0,), want_valid=False) == 1
    assert mask_reads([make_read([reference_to(store, store.put(plain))], point)]) == []


def test_a_cog_with_masks_takes_one_request_to_index_and_one_to_read(store):
    data = cog_of(made("mask and overviews"), COMPRESS="DEFLATE")
    n_asked = []
    tiff = parsed("cog", data, n_asked)
    assert len(n_asked) == 1
    assert len(tiff.masks) == len(tiff.images) > 1
    href = store.put(data)
    for level in range(len(tiff.images)):
        expected = masks_of(data, level)
        shape = expected.shape[1:]
        read = make_read([reference_to(store, href, 1)], [(0, 0, 0, *shape)], level=level)
        np.testing.assert_array_equal(read_windows([read], OPTIONS)[0].valid, expected[1].ravel())
    n_requests, n_tiles, _ = asked(store, [make_read([reference_to(store, href)], [(0, 100, 100, 1, 1)])])
    assert (n_requests, n_tiles) == (1, 2)


# -- damage -----------------------------------------------------------------------------------------------------------


def changed(data, kind, tag, value):
    """Give the file with another value in the first directory of a NewSubfileType (4: mask, 5: mask of an overview)."""
    out = bytearray(data)
    for entries in directories_of(data):
        if 254 in entries and struct.unpack_from("<I", data, entries[254] + 8)[0] == kind:
            is_short = struct.unpack_from("<H", data, entries[tag] + 2)[0] == 3
            struct.pack_into("<H" if is_short else "<I", out, entries[tag] + 8, value)
            return bytes(out)
    raise AssertionError(f"no directory of kind {kind}")


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (256, WIDTH - 1, r"mask in directory 1 has 299 x 210 pixels, its image has 300 x 210"),
        (257, HEIGHT + 1, r"mask in directory 1 has 300 x 211 pixels"),
        (259, 34661, r"mask 1 \(directory 1\) uses compression 34661 \(JBIG\)"),
        (258, 33, r"mask 1 \(directory 1\) uses 33-bit integers"),
        (277, 2, r"mask 1 \(directory 1\) has 2 samples per pixel"),
    ],
)
def test_a_mask_that_cannot_be_read_refuses_the_file(tag, value, message):
    data = changed(made("mask and overviews"), 4, tag, value)
    with pytest.raises(FileFormatError, match=message):
        parsed("f", data)


@pytest.mark.parametrize(("tag", "value"), [(256, 149), (259, 34661), (254, 2)])
def test_an_overview_without_its_mask_is_left_out(store, tag, value):
    data = changed(made("mask and overviews"), 5, tag, value)
    tiff = parsed("f", data)
    assert [one.layout.width for one in tiff.images] == [one.layout.width for one in tiff.masks] == [300, 75]
    read = make_read([reference_to(store, store.put(data))], [(0, 0, 0, 53, 75)], level=1)
    np.testing.assert_array_equal(read_windows([read], OPTIONS)[0].valid, masks_of(data, 2)[0].ravel())


def test_a_mask_tile_that_cannot_be_read_fails_its_windows_and_no_others(store):
    name = "mask and overviews"
    data = bytearray(made(name))
    mask = parsed("f", bytes(data)).masks[0]
    tiles_across = -(-WIDTH // mask.layout.tile_width)
    tile = (100 // mask.tile_height) * tiles_across + 100 // mask.layout.tile_width
    start, count = int(mask.byte_start[0, tile]), int(mask.byte_count[0, tile])
    data[start : start + count] = b"\xff" * count
    href = store.put(bytes(data))
    reference_ = reference_to(store, href)
    windows = [(0, 100, 100, 1, 1), (0, 90, 90, 20, 20), (0, 0, 0, 1, 1)]
    with pytest.raises(FileFormatError, match=rf"B \(mask\): {href}"):
        read_windows([make_read([reference_], windows)], OPTIONS)
    answer = read_windows([make_read([reference_], windows)], dataclasses.replace(OPTIONS, on_error="null"))[0]
    assert set(answer.errors) == {0, 1}
    assert not answer.valid[: answer.offset[2]].any()
    assert answer.valid[answer.offset[2]] == masks_of(made(name))[0, 0, 0]
    values = read_windows([make_read([reference_], windows, want_valid=False)], OPTIONS)[0]
    assert values.errors == {}
    del store.files[href]
    clear_cache()
    with pytest.raises(FetchError):
        read_windows([make_read([reference_], windows)], OPTIONS)


# -- faces ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["mask of JPEG", "alpha, bands apart"])
def scene(request, tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(made(request.param))
    return path, pr.build_from_files([path], bands={"r": 0, "g": 1})


def test_points_are_null_where_the_mask_says(scene, engine):
    path, scenes = scene
    rng = np.random.default_rng(0)
    row, col = rng.integers(0, HEIGHT, 500), rng.integers(0, WIDTH, 500)
    points = pl.LazyFrame({"x": 500_005.0 + 10 * col, "y": 4_999_995.0 - 10 * row})
    found = scenes.raster.sample_points(points, ["r", "g"], x="x", y="y", crs=32632).collect(engine=engine)
    with rasterio.open(path) as file:
        expected = file.read_masks()[:, row, col] != 0
    assert 0 < expected[0].sum() < 500
    for band, name in enumerate("rg"):
        np.testing.assert_array_equal(found[name].is_not_null().to_numpy(), expected[band])
    pairs = scenes.raster.pair(points, x="x", y="y", crs=32632)
    sampled = pairs.select(pl.col("g").raster.sample_points("x", "y", crs=32632)).collect(engine=engine)
    assert sampled["g"].is_not_null().to_list() == expected[1].tolist()


def test_masked_windows_have_null_elements_and_others_keep_values(scene, engine):
    path, scenes = scene
    with rasterio.open(path) as file:
        mask = file.read_masks(2) != 0
    read = pl.col("g").raster.read_window
    found = (
        scenes.lazy()
        .select(masked=read(masked=True).struct.field("pixels"), plain=read().struct.field("pixels"))
        .collect(engine=engine)
    )
    np.testing.assert_array_equal(found["masked"][0].is_not_null().to_numpy().reshape(mask.shape), mask)
    assert found["plain"][0].null_count() == 0
    stacked = (
        scenes.lazy()
        .select(pixels=pr.read_window(["r", "g"], window=(60, 124, 90, 154), masked=True, stack=True))
        .collect(engine=engine)
    )
    pixels = stacked["pixels"][0].explode().explode()
    expected = np.stack([mask[60:124, 90:154]] * 2)
    np.testing.assert_array_equal(pixels.is_not_null().to_numpy().reshape(expected.shape), expected)


def test_no_nodata_leaves_the_mask_in_force(tmp_path, engine):
    shown, pixels = shown_part(), some_pixels(1, "uint8")
    path = tmp_path / "scene.tif"
    path.write_bytes(file_of(pixels, mask=shown, nodata=7, compress="deflate", **TILED))
    scenes = pr.build_from_files([path], bands=["b"])
    found = (
        scenes.lazy()
        .select(
            pl.col("b").raster.read_window(masked=True).struct.field("pixels").alias("with"),
            pl.col("b")
            .raster.with_metadata(nodata=None)
            .raster.read_window(masked=True)
            .struct.field("pixels")
            .alias("without"),
        )
        .collect(engine=engine)
    )
    valid = {name: found[name][0].is_not_null().to_numpy().reshape(HEIGHT, WIDTH) for name in found.columns}
    np.testing.assert_array_equal(valid["without"], shown > 0)
    np.testing.assert_array_equal(valid["with"], (shown > 0) & (pixels[0] != 7))


def test_the_bill_of_a_verb_counts_mask_tiles_where_it_reads_them(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(made("mask"))
    scenes = pr.build_from_files([path], bands=["b"])
    point = pl.LazyFrame({"x": [501_005.0], "y": [4_998_995.0]})
    refused = scenes.raster.sample_points(point, x="x", y="y", crs=32632, budget_bytes=1)
    with pytest.raises(BudgetError, match="needs 2 tiles"):
        refused.collect()
    for masked, n_tiles in ((True, 2), ("column", 2), (False, 1)):
        query = scenes.raster.read_windows(point, x="x", y="y", crs=32632, shape=(1, 1), masked=masked, budget_bytes=1)
        with pytest.raises(BudgetError, match=f"needs {n_tiles} tiles"):
            query.collect()


def test_the_search_for_a_valid_pixel_goes_on_past_masked_ones(scene, engine):
    path, scenes = scene
    rng = np.random.default_rng(2)
    row, col = rng.integers(0, HEIGHT, 300), rng.integers(0, WIDTH, 300)
    points = pl.LazyFrame({"x": 500_005.0 + 10 * col, "y": 4_999_995.0 - 10 * row})
    query = scenes.raster.sample_points(points, ["r"], x="x", y="y", crs=32632, max_distance_pixels=2)
    found = query.collect(engine=engine)["r"].is_not_null().to_numpy()
    with rasterio.open(path) as file:
        padded = np.pad(file.read_masks(1) != 0, 2)
    near = np.array([padded[r : r + 5, c : c + 5].any() for r, c in zip(row, col, strict=True)])
    at = padded[row + 2, col + 2]
    assert at.sum() < near.sum() < len(near)
    np.testing.assert_array_equal(found, near)
