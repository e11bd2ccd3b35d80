"""Do the examples run offline, do they give what rasterio and NumPy give, and does each draw its picture?"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
import shapely.geometry
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_geom

import polars_rasteret as pr

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
CLEAR = [4, 5]


@pytest.fixture
def example(monkeypatch):
    """Import an example as a script beside its neighbours."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(EXAMPLES)):
            del sys.modules[name]


def assert_is_the_picture(path: Path) -> None:
    """Raise unless a picture is as large as the one that the documentation shows, and is as full of colours."""
    image = pytest.importorskip("PIL.Image")
    with image.open(path) as made, image.open(ROOT / "docs" / "pictures" / path.name) as shown:
        assert made.size == shown.size
        pixels, known = (np.asarray(one.convert("L"), np.float64) for one in (made, shown))
    assert len(np.unique(pixels)) > 100
    assert pixels.std() == pytest.approx(known.std(), rel=0.2)
    assert (ROOT / "docs" / "pictures" / path.name).stat().st_size < 200_000


def days() -> dict[dt.date, Path]:
    """Return the example images of the package by their day."""
    files = sorted(pr.example_data().glob("*.tif"))
    return {dt.datetime.strptime(path.stem[-8:], "%Y%m%d").date(): path for path in files}


def covered_shares(polygon: shapely.Polygon, file) -> np.ndarray:
    """Give the share of each pixel of the image that a polygon covers."""
    rows, cols = np.indices(file.shape)
    a, _, c, _, e, f = file.transform[:6]
    pixels = shapely.box(c + a * cols, f + e * (rows + 1), c + a * (cols + 1), f + e * rows)
    return shapely.area(shapely.intersection(pixels, polygon)) / abs(a * e)


def test_points_with_time_are_those_of_the_files_on_clear_days(example, tmp_path):
    module = example("points_with_time")
    series = module.main(tmp_path)
    assert_is_the_picture(tmp_path / "points_with_time.png")
    found = {(row["plot"], row["day"]): row["ndvi"] for row in series.iter_rows(named=True)}
    n_clouded = 0
    for day, path in days().items():
        with rasterio.open(path) as file:
            places = zip(*transform_points(4326, file.crs, module.PLOTS["lon"], module.PLOTS["lat"]), strict=True)
            for plot, (_, _, red, nir, scl) in zip(module.PLOTS["plot"], file.sample(places), strict=True):
                if scl in CLEAR:
                    red, nir = float(red), float(nir)
                    assert found.pop((plot, day)) == pytest.approx((nir - red) / (nir + red), abs=1e-6)
                else:
                    n_clouded += 1
    assert found == {}
    assert n_clouded > 5


def test_zonal_statistics_are_means_over_the_shares_of_clear_pixels(example, tmp_path):
    module = example("zonal_statistics")
    table = module.main(tmp_path)
    assert_is_the_picture(tmp_path / "zonal_statistics.png")
    found = {(row["compartment"], row["year"]): row for row in table.iter_rows(named=True)}
    features = json.loads((pr.example_data() / "compartments.geojson").read_text())["features"]
    assert len(found) == len(features) * len(module.JULYS)
    for name in module.JULYS:
        with rasterio.open(pr.example_data() / f"{name}.tif") as file:
            _, _, red, nir, scl = file.read().astype(np.float64)
            for feature in features:
                polygon = shapely.geometry.shape(transform_geom("EPSG:4326", file.crs, feature["geometry"]))
                clear = np.where(np.isin(scl, CLEAR), covered_shares(polygon, file), 0)
                row = found[feature["properties"]["compartment"], int(name[7:11])]
                # A straight edge in degrees bends a little on the map.
                assert row["hectares"] == pytest.approx(clear.sum() / 100, abs=1e-3)
                is_open = (nir - red) / (nir + red) < 0.7
                assert row["open_percent"] == pytest.approx(100 * np.average(is_open, weights=clear), abs=0.02)


def test_the_mosaic_is_the_median_of_clear_pixels_of_cloudy_days(example, tmp_path):
    for library in ("xarray", "zarr"):
        pytest.importorskip(library)
    mosaic = example("cloud_free_mosaic").main(tmp_path)
    assert_is_the_picture(tmp_path / "cloud_free_mosaic.png")
    layers = []
    for day, path in days().items():
        if day.year == 2019 and day != dt.date(2019, 7, 6):
            with rasterio.open(path) as file:
                blue, green, red, _, scl = file.read()
                transform, crs = file.transform, file.crs
            clear = np.isin(scl, CLEAR) & ((blue < 600) | (blue < red * 0.8))
            layers.append(np.ma.MaskedArray([red, green, blue], np.broadcast_to(~clear, (3, *clear.shape))))
    assert len(layers) == 5
    expected = np.ma.median(np.ma.stack(layers).astype(np.float64), axis=0).filled(np.nan)
    for number, band in enumerate(("red", "green", "blue")):
        np.testing.assert_array_equal(mosaic[band][0], expected[number])
    assert 0 < np.isnan(expected).mean() < 0.01
    np.testing.assert_allclose(mosaic["x"][0], transform.c + transform.a / 2)
    np.testing.assert_allclose(mosaic["y"][0], transform.f + transform.e / 2)
    assert rasterio.crs.CRS.from_wkt(mosaic["spatial_ref"].attrs["crs_wkt"]) == crs


def covered_mean(band: np.ndarray, transform, box: dict[str, float]) -> float:
    """Give the mean of the pixels of a north-up image in a box, each by the share of it that the box covers."""
    edges_x = transform.c + transform.a * np.arange(band.shape[1] + 1)
    edges_y = transform.f + transform.e * np.arange(band.shape[0] + 1)
    across = np.clip(np.minimum(edges_x[1:], box["xmax"]) - np.maximum(edges_x[:-1], box["xmin"]), 0, None)
    down = np.clip(np.minimum(edges_y[:-1], box["ymax"]) - np.maximum(edges_y[1:], box["ymin"]), 0, None)
    return float(down @ band @ across / (down.sum() * across.sum()))


def test_chips_and_labels_are_those_of_the_files_and_forest_is_learned(example, tmp_path):
    module = example("training_chips")
    rows = module.main(tmp_path)
    assert_is_the_picture(tmp_path / "training_chips.png")
    chips = np.load(tmp_path / "training_chips.npz")["chips"]
    assert chips.shape == (rows.height, 3, module.SIDE, module.SIDE)
    with rasterio.open(module.DATA / "storml_tcc.tif") as file:
        cover, cover_transform = file.read(1).astype(np.float64), file.transform
    bands = []
    for number in (4, 5, 6):
        with rasterio.open(module.DATA / f"sr_b{number}_20200829.tif") as file:
            bands.append(file.read(1))
            transform = file.transform
    half = module.STEP_M / 2
    for at in range(0, rows.height, 37):
        x, y, label = rows["x"][at], rows["y"][at], rows["forest"][at]
        row, col = rasterio.transform.rowcol(transform, x, y)
        np.testing.assert_array_equal(chips[at], [band[row - 2 : row + 3, col - 2 : col + 3] for band in bands])
        box = {"xmin": x - half, "xmax": x + half, "ymin": y - half, "ymax": y + half}
        mean = covered_mean(cover, cover_transform, box)
        assert rows["tcc_mean"][at] == pytest.approx(mean, abs=1e-6)
        assert label == (mean >= module.FOREST_PERCENT)
    tested = rows.filter(~rows["is_train"])
    right = ((tested["score"] >= 0.5) == tested["forest"]).mean()
    assert right > 0.9 > 0.65 > max(tested["forest"].mean(), 1 - tested["forest"].mean())


def test_a_run_in_parts_finds_the_first_open_summer_of_each_place(example, tmp_path):
    opened = example("cluster_run").main(tmp_path)
    assert_is_the_picture(tmp_path / "cluster_run.png")
    assert len(list((tmp_path / "cluster_run").glob("*.parquet"))) == 8
    summers: dict[int, list[np.ndarray]] = {}
    for day, path in days().items():
        with rasterio.open(path) as file:
            _, _, red, nir, scl = file.read().astype(np.float32)
        summers.setdefault(day.year, []).append(np.where(np.isin(scl, CLEAR), (nir - red) / (nir + red), -np.inf))
    expected = np.zeros((100, 100), np.int32)
    for year, layers in sorted(summers.items(), reverse=True):
        highest = np.max(layers, axis=0)
        expected[np.isfinite(highest) & (highest < 0.75)] = year
    found = np.zeros((100, 100), np.int32)
    found[opened["row"], opened["col"]] = opened["year"]
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 2017, 2018, 2019, 2020}
