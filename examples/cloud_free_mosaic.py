"""A mosaic without clouds: five cloudy days become one image of the summer, compared with a clear day that it has not seen.

``python examples/cloud_free_mosaic.py`` writes a Zarr store and a picture into ``examples/output``. It needs no network: the
images come with the package (real Sentinel-2 images, real clouds). It needs matplotlib, xarray and zarr.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
import xarray as xr

import polars_rasteret as pr

OUTPUT = Path(__file__).resolve().parent / "output"
RGB = ["red", "green", "blue"]
# Vegetation and bare ground; haze that these classes miss is bright in blue, where bare ground is brighter in red.
CLEAR = pl.col("scl").is_in([4, 5]) & ((pl.col("blue") < 600) | (pl.col("blue") < pl.col("red") * 0.8))


def summer_mosaics(cloudy: pl.LazyFrame, mosaic: str) -> xr.Dataset:
    """Return one layer per year, of the pixels that are clear; they are read when the Dataset is used."""
    years = cloudy.with_columns(year=pl.col("datetime").dt.year())
    return years.raster.to_xarray(bands=RGB, group_by="year", mosaic=mosaic, valid=CLEAR)


def draw(median: xr.Dataset, count: xr.Dataset, cloudy: pl.LazyFrame, clear: pl.LazyFrame, path: Path) -> None:
    """Draw the days, and below them the mosaic, the clear day and how many days each pixel had."""
    figure = plt.figure(figsize=(10.5, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.75])
    days = cloudy.with_columns(day=pl.col("datetime").dt.strftime("%d %B"))
    for number, ax in enumerate(above.subplots(1, 5)):
        days.slice(number, 1).raster.plot(RGB, limits=(0, 1500), label="day", ax=ax)
        ax.axis("off")
    above.suptitle("Five days of summer 2019")
    left, middle, right = below.subplots(1, 3)
    colours = np.dstack([median[band][0] for band in RGB]) / 1500
    x, y = median["x"].to_numpy(), median["y"].to_numpy()
    edges = (x[0] - 5, x[-1] + 5, y[-1] - 5, y[0] + 5)
    left.imshow(np.nan_to_num(colours, nan=1).clip(0, 1), extent=edges)
    left.set(title="Median of their clear pixels", xlabel="x in EPSG:3035 (m)", ylabel="y (m)")
    left.ticklabel_format(useOffset=False, style="plain")
    left.locator_params(nbins=3)
    clear.raster.plot(RGB, limits=(0, 1500), label=None, ax=middle)
    middle.set(title="A clear day, 6 July 2019, not used", xticks=[], yticks=[], xlabel="", ylabel="")
    shown = right.imshow(count["red"][0], extent=edges, cmap=plt.get_cmap("viridis", 6), vmin=-0.5, vmax=5.5)
    right.set(title="Clear days of each pixel", xticks=[], yticks=[])
    below.colorbar(shown, ax=right, ticks=range(6), shrink=0.8)
    figure.text(0.995, 0.005, "Contains modified Copernicus Sentinel data 2019", fontsize=6, ha="right")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(output: Path = OUTPUT) -> xr.Dataset:
    """Write the store and the picture, and return the mosaic as it is read from the store."""
    output.mkdir(parents=True, exist_ok=True)
    summer = pr.build_from_files(pr.example_data()).filter(pl.col("datetime").dt.year() == 2019).sort("datetime")
    is_clear = pl.col("id") == "forest_20190706"
    cloudy, clear = summer.filter(~is_clear), summer.filter(is_clear)
    summer_mosaics(cloudy, "median").to_zarr(output / "cloud_free_mosaic.zarr", mode="w", zarr_format=2)
    median = xr.open_zarr(output / "cloud_free_mosaic.zarr", mask_and_scale=False, decode_coords="all")
    count = summer_mosaics(cloudy, "count").load()
    draw(median, count, cloudy, clear, output / "cloud_free_mosaic.png")
    print(
        f"{float((count['red'] > 0).mean()):.1%} of the pixels are clear on at least one of {cloudy.collect().height} days"
    )
    return median


if __name__ == "__main__":
    main()
