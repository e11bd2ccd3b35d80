"""Zonal statistics: how much of each part of a forest lies open, summer after summer.

``python examples/zonal_statistics.py`` writes a table and a picture into ``examples/output``. It needs no network: images
(real, Sentinel-2) and compartments (a GeoJSON, drawn for this example) come with the package. Drawing needs matplotlib.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import polars_rasteret as pr

OUTPUT = Path(__file__).resolve().parent / "output"
CLEAR = pl.col("scl").is_in([4, 5])  # vegetation and bare ground
JULYS = ["forest_20170701", "forest_20180701", "forest_20190706", "forest_20200705"]  # a cloudless image of each July

ndvi = pr.normalized_difference("nir", "red")


def open_ground(scenes: pl.LazyFrame, compartments: dict) -> pl.LazyFrame:
    """Return the share of each compartment without closed canopy in each summer, pixels at its edge by their share."""
    return scenes.raster.zonal_stats(
        compartments, {"open": (ndvi < 0.7).cast(pl.UInt8)}, ["mean", "count", "valid_fraction"], valid=CLEAR
    ).select(
        "compartment",
        pl.col("datetime").dt.year().alias("year"),
        "open_valid_fraction",
        open_percent=100 * pl.col("open_mean"),
        hectares=pl.col("open_count") / 100,  # pixels of 10 m
    )


def draw(table: pl.DataFrame, scenes: pl.LazyFrame, compartments: dict, path: Path) -> None:
    """Draw the compartments on the last image, and the share of each that lies open."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", width_ratios=[1, 1.4])
    last = scenes.filter(pl.col("id") == JULYS[-1])
    last.raster.plot(["red", "green", "blue"], on_map=True, limits=(0, 1500), ax=left, label=None)
    left.set(title="Six compartments, July 2020", xlabel="longitude", ylabel="latitude")
    for number, feature in enumerate(compartments["features"]):
        name, ring = feature["properties"]["compartment"], np.array(feature["geometry"]["coordinates"][0])
        left.plot(*ring.T, color=f"C{number}", linewidth=2)
        left.text(*ring[:-1].mean(axis=0), name, color="white", fontsize=13, weight="bold", ha="center", va="center")
        one = table.filter(pl.col("compartment") == name)
        right.bar(one["year"] + (number - 2.5) * 0.13, one["open_percent"], 0.12, color=f"C{number}", label=name)
    right.set(
        title="Open ground: pixels with NDVI below 0.7", ylabel="percent of the compartment", xticks=range(2017, 2021)
    )
    right.legend(title="compartment", ncols=2)
    figure.text(0.995, 0.005, "Contains modified Copernicus Sentinel data 2017-2020", fontsize=6, ha="right")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(output: Path = OUTPUT) -> pl.DataFrame:
    """Write the table and the picture, and return the table."""
    output.mkdir(parents=True, exist_ok=True)
    scenes = pr.build_from_files(pr.example_data()).filter(pl.col("id").is_in(JULYS))
    compartments = json.loads((pr.example_data() / "compartments.geojson").read_text())
    table = open_ground(scenes, compartments).collect()
    table.write_parquet(output / "zonal_statistics.parquet")
    draw(table, scenes, compartments, output / "zonal_statistics.png")
    print(table.pivot("year", index="compartment", values="open_percent"))
    return table


if __name__ == "__main__":
    main()
