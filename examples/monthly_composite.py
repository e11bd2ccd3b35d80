"""A composite without clouds for each month, as a Zarr store: twelve cloudy dates become six months.

Run it with ``python examples/monthly_composite.py``; it is offline, needs matplotlib, xarray and zarr, and writes into
``examples/output``. One date is a real image, the others are made from it: see ``examples/data/isle_of_wight``.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
import xarray as xr
from field_ndvi import CLEAR, scenes

import polars_rasteret  # noqa: F401 - registers .raster

HERE = Path(__file__).resolve().parent
BANDS = ["red", "nir"]


def monthly_medians(collection: pl.LazyFrame) -> xr.Dataset:
    """Return the median of the clear pixels of each month, NaN where a month has none; nothing is read yet."""
    return collection.raster.to_xarray(bands=BANDS, group_by="month", mosaic="median", valid=CLEAR)


def draw(composite: xr.Dataset, collection: pl.LazyFrame, path: Path) -> None:
    """Draw the two dates of each month above their composite."""
    figure, axes = plt.subplots(3, composite.sizes["time"], figsize=(13, 5.2), layout="constrained")
    words = {"bands": "nir", "limits": (0, 6000), "label": None, "cmap": "viridis"}
    for column, time in enumerate(composite["time"].to_numpy()):
        month = str(time)[:7]
        dates = collection.filter(pl.col("datetime").dt.strftime("%Y-%m") == month).sort("datetime")
        for row in range(2):
            date = dates.slice(row, 1)
            date.raster.plot(**words, ax=axes[row, column])
            axes[row, column].set_title(date.select("datetime").collect().item().strftime("%Y-%m-%d"), fontsize=9)
        nir = composite["nir"].isel(time=column)
        axes[2, column].imshow(nir, vmin=0, vmax=6000, cmap=words["cmap"])
        axes[2, column].set_title(f"{month}, median", fontsize=9)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(
        "near infrared: the dates of each month, and the median of their clear pixels (only 2021-06-04 is real)",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(output: Path = HERE / "output") -> xr.Dataset:
    """Write the Zarr store and the picture, and return the composite as it is read from the store."""
    output.mkdir(parents=True, exist_ok=True)
    collection = scenes()
    monthly_medians(collection).to_zarr(output / "monthly_composite.zarr", mode="w", zarr_format=2)
    composite = xr.open_zarr(output / "monthly_composite.zarr", mask_and_scale=False, decode_coords="all")
    draw(composite, collection, output / "monthly_composite.png")
    filled = {str(time)[:7]: f"{float(one.notnull().mean()):.0%}" for time, one in composite["nir"].groupby("time")}
    print(f"{output.name}/monthly_composite.zarr: {dict(composite.sizes)}, clear pixels {filled}")
    return composite


if __name__ == "__main__":
    main()
