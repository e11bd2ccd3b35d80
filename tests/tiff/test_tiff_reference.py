"""Does every third-party file read as GDAL reads it, or is it refused by name?"""

from __future__ import annotations

import math
import re
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from polars_rasteret.errors import FileFormatError
from polars_rasteret.tiff.codecs.inflate import JPEG2000, JPEGXL, NAMES, PNG
from polars_rasteret.tiff.header import TiffFile
from polars_rasteret.tiff.layout import UNSUPPORTED_COMPRESSIONS
from tests.support.tiff_driver import Driver, Raster, sha256

# Where we differ from rasterio on purpose. Anything else that differs fails.
HEIGHT = "heights are left out of a CRS: pixels have two coordinates"
LOCAL = "a local engineering CRS tells no place on Earth: no CRS"
CRS_DIFFERENCES = {
    "tiff/gdal-autotest__3376.tif": LOCAL,
    "tiff/gdal-autotest__ModelTiepointTag_z_non_zero_but_ModelPixelScaleTag_z_zero.tif": LOCAL,
    "tiff/gdal-autotest__imagine_localcs_citation.tif": LOCAL,
    "tiff/gdal-autotest__byte_gcp.tif": "rasterio keeps the CRS of ground control points apart; there is no transform",
    "tiff/gdal-autotest__compdcrs_without_gtcitation.tif": HEIGHT,
    "tiff/gdal-autotest__epsg32631_4979_geotiff1_1.tif": HEIGHT,
    "tiff/gdal-autotest__epsg4326_3855_geotiff1_1.tif": HEIGHT,
    "tiff/gdal-autotest__epsg4979_geotiff1_1.tif": HEIGHT,
    "tiff/gdal-autotest__ArcGIS-1.0.0-non_scaled.tiff": "PROJ recognises EPSG:3067; GDAL reads datum ETRS_1989 as IRENET95",
    "tiff/rasterio__test_esri_wkt.tif": "PROJ recognises EPSG:5070 in the ESRI text; rasterio gives its WKT",
}
READABLE_WHERE_GDAL_FAILS = {
    "broken/gdal-autotest__excessive-memory-TIFFFillTile.tif": "an absurd byte count of an uncompressed tile",
}

REFUSALS = {
    "compression 3 (CCITT group 3 fax)",
    "compression 4 (CCITT group 4 fax)",
    "compression 6 (old-style JPEG)",
    "compression 32766 (NeXT RLE)",  # as the next two: no such files of places on Earth are known
    "compression 34676 (SGI LogLuv)",
    "compression 34677 (SGI LogLuv 24-bit)",
    "8-bit CIE L*a*b* colours (PhotometricInterpretation 8)",
    "complex samples (SampleFormat 5)",
    "complex samples (SampleFormat 6)",
}
UNREADABLE_BY_GDAL_TOO = {
    "compression 32809 (ThunderScan)",
    "compression 65535 (unknown)",
}
CHROMA = {
    "derived/COG_u8x3_jpeg_mask.tif",
    "derived/u8x3_jpeg_ycbcr_t64.tif",
    "tiff/cogeotiff__be_cog.tiff",
    "tiff/gdal-autotest__sasha.tif",
    "tiff/gdal-autotest__ycbcr_with_mask.tif",
    "tiff/rasterio__goes.tif",
    "tiff/rio-stac__dataset_mars.tif",
    "tiff/rio-tiler__cog_rgb.tif",
}
"""JPEG with colours at half resolution: libjpeg-turbo, which we and most GDALs use, interpolates them another way than the
libjpeg 9f of the rasterio that made the reference. Everything else, other lossy files too, must be equal."""
WITHOUT_GDAL = (JPEG2000, JPEGXL, PNG)
"""This GDAL lacks these codecs: the reference names a file with the same pixels."""


@dataclass
class Outcome:
    tiff: TiffFile | None = None
    refusal: str | None = None
    differences: list[str] = field(default_factory=list)
    seconds: float = 0.0


def facts_differ(tiff: TiffFile, expected: dict) -> list[str]:
    found = []
    if [tiff.height, tiff.width] != expected["shape"] or tiff.n_bands != expected["bands"]:
        found.append("shape")
    if str(tiff.dtype) != expected["dtype"]:
        found.append("dtype")
    transform = [float(value) for value in expected["transform"][:6]]
    if list(tiff.transform or (1, 0, 0, 0, 1, 0)) != transform:
        found.append(f"transform {tiff.transform} {transform}")
    nodata = expected["nodata"] if expected["nodata"] is None else float(expected["nodata"])
    is_nan = tiff.nodata is not None and nodata is not None and math.isnan(tiff.nodata) and math.isnan(nodata)
    if tiff.nodata != nodata and not is_nan:
        found.append(f"nodata {tiff.nodata} {nodata}")
    if [1.0 if scale is None else scale for scale in tiff.scales] != expected["scales"]:
        found.append("scales")
    if [0.0 if offset is None else offset for offset in tiff.offsets] != expected["offsets"]:
        found.append("offsets")
    if list(tiff.descriptions) != expected["descriptions"]:
        found.append("descriptions")
    overviews = sorted((one["shape"] for one in expected["overviews"]), reverse=True)
    if [[image.layout.height, image.layout.width] for image in tiff.images[1:]] != overviews:
        found.append("overviews")
    return found


def crs_differs(tiff: TiffFile, expected: dict) -> list[str]:
    epsg = int(tiff.crs.removeprefix("EPSG:")) if tiff.crs and tiff.crs.startswith("EPSG:") else None
    if epsg != expected["crs_epsg"]:
        return [f"crs {tiff.crs} {expected['crs_epsg']}"]
    if epsg is not None or not expected["crs_wkt"]:
        return []
    if tiff.crs is None:
        return ["crs None"]
    ours, theirs = pyproj.CRS(tiff.crs), pyproj.CRS(expected["crs_wkt"])
    a, b, c, d, e, f = tiff.transform or (1, 0, 10, 0, -1, 10)
    x, y = a * tiff.width / 2 + b * tiff.height / 2 + c, d * tiff.width / 2 + e * tiff.height / 2 + f
    there = pyproj.Transformer.from_crs(ours, theirs, always_xy=True).transform(x, y)
    same = np.allclose(there, (x, y), rtol=0, atol=max(abs(a), abs(b), abs(d), abs(e)) / 1000)
    return [] if same else [f"crs is elsewhere: {there} for {x, y}"]


def is_near(bands: list[Raster], path: Path) -> bool:
    """Compare with rasterio: small differences at the edges of colours, none in the mean; overviews too."""
    near = []
    for level in range(len(bands[0].tiles.images)):
        ours = np.stack([band.whole(level) for band in bands]).astype(int)
        options = {"overview_level": level - 1} if level else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, **options) as file:
                off = ours - file.read()
        is_noise = max(off.shape) <= 64  # all of such a small synthetic image is edges
        near.append(np.abs(off).mean() < (8 if is_noise else 1) and abs(off.mean()) < (5 if is_noise else 0.05))
    return all(near)


def pixels_differ(data: bytes, tiff: TiffFile, expected: dict, shared_data: Path) -> list[str]:
    found = []
    bands = [Raster(data, tiff, band) for band in range(tiff.n_bands)]
    if tiff.href in CHROMA:
        return [] if is_near(bands, shared_data / tiff.href) else ["pixels are not near"]
    if expected["sha256"] is not None and sha256(np.stack([band.whole() for band in bands])) != expected["sha256"]:
        found.append("pixels")
    for one in expected["windows"]:
        window = one["row_off"], one["col_off"], one["height"], one["width"]
        if sha256(np.stack([band.window(*window) for band in bands])) != one["sha256"]:
            found.append(f"window {window}")
    for sample in expected["samples"]:
        values = [band.window(sample["row"], sample["col"], 1, 1)[0, 0] for band in bands]
        if not np.array_equal(
            np.array(values, np.float64), np.array([float(value) for value in sample["values"]]), equal_nan=True
        ):
            found.append(f"sample {sample}")
    shapes = [[image.height, image.width] for image in bands[0].tiles.images]
    for overview in expected["overviews"]:
        level = shapes.index(overview["shape"], 1)
        if "sha256" in overview and sha256(np.stack([band.whole(level) for band in bands])) != overview["sha256"]:
            found.append(f"overview {overview['shape']}")
    return found


@pytest.fixture(scope="module")
def outcomes(shared_data, reference):
    found = {}
    for name, expected in reference.items():
        outcome = found[name] = Outcome()
        data = (shared_data / name).read_bytes()
        began = time.perf_counter()
        try:
            outcome.tiff = tiff = Driver(data).parse(name)
            if expected["status"] == "ok":
                outcome.differences = facts_differ(tiff, expected)
                if name not in CRS_DIFFERENCES:
                    outcome.differences += crs_differs(tiff, expected)
                outcome.differences += pixels_differ(data, tiff, expected, shared_data)
            else:
                # Not all of what a header of 262 bytes may claim.
                rows, columns = min(tiff.height, 5_000), min(tiff.width, 5_000)
                pixels = [Raster(data, tiff, band).window(0, 0, rows, columns) for band in range(tiff.n_bands)]
                if same := expected.get("same_pixels_as"):
                    twin_data = (shared_data / same.split()[0]).read_bytes()
                    twin = Driver(twin_data).parse(same)
                    for band, one in enumerate(pixels):
                        if not np.array_equal(one, Raster(twin_data, twin, band).whole()):
                            outcome.differences.append(f"band {band} differs from {same}")
        except FileFormatError as error:
            outcome.refusal = str(error)
        outcome.seconds = time.perf_counter() - began
    return found


def feature_of(refusal: str) -> str | None:
    found = re.search(r" uses (.+), which is not supported", refusal)
    return found and found[1]


def test_every_file_that_is_read_reads_as_gdal_reads_it(outcomes, reference):
    differing = {name: one.differences for name, one in outcomes.items() if one.differences}
    assert differing == {}
    read = [name for name, one in outcomes.items() if reference[name]["status"] == "ok" and one.refusal is None]
    n_ok = sum(one["status"] == "ok" for one in reference.values())
    assert len(read) >= 0.9 * n_ok, f"{len(read)} of {n_ok}"


def test_no_crs_differs_but_the_listed_ones(outcomes, reference):
    actual = {
        name
        for name, one in outcomes.items()
        if one.tiff is not None and reference[name]["status"] == "ok" and crs_differs(one.tiff, reference[name])
    }
    # Newer PROJ databases agree with rasterio in more files, so a listed one may be equal.
    assert actual - set(CRS_DIFFERENCES) == set()


def test_no_crs_is_the_user_defined_code(outcomes):
    assert not [name for name, one in outcomes.items() if one.tiff is not None and one.tiff.crs == "EPSG:32767"]


def test_files_that_gdal_reads_are_refused_only_by_a_named_feature(outcomes, reference):
    features = {
        feature_of(one.refusal)
        for name, one in outcomes.items()
        if one.refusal is not None and reference[name]["status"] == "ok"
    }
    assert features == REFUSALS


def test_files_that_gdal_cannot_read_are_refused(outcomes, reference):
    failing = {name: one for name, one in outcomes.items() if reference[name]["status"] != "ok"}
    readable = {name for name, one in failing.items() if one.refusal is None}
    twins = {name for name, expected in reference.items() if expected.get("same_pixels_as")}
    assert readable == set(READABLE_WHERE_GDAL_FAILS) & set(reference) | twins
    assert {outcomes[name].tiff.images[0].layout.compression for name in twins} == set(WITHOUT_GDAL)
    for name, one in failing.items():
        assert one.refusal is None or one.refusal.startswith(name) or one.refusal.startswith("a tile")
    named = {feature_of(one.refusal) for one in failing.values() if one.refusal and feature_of(one.refusal)}
    assert named >= UNREADABLE_BY_GDAL_TOO


def test_broken_files_end_soon(outcomes):
    assert {
        name: one.seconds for name, one in outcomes.items() if name.startswith("broken/") and one.seconds > 20
    } == {}


COMPLEX, PALETTE, CCITT = {5, 6}, 3, {2, 3, 4, 32771}


def features_of(expected: dict) -> set[tuple[str, str]]:
    """Features of a file by its tags, as the reference lists them: not by what our parser says."""
    full, *others = expected["tiff"]["ifds"]
    compression = full.get("Compression", 1)
    names = UNSUPPORTED_COMPRESSIONS | NAMES
    kind = {1: "u", 2: "i", 3: "f", 4: "u", 5: "ci", 6: "cf"}.get(full.get("SampleFormat", 1), "?")
    photometric = {0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
    return {
        ("compression", f"{compression} {names.get(compression, '?')}"),
        ("photometric", photometric.get(full.get("Photometric", 1), "other")),
        ("samples", f"{kind}{full.get('BitsPerSample', 1)}"),
        ("planar", str(full.get("PlanarConfig", 1))),
        ("predictor", str(full.get("Predictor", 1))),
        ("byte order", expected["tiff"]["byteorder"]),
        ("file", "BigTIFF" if expected["tiff"]["bigtiff"] else "classic"),
        ("layout", "tiles" if "TileWidth" in full else "strips"),
        ("bands", "1" if expected["bands"] == 1 else "2 to 4" if expected["bands"] <= 4 else "more"),
        ("overviews", "yes" if expected["overviews"] else "no"),
        ("masks", "yes" if any(one.get("NewSubfileType", 0) & 4 for one in others) else "no"),
        ("sparse", "yes" if full.get("n_bytecount_zero") else "no"),
        ("ghost area", "yes" if expected["tiff"]["ghost"] else "no"),
        ("georeference", "GCPs" if expected["gcps"] else "no" if expected["crs_wkt"] is None else "yes"),
    }


def is_in_scope(expected: dict) -> bool:
    if expected["status"] != "ok":
        return False
    full = expected["tiff"]["ifds"][0]
    return (
        full.get("SampleFormat", 1) not in COMPLEX
        and full.get("Photometric", 1) != PALETTE
        and full.get("Compression", 1) not in CCITT
    )


def test_at_least_97_percent_of_the_files_in_scope_are_read(outcomes, reference):
    in_scope = [name for name, expected in reference.items() if is_in_scope(expected)]
    read = [name for name in in_scope if outcomes[name].refusal is None and not outcomes[name].differences]
    assert len(in_scope) > 230
    assert len(read) >= 0.97 * len(in_scope), sorted(set(in_scope) - set(read))


def test_tally(outcomes, reference, capsys):
    tally: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    refused: Counter[str] = Counter()
    for name, one in outcomes.items():
        expected = reference[name]
        how = "refused" if one.refusal is not None else "differing" if one.differences else "read"
        if expected["status"] == "ok":
            near = {("within tolerance", "JPEG with colours at half resolution")} if name in CHROMA else set()
            elsewhere = {("CRS told otherwise", CRS_DIFFERENCES[name])} if name in CRS_DIFFERENCES else set()
            in_scope = {("scope", "in" if is_in_scope(expected) else "complex, palette, CCITT"), ("all", "")}
            for feature in features_of(expected) | near | elsewhere | in_scope:
                tally[feature][how] += 1
        if one.refusal is not None:
            refused[feature_of(one.refusal) or "damaged"] += 1
    with capsys.disabled():
        print()
        for (what, value), n in sorted(tally.items()):
            print(f"  read {n['read']:4}  refused {n['refused']:3}  differing {n['differing']}  {what}: {value}")
        for feature, number in refused.most_common():
            print(f"  refused {number:4} {feature}")
    assert not any(n["differing"] for n in tally.values())
    # Of everything that is claimed to be read, a third-party or re-encoded file shows it.
    shown = {feature for feature, n in tally.items() if n["read"]}
    assert {value.split(" ", 1)[1] for what, value in shown if what == "compression"} == set(NAMES.values()) - {
        NAMES[code] for code in WITHOUT_GDAL
    }
    assert {value for what, value in shown if what == "predictor"} == {"1", "2", "3"}
    assert {value for what, value in shown if what == "samples"} >= {
        *("u1", "u2", "u3", "u4", "u5", "u6", "u7", "u10", "u12", "u14", "u24", "i24"),
        *("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f16", "f32", "f64"),
    }
