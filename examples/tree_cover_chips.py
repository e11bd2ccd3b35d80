"""Chips with labels for training: which places are covered by trees? From three Landsat bands, learned from a map of tree cover.

Run it with ``python examples/tree_cover_chips.py``; it is offline, needs matplotlib, and writes into ``examples/output``. The
labels are zonal statistics of the map. Where PyTorch is installed, a small network learns from a ``DataLoader``; else NumPy
learns from the same chips. All files are real: see ``examples/data/storm_lake``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import polars_rasteret as pr

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "storm_lake"
BANDS = ["red", "nir", "swir"]
SIDE = 5
"""Pixels of a chip; the label is that of its middle."""
STEP_M = 60.0
FOREST = 25.0
"""Percent of tree cover from which a place is forest."""
CRS = 26912


def image() -> pl.LazyFrame:
    """Return the collection of one record: three bands, each in a file of its own."""
    hrefs = {f"href_{band}": str(DATA / f"sr_b{at}_20200829.tif") for at, band in zip((4, 5, 6), BANDS, strict=True)}
    table = pl.DataFrame({"id": "storm_lake", "datetime": "2020-08-29T18:00:00Z", **hrefs})
    return pr.build_from_table(table, bands={band: f"href_{band}" for band in BANDS})


def places(collection: pl.LazyFrame) -> pl.DataFrame:
    """Return the middles of chips on a lattice, the box of pixels around each, and its label and split."""
    xmin, ymin, xmax, ymax = next(collection.raster.iter_rasters()).bounds
    x, y = np.meshgrid(np.arange(xmin + 300, xmax - 300, STEP_M), np.arange(ymin + 300, ymax - 300, STEP_M))
    half = STEP_M / 2
    middles = pl.DataFrame({"x": x.ravel(), "y": y.ravel()}).with_columns(
        box=pl.struct(
            xmin=pl.col("x") - half, ymin=pl.col("y") - half, xmax=pl.col("x") + half, ymax=pl.col("y") + half
        )
    )
    trees = pr.build_from_files([DATA / "storml_tcc.tif"], bands=["tcc"])
    cover = trees.raster.zonal_stats(middles, ["tcc"], ["mean"], geometry="box", crs=CRS, record_columns=[])
    west = pl.col("x") < (xmin + xmax) / 2
    return (
        cover.drop_nulls("tcc_mean")
        .select(
            "x",
            "y",
            "tcc_mean",
            forest=(pl.col("tcc_mean") >= FOREST).cast(pl.Int64),
            split=pl.when(west).then(pl.lit("train")).otherwise(pl.lit("test")),
        )
        .collect()
    )


def chips(collection: pl.LazyFrame, middles: pl.DataFrame) -> tuple[np.ndarray, pl.DataFrame]:
    """Return the chips, of shape (n, bands, rows, columns) and about 0 to 1, and the rows that they belong to."""
    windows = collection.raster.read_windows(
        middles, BANDS, shape=(SIDE, SIDE), x="x", y="y", crs=CRS, record_columns=[]
    )
    pixels, rows = pr.to_numpy(windows, BANDS)
    return pixels.astype(np.float64) / 20_000, rows


def learned_by_numpy(pixels: np.ndarray, labels: np.ndarray, is_train: np.ndarray) -> np.ndarray:
    """Return the probability of forest of each chip, from a logistic regression on its pixels."""
    features = pixels.reshape(len(pixels), -1)
    features = (features - features[is_train].mean(axis=0)) / features[is_train].std(axis=0)
    features = np.column_stack([features, np.ones(len(features))])
    weights = np.zeros(features.shape[1])
    for _ in range(300):
        error = 1 / (1 + np.exp(-features[is_train] @ weights)) - labels[is_train]
        weights -= 0.1 * (features[is_train].T @ error / is_train.sum() + 0.01 * weights)
    return 1 / (1 + np.exp(-features @ weights))


def learned_by_torch(collection: pl.LazyFrame, middles: pl.DataFrame) -> np.ndarray:
    """Return the probability of forest of each chip, from a small network that a ``DataLoader`` feeds."""
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(0)
    words: dict[str, Any] = {"shape": (SIDE, SIDE), "x": "x", "y": "y", "crs": CRS, "label": "forest"}
    train = collection.raster.to_torch(middles, BANDS, split="train", **words)
    network = torch.nn.Sequential(
        torch.nn.BatchNorm2d(len(BANDS)), torch.nn.Conv2d(len(BANDS), 8, 3), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(8 * (SIDE - 2) ** 2, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(8):
        for batch in DataLoader(train, batch_size=256, shuffle=True):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(batch["image"] / 20_000)[:, 0], batch["label"].float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    probability = np.empty(middles.height)
    with torch.no_grad():
        for batch in DataLoader(collection.raster.to_torch(middles, BANDS, **words), batch_size=512):
            probability[batch["chip"].numpy()] = torch.sigmoid(network(batch["image"] / 20_000))[:, 0].numpy()
    return probability


def draw(collection: pl.LazyFrame, rows: pl.DataFrame, path: Path) -> None:
    """Draw the image, the labels and what was learned."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    collection.raster.plot(["swir", "nir", "red"], ax=axes[0], label=None)
    axes[0].set_title("short-wave, near infrared, red", fontsize=9)
    words: dict[str, Any] = {"cmap": "YlGn", "vmin": 0, "vmax": 1, "s": 11, "marker": "s", "linewidths": 0}
    for ax, column, title in (
        (axes[1], "forest", f"labels: tree cover of {FOREST:.0f}% or more"),
        (axes[2], "probability", "learned from the west, tested in the east"),
    ):
        shown = ax.scatter(rows["x"], rows["y"], c=rows[column], **words)
        ax.set_title(title, fontsize=9)
    figure.colorbar(shown, ax=axes[2])
    middle = (rows["x"].min() + rows["x"].max()) / 2
    for ax in axes:
        ax.set_xlim(axes[0].get_xlim())
        ax.set_ylim(axes[0].get_ylim())
        ax.set_aspect("equal")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.axvline(middle, color="0.3", linewidth=0.8, linestyle="--")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(output: Path = HERE / "output", *, use_torch: bool | None = None) -> pl.DataFrame:
    """Write chips and a picture; return the places with label, split and probability."""
    output.mkdir(parents=True, exist_ok=True)
    collection = image()
    middles = places(collection)
    pixels, rows = chips(collection, middles)
    np.savez_compressed(
        output / "tree_cover_chips.npz", pixels=pixels.astype(np.float32), forest=rows["forest"].to_numpy()
    )
    if use_torch if use_torch is not None else find_spec("torch") is not None:
        probability, by = learned_by_torch(collection, middles), "a network of PyTorch"
    else:
        is_train = (rows["split"] == "train").to_numpy()
        probability, by = learned_by_numpy(pixels, rows["forest"].to_numpy(), is_train), "logistic regression in NumPy"
    rows = rows.with_columns(probability=pl.Series(probability))
    draw(collection, rows, output / "tree_cover_chips.png")
    right = (pl.col("probability") >= 0.5) == (pl.col("forest") == 1)
    print(f"{rows.height} chips of {pixels.shape[1:]}, {by}")
    print(rows.group_by("split", maintain_order=True).agg(pl.len(), pl.col("forest").mean(), right=right.mean()))
    return rows


if __name__ == "__main__":
    main()
