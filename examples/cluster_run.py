"""A cluster run: 130,000 samples in parts, by processes that share a folder; then a map of when each place lost its trees.

``python examples/cluster_run.py`` writes a folder of Parquet files and a picture into ``examples/output``. It needs no network:
the images come with the package (real Sentinel-2 images of a forest). The same lines run on Ray or Dask: only the engine differs.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.dates import YearLocator

import polars_rasteret as pr

OUTPUT = Path(__file__).resolve().parent / "output"
CLEAR = pl.col("scl").is_in([4, 5])  # vegetation and bare ground
LEFT, TOP, SIDE = 5_271_982.577, 2_533_004.215, 100  # of the images, in EPSG:3035 and pixels of 10 m


def samples(scenes: pl.LazyFrame) -> pl.LazyFrame:
    """Return the query: NDVI of the middle of each pixel on each day that shows it clear."""
    row, col = np.divmod(np.arange(SIDE * SIDE), SIDE)
    places = pl.DataFrame({"row": row, "col": col, "x": LEFT + 10 * col + 5, "y": TOP - 10 * row - 5})
    return (
        scenes.raster.sample_points(places, ["red", "nir"], x="x", y="y", crs=3035, valid=CLEAR)
        .with_columns(ndvi=pr.normalized_difference("nir", "red"))
        .select("row", "col", "datetime", "ndvi")
    )


def first_open_summers(found: pl.LazyFrame) -> pl.DataFrame:
    """Return the first year in which a place is open: a grouping, made of what was read."""
    year = pl.col("datetime").dt.year().alias("year")
    summers = found.group_by("row", "col", year).agg(pl.col("ndvi").max())  # haze only lowers NDVI
    return summers.filter(pl.col("ndvi") < 0.75).group_by("row", "col").agg(pl.col("year").min()).collect()


def draw(folder: Path, opened: pl.DataFrame, scenes: pl.LazyFrame, path: Path) -> None:
    """Draw which part read what, and what came out."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", width_ratios=[1, 1.1])
    for number, file in enumerate(sorted(folder.glob("*.parquet"))):
        part = pl.read_parquet(file)
        first, last = part["datetime"].min(), part["datetime"].max()
        left.plot([first, last], [number, number], linewidth=14, solid_capstyle="butt", color=f"C{number}", alpha=0.5)
        rows, cols = (f"{part[name].min()}-{part[name].max()}" for name in ("row", "col"))
        left.text(first, number, f"  {part.height:,} samples, rows {rows}, cols {cols}", fontsize=7, va="center")
    left.set(title="Each part: some tiles, some of the days", ylabel="part")
    left.set_xlim(right=left.get_xlim()[1] + 350)
    left.invert_yaxis()
    left.xaxis.set_major_locator(YearLocator())
    lost = np.full((SIDE, SIDE), np.nan)
    lost[opened["row"], opened["col"]] = opened["year"]
    scenes.filter(pl.col("id") == "forest_20170815").raster.plot("nir", cmap="Greys_r", label=None, ax=right)
    corners = (LEFT, LEFT + 10 * SIDE, TOP - 10 * SIDE, TOP)
    shown = right.imshow(lost, extent=corners, cmap=plt.get_cmap("plasma", 4), vmin=2016.5, vmax=2020.5)
    figure.colorbar(shown, ax=right, ticks=range(2017, 2021), shrink=0.8, label="2017: open then or before")
    right.set(title="First summer that shows a place open (NDVI < 0.75)", xlim=corners[:2], ylim=corners[2:])
    right.set(xlabel="1 km", ylabel="1 km")
    figure.text(0.995, 0.005, "Contains modified Copernicus Sentinel data 2017-2020", fontsize=6, ha="right")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(output: Path = OUTPUT) -> pl.DataFrame:
    """Run the query in parts, draw the picture, and return where and when the forest was opened."""
    output.mkdir(parents=True, exist_ok=True)
    scenes = pr.build_from_files(pr.example_data())
    query = samples(scenes)
    print(pr.plan_parts(query, min_parts=8))
    with pr.ProcessEngine(workers=2, min_parts=8) as engine:
        found = pr.run(query, into=output / "cluster_run", engine=engine)  # called again, it reads only missing parts
    opened = first_open_summers(found)
    draw(output / "cluster_run", opened, scenes, output / "cluster_run.png")
    print(opened.group_by("year").len("pixels").sort("year"))
    return opened


if __name__ == "__main__":
    main()
