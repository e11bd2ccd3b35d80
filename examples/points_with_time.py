"""Points with time: five places in a forest, on every clear day of four summers.

``python examples/points_with_time.py`` writes a table and a picture into ``examples/output``. It needs no network: the
images come with the package (real Sentinel-2 images of a forest in Romania, with real clouds). Drawing needs matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.dates import YearLocator

import polars_rasteret as pr

OUTPUT = Path(__file__).resolve().parent / "output"

PLOTS = pl.DataFrame(
    {
        "plot": [
            "cut in winter 2016/17",
            "cut in winter 2017/18",
            "cut in winter 2018/19",
            "cut in winter 2019/20",
            "not cut",
        ],
        "lon": [22.15232, 22.14683, 22.15147, 22.15614, 22.15756],
        "lat": [45.20673, 45.20409, 45.20292, 45.20301, 45.20172],
    }
)
CLEAR = pl.col("scl").is_in([4, 5])  # the classes vegetation and bare ground; clouds and their shadows have others


def ndvi_of_plots(scenes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the NDVI of each plot on each day that shows it clear."""
    return (
        scenes.raster.sample_points(PLOTS, ["red", "nir"], crs=4326, valid=CLEAR)
        .with_columns(ndvi=pr.normalized_difference("nir", "red"))
        .select("plot", pl.col("datetime").dt.date().alias("day"), "ndvi")
        .drop_nulls("ndvi")
    )


def draw(series: pl.DataFrame, scenes: pl.LazyFrame, path: Path) -> None:
    """Draw the plots on an image, and what became of them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", width_ratios=[1, 1.4])
    july = scenes.filter(pl.col("id") == "forest_20200705")
    july.raster.plot(["red", "green", "blue"], on_map=True, limits=(0, 1500), ax=left, label=None)
    left.set(title="The forest on 5 July 2020", xlabel="longitude", ylabel="latitude")
    for number, (plot, lon, lat) in enumerate(PLOTS.iter_rows()):
        left.plot(lon, lat, "o", markersize=9, color=f"C{number}", markeredgecolor="white", markeredgewidth=1.5)
        one = series.filter(pl.col("plot") == plot)
        right.plot(one["day"], one["ndvi"], "o-", markersize=4, color=f"C{number}", label=plot)
    right.set(title="What became of five places: NDVI on clear days", ylabel="NDVI", ylim=(0.1, 1))
    right.xaxis.set_major_locator(YearLocator())
    right.legend(loc="lower left", fontsize=8)
    figure.text(0.995, 0.01, "Contains modified Copernicus Sentinel data 2017-2020", fontsize=6, ha="right")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(output: Path = OUTPUT) -> pl.DataFrame:
    """Write the table and the picture, and return the table."""
    output.mkdir(parents=True, exist_ok=True)
    scenes = pr.build_from_files(pr.example_data())
    series = ndvi_of_plots(scenes).collect()
    series.write_parquet(output / "points_with_time.parquet")
    draw(series, scenes, output / "points_with_time.png")
    print(series.sort("day").pivot("plot", index="day", values="ndvi"))
    return series


if __name__ == "__main__":
    main()
