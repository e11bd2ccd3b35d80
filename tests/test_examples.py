"""Do the examples run offline on the files beside them, and do they give what rasterio and NumPy give?"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import rasterio
import shapely
import shapely.geometry
from rasterio.warp import transform_geom

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
ISLE = EXAMPLES / "data" / "isle_of_wight"
CLOUD = 9


@pytest.fixture
def example(monkeypatch):
    """Import an example as a script beside its neighbours."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(EXAMPLES)):
            del sys.modules[name]


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000


def dates() -> dict[dt.date, Path]:
    return {dt.datetime.strptime(path.stem[-8:], "%Y%m%d").date(): path for path in sorted(ISLE.glob("*.tif"))}


def covered_shares(polygon: shapely.Polygon, file) -> np.ndarray:
    """Give the share of each pixel of the image that a polygon covers."""
    rows, cols = np.indices(file.shape)
    a, _, c, _, e, f = file.transform[:6]
    pixels = shapely.box(c + a * cols, f + e * (rows + 1), c + a * (cols + 1), f + e * rows)
    return shapely.area(shapely.intersection(pixels, polygon)) / abs(a * e)


def test_the_ndvi_of_fields_is_the_mean_over_the_shares_of_their_clear_pixels(example, tmp_path):
    series = example("field_ndvi").main(tmp_path)
    assert is_picture(tmp_path / "field_ndvi.png")
    found = {(row["field"], row["datetime"].date()): row for row in series.iter_rows(named=True)}
    features = json.loads((ISLE / "fields.geojson").read_text())["features"]
    assert len(found) == len(features) * 12
    n_hidden = 0
    with rasterio.open(next(iter(dates().values()))) as file:
        polygons = [shapely.geometry.shape(transform_geom("EPSG:4326", file.crs, one["geometry"])) for one in features]
        covered = {
            one["properties"]["field"]: covered_shares(polygon, file)
            for one, polygon in zip(features, polygons, strict=True)
        }
    for day, path in dates().items():
        with rasterio.open(path) as file:
            red, nir, scl = file.read().astype(np.float64)
        for name, shares in covered.items():
            clear = np.where(scl == CLOUD, 0, shares)
            row = found[name, day]
            assert row["clear"] == pytest.approx(clear.sum() / shares.sum(), abs=1e-4)
            if clear.any():
                assert row["ndvi"] == pytest.approx(np.average((nir - red) / (nir + red), weights=clear), abs=1e-4)
            else:
                assert row["ndvi"] is None
                n_hidden += 1
    assert 0 < n_hidden < len(found) / 4


def test_the_composite_of_a_month_is_the_median_of_its_clear_pixels(example, tmp_path):
    for library in ("xarray", "zarr"):
        pytest.importorskip(library)
    composite = example("monthly_composite").main(tmp_path)
    assert is_picture(tmp_path / "monthly_composite.png")
    by_month: dict[dt.date, list[np.ma.MaskedArray]] = {}
    for day, path in dates().items():
        with rasterio.open(path) as file:
            *bands, scl = file.read()
            transform, crs = file.transform, file.crs
        hidden = np.broadcast_to(scl == CLOUD, np.shape(bands))
        by_month.setdefault(day.replace(day=1), []).append(np.ma.MaskedArray(bands, hidden))
    assert [str(time)[:10] for time in composite["time"].values] == [str(month) for month in by_month]
    n_holes = 0
    for at, layers in enumerate(by_month.values()):
        expected = np.ma.median(np.ma.stack(layers).astype(np.float64), axis=0).filled(np.nan)
        for number, band in enumerate(("red", "nir")):
            np.testing.assert_array_equal(composite[band][at], expected[number])
        n_holes += int(np.isnan(expected).sum())
    assert n_holes > 0
    np.testing.assert_allclose(composite["x"][0], transform.c + transform.a / 2)
    np.testing.assert_allclose(composite["y"][0], transform.f + transform.e / 2)
    assert rasterio.crs.CRS.from_wkt(composite["spatial_ref"].attrs["crs_wkt"]) == crs


def covered_mean(band: np.ndarray, transform, box: dict[str, float]) -> float:
    """Give the mean of the pixels of a north-up image in a box, each by the share of it that the box covers."""
    edges_x = transform.c + transform.a * np.arange(band.shape[1] + 1)
    edges_y = transform.f + transform.e * np.arange(band.shape[0] + 1)
    across = np.clip(np.minimum(edges_x[1:], box["xmax"]) - np.maximum(edges_x[:-1], box["xmin"]), 0, None)
    down = np.clip(np.minimum(edges_y[:-1], box["ymax"]) - np.maximum(edges_y[1:], box["ymin"]), 0, None)
    return float(down @ band @ across / (down.sum() * across.sum()))


@pytest.mark.parametrize("use_torch", [False, True], ids=["numpy", "torch"])
def test_chips_and_labels_are_those_of_the_files_and_forest_is_learned(example, tmp_path, use_torch):
    if use_torch and find_spec("torch") is None:
        pytest.skip("torch is not installed")
    module = example("tree_cover_chips")
    rows = module.main(tmp_path, use_torch=use_torch)
    assert is_picture(tmp_path / "tree_cover_chips.png")
    pixels = np.load(tmp_path / "tree_cover_chips.npz")["pixels"]
    assert pixels.shape == (rows.height, 3, module.SIDE, module.SIDE)
    folder = module.DATA
    with rasterio.open(folder / "storml_tcc.tif") as file:
        cover, cover_transform = file.read(1).astype(np.float64), file.transform
    bands = []
    for number in (4, 5, 6):
        with rasterio.open(folder / f"sr_b{number}_20200829.tif") as file:
            bands.append(file.read(1))
            transform = file.transform
    half = module.STEP_M / 2
    for at in range(0, rows.height, 37):
        x, y, label = rows["x"][at], rows["y"][at], rows["forest"][at]
        row, col = rasterio.transform.rowcol(transform, x, y)
        there = np.s_[row - 2 : row + 3, col - 2 : col + 3]
        np.testing.assert_allclose(pixels[at] * 20_000, [band[there] for band in bands], rtol=1e-6)
        box = {"xmin": x - half, "xmax": x + half, "ymin": y - half, "ymax": y + half}
        mean = covered_mean(cover, cover_transform, box)
        assert rows["tcc_mean"][at] == pytest.approx(mean, abs=1e-6)
        assert label == (mean >= module.FOREST)
    tested = rows.filter(pl.col("split") == "test")
    right = ((tested["probability"] >= 0.5) == (tested["forest"] == 1)).mean()
    assert right > 0.9 > 0.65 > max(tested["forest"].mean(), 1 - tested["forest"].mean())
