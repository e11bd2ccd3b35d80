"""From three GeoTIFFs to a table with their pixels: offline, on the files in ``examples/data``.

Run it with ``python examples/quickstart.py``; it writes into ``examples/output``.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
from loopback import serve
from picture import draw

import polars_rasteret as pr

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "output"
BANDS = ["red", "green", "blue", "nir"]


def acquired(href: str) -> dt.datetime:
    """Give the day in a NAIP file name."""
    day = re.search(r"(\d{8})(?:-\w+)?\.tif$", href)
    assert day is not None
    return dt.datetime.strptime(day[1], "%Y%m%d").replace(tzinfo=dt.UTC)


def plots_in(scenes: pl.LazyFrame, n: int = 6) -> pl.DataFrame:
    """Make some field plots inside every record: our table with coordinates."""
    rng = np.random.default_rng(7)
    boxes = scenes.select("id", pl.col("bbox").struct.unnest()).collect()
    return pl.concat(
        pl.DataFrame(
            {
                "plot": [f"{name[2:9]}-{at}" for at in range(n)],
                "lon": rng.uniform(xmin, xmax, n),
                "lat": rng.uniform(ymin, ymax, n),
            }
        )
        for name, xmin, ymin, xmax, ymax in boxes.iter_rows()
    )


def title(text: str) -> None:
    print(f"\n── {text} " + "─" * max(0, 90 - len(text)))


def main() -> None:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    pl.Config.set_tbl_hide_dataframe_shape(True).set_tbl_rows(12).set_tbl_width_chars(110).set_fmt_str_lengths(30)

    title("1. Index the headers of three GeoTIFFs (three CRSs) into a collection, and open it")
    pr.build_from_files(HERE / "data" / "*.tif", bands=BANDS, datetime=acquired).raster.sink_collection(
        OUTPUT / "naip.parquet"
    )
    scenes = pr.scan_collection(OUTPUT / "naip.parquet")
    print(scenes.select("id", "datetime", "proj:code", "header_error").collect())

    title("2. Filter the collection like any LazyFrame, and sample pixels at points")
    plots = plots_in(scenes)
    recent = scenes.filter(pl.col("datetime") > pl.datetime(2015, 1, 1, time_zone="UTC"))
    samples = (
        recent.raster.sample_points(plots, ["red", "nir"], x="lon", y="lat", crs=4326, unmatched="drop")
        .with_columns(ndvi=pr.normalized_difference("nir", "red"))
        .select("plot", "record_id", "red", "nir", "ndvi")
    )
    print(samples.collect())

    title("3. The query plan: Polars hands columns and filters to the read, which hands them on")
    print(samples.filter(pl.col("record_id").str.contains("se_13")).explain())

    title("4. Windows around the points, as arrays; the result goes to Parquet")
    chips = recent.raster.read_windows(
        plots, BANDS, shape=(32, 32), stack=True, x="lon", y="lat", crs=4326, record_columns=["id"]
    )
    chips.sink_parquet(OUTPUT / "chips.parquet", row_group_size=64)
    written = pl.read_parquet(OUTPUT / "chips.parquet")
    print(written.select("plot", "record_id", "pixels", "raster_crs").head(3))
    print(f"{OUTPUT.name}/chips.parquet: {written.height} chips of {written['pixels'][0].to_numpy().shape}")

    title("5. The same files over HTTP: how few requests each query takes")
    with serve(HERE / "data") as url:
        hrefs = [f"{url}/{path.name}" for path in sorted((HERE / "data").glob("*.tif"))]
        with pr.profile() as index:
            remote = pr.build_from_files(hrefs, bands=BANDS, datetime=acquired)
        rows = [("index 3 files", index)]
        for name, query in {
            "head(1)": remote.raster.sample_points(plots, ["red"], crs=4326).head(1),
            "18 points, 2 bands of 3 records": remote.raster.sample_points(plots, ["red", "nir"], crs=4326),
            "the same again, from the cache": remote.raster.sample_points(plots, ["red", "nir"], crs=4326),
            "no band selected": remote.raster.sample_points(plots, crs=4326).select("plot", "record_id"),
        }.items():
            with pr.profile() as profile:
                query.collect()
            rows.append((name, profile))
        counts = [profile.summary().select("requests", "bytes", "cache_hits") for _, profile in rows]
        print(pl.concat(counts).insert_column(0, pl.Series("query", [name for name, _ in rows])))

    title("6. A picture: NDVI of each record with the sampled points")
    whole = scenes.with_columns(
        pl.col("red", "nir").raster.read_window(),
    ).collect()
    at = scenes.raster.pair(plots, crs=4326).select("record_id", "plot", "lon", "lat").collect()
    records = []
    for row in whole.iter_rows(named=True):
        red, nir = (
            np.array(row[band]["pixels"], np.float64).reshape(row[band]["height"], row[band]["width"])
            for band in ("red", "nir")
        )
        with np.errstate(invalid="ignore"):
            ndvi = np.where(nir + red > 0, (nir - red) / (nir + red), np.nan)
        a, _, c, _, e, f = row["red"]["transform"]
        here = at.filter(pl.col("record_id") == row["id"])
        x, y = transform_points(here["lon"].to_numpy(), here["lat"].to_numpy(), row["red"]["crs"])
        points = list(zip(((y - f) // e).astype(int).tolist(), ((x - c) // a).astype(int).tolist(), strict=True))
        records.append({"ndvi": ndvi, "points": points})
    draw(records, OUTPUT / "ndvi.png")
    print(f"{OUTPUT.name}/ndvi.png: {len(records)} records")


def transform_points(lon: np.ndarray, lat: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
    """Bring longitude and latitude to a CRS."""
    import pyproj

    return pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)


if __name__ == "__main__":
    main()
