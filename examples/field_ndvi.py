"""NDVI over a season for each field: a table of polygons and twelve dates become a table of means, and a picture.

Run it with ``python examples/field_ndvi.py``; it is offline, needs matplotlib, and writes into ``examples/output``. One date
is a real image, the others are made from it: see ``examples/data/isle_of_wight``.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import shapely
import shapely.geometry

import polars_rasteret as pr

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "isle_of_wight"
CLEAR = pl.col("scl") != 9
"""Pixels that are no cloud."""
ENOUGH = 0.8
"""Share of a field that must be clear for a date to count."""


def scenes() -> pl.LazyFrame:
    """Return the collection of the twelve dates."""
    hrefs = sorted(DATA.glob("*.tif"))
    days = [f"{href.stem[-8:-4]}-{href.stem[-4:-2]}-{href.stem[-2:]}T11:00:00Z" for href in hrefs]
    return pr.build_from_files(hrefs, bands=["red", "nir", "scl"], datetime=days)


def fields() -> pl.DataFrame:
    """Return the fields: a name and a polygon each."""
    features = json.loads((DATA / "fields.geojson").read_text())["features"]
    return pl.DataFrame(
        {
            "field": [feature["properties"]["field"] for feature in features],
            "geometry": [shapely.to_wkb(shapely.geometry.shape(feature["geometry"])) for feature in features],
        }
    )


def ndvi_of_fields(collection: pl.LazyFrame, polygons: pl.DataFrame) -> pl.DataFrame:
    """Return the mean NDVI of the clear pixels of each field and date, and the share of the field that was clear."""
    # The mean of NDVI is not the NDVI of means: the formula is computed pixel by pixel.
    ndvi = {"ndvi": pr.normalized_difference("nir", "red")}
    return (
        collection.raster.zonal_stats(
            polygons, ndvi, ["mean", "valid_fraction"], crs=4326, valid=CLEAR, record_columns=["datetime"]
        )
        .select("field", "datetime", ndvi="ndvi_mean", clear="ndvi_valid_fraction")
        .collect()
    )


def draw(series: pl.DataFrame, collection: pl.LazyFrame, polygons: pl.DataFrame, path: Path) -> None:
    """Draw the fields on the real date, and the season of each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=[1, 1.2])
    colours = plt.get_cmap("Dark2").colors
    real = collection.filter(pl.col("id").str.ends_with("20210604"))
    real.raster.plot("nir", on_map=True, cmap="Greys_r", label=None, ax=left)
    for colour, (name, wkb) in zip(colours, polygons.select("field", "geometry").iter_rows(), strict=False):
        ring = np.array(shapely.from_wkb(wkb).exterior.coords)
        left.plot(*ring.T, color=colour, linewidth=2)
        left.annotate(
            name,
            (ring[:, 0].mean(), ring[:, 1].max()),
            color=colour,
            fontsize=7,
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
        one = series.filter(pl.col("field") == name)
        seen = one.filter(pl.col("clear") >= ENOUGH)
        right.plot(seen["datetime"], seen["ndvi"], "o-", color=colour, label=name)
        hidden = one.filter((pl.col("clear") < ENOUGH) & pl.col("ndvi").is_not_null())
        right.plot(hidden["datetime"], hidden["ndvi"], "x", color=colour, alpha=0.5)
    left.set_title("near infrared, and the fields", fontsize=9)
    right.set_title(f"mean NDVI (x: less than {ENOUGH:.0%} clear); only 2021-06-04 is real", fontsize=9)
    right.legend(fontsize=8, ncols=2)
    right.tick_params(axis="x", rotation=30)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(output: Path = HERE / "output") -> pl.DataFrame:
    """Write the table and the picture, and return the table."""
    output.mkdir(parents=True, exist_ok=True)
    collection, polygons = scenes(), fields()
    with pr.profile() as profile:
        series = ndvi_of_fields(collection, polygons)
    series.write_parquet(output / "field_ndvi.parquet")
    draw(series, collection, polygons, output / "field_ndvi.png")
    print(series.filter(pl.col("clear") >= ENOUGH).pivot("field", index="datetime", values="ndvi").sort("datetime"))
    print(f"{series.height} rows from {profile.summary()['tiles'].item()} tiles, {output.name}/field_ndvi.png")
    return series


if __name__ == "__main__":
    main()
