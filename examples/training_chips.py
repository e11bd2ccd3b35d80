"""Chips for training: which places are covered by trees? Learned from three Landsat bands and a map of tree cover.

``python examples/training_chips.py`` writes chips, labels and a picture into ``examples/output``. It needs no network; all
files are real, and beside it: see ``examples/data/storm_lake``. Drawing needs matplotlib.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import polars_rasteret as pr

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "storm_lake"
BANDS = ["red", "nir", "swir"]
CRS, SIDE, STEP_M, FOREST_PERCENT = 26912, 5, 60.0, 25.0


def labelled_places(scene: pl.LazyFrame) -> pl.DataFrame:
    """Return a lattice of places with the tree cover around each, and whether it is for training: the west."""
    xmin, ymin, xmax, ymax = next(scene.raster.iter_rasters()).bounds
    x, y = np.meshgrid(np.arange(xmin + 300, xmax - 300, STEP_M), np.arange(ymin + 300, ymax - 300, STEP_M))
    places = pl.DataFrame({"x": x.ravel(), "y": y.ravel()})
    low, high = pl.col("x", "y") - STEP_M / 2, pl.col("x", "y") + STEP_M / 2
    places = places.with_columns(box=pl.struct(low.name.suffix("min"), high.name.suffix("max")))
    cover = pr.build_from_files(DATA / "storml_tcc.tif", bands=["tcc"])
    return (
        cover.raster.zonal_stats(places, ["tcc"], ["mean"], geometry="box", crs=CRS, record_columns=[])
        .drop_nulls("tcc_mean")
        .with_columns(forest=pl.col("tcc_mean") >= FOREST_PERCENT, is_train=pl.col("x") < (xmin + xmax) / 2)
        .drop("box")
        .collect()
    )


def learned(chips: np.ndarray, forest: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """Return how much of a forest each chip looks, 0 to 1: least squares on its pixels. A network may stand here."""
    features = np.column_stack([chips.reshape(len(chips), -1) / 20_000, np.ones(len(chips))])
    weights, *_ = np.linalg.lstsq(features[is_train], forest[is_train].astype(float))
    return (features @ weights).clip(0, 1)


def draw(scene: pl.LazyFrame, chips: np.ndarray, rows: pl.DataFrame, path: Path) -> None:
    """Draw the image, the labels and what was learned; below them some chips."""
    figure = plt.figure(figsize=(10.5, 4.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[3, 1])
    image, *maps = above.subplots(1, 3)
    scene.raster.plot(["swir", "nir", "red"], ax=image, label=None)
    image.set(title="Storm Lake, Montana, August 2020")
    titles = {"forest": f"Labels: tree cover of {FOREST_PERCENT:.0f}% or more", "score": "Learned in the west, for all"}
    for ax, column in zip(maps, titles, strict=True):
        drawn = ax.scatter(*rows["x", "y"], c=rows[column], s=9, marker="s", linewidths=0, cmap="YlGn", vmin=0, vmax=1)
        ax.set(title=titles[column], xlim=image.get_xlim(), ylim=image.get_ylim(), aspect="equal")
    for ax in (image, *maps):
        ax.axvline(rows.filter("is_train")["x"].max(), color="0.2", linewidth=0.8, linestyle="--")
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    above.colorbar(drawn, ax=maps, label="forest", shrink=0.7)
    shown = rows.with_row_index("chip").filter(~pl.col("is_train")).gather_every(115).head(12)
    for ax, (chip, score, cover) in zip(below.subplots(1, 12), shown["chip", "score", "tcc_mean"].rows(), strict=True):
        ax.imshow((chips[chip][::-1].transpose(1, 2, 0) / 20_000).clip(0, 1))
        ax.set_title(f"{score:.2f} ({cover:.0f}%)", fontsize=7)
        ax.axis("off")
    below.suptitle("Chips of the east, 150 m wide: forest as learned (tree cover as mapped)", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(output: Path = HERE / "output") -> pl.DataFrame:
    """Write chips, labels and the picture; return the places with what was learned."""
    output.mkdir(parents=True, exist_ok=True)
    files = {band: [str(DATA / f"sr_b{at}_20200829.tif")] for band, at in zip(BANDS, (4, 5, 6), strict=True)}
    table = pl.DataFrame({"id": ["storm_lake"], "datetime": ["2020-08-29T18:00:00Z"], **files})
    scene = pr.build_from_table(table, bands={band: band for band in BANDS})
    places = labelled_places(scene)
    windows = scene.raster.read_windows(places, BANDS, shape=(SIDE, SIDE), x="x", y="y", crs=CRS, record_columns=[])
    chips, rows = pr.to_numpy(windows, BANDS)  # of shape (n, bands, rows, columns)
    np.savez_compressed(output / "training_chips.npz", chips=chips, forest=rows["forest"])
    score = learned(chips, rows["forest"].to_numpy(), rows["is_train"].to_numpy())
    rows = rows.with_columns(score=pl.Series(score))
    draw(scene, chips, rows, output / "training_chips.png")
    right = (pl.col("score") >= 0.5) == pl.col("forest")
    print(f"{len(chips)} chips of {chips.shape[1:]}")
    print(rows.group_by("is_train").agg(pl.len(), pl.col("forest").mean(), right=right.mean()))
    return rows


if __name__ == "__main__":
    main()
