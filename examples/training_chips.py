"""From a table of places to a trained model: does colour alone show where plants grow? Offline, on ``examples/data``.

Near infrared tells plants from the rest, so NDVI at each place is the label; the model sees red, green and blue around it. Run it
with ``python examples/training_chips.py`` (``pip install "polars-rasteret[torch]"``); it writes ``examples/output/chips.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from imagecodecs import png_encode
from torch import nn
from torch.utils.data import DataLoader

import polars_rasteret as pr

HERE = Path(__file__).resolve().parent
SIZE, PLACES = 16, 400
GREEN, OTHER = np.array((0, 150, 60), np.uint8), np.array((150, 110, 70), np.uint8)


def places_in(scenes: pl.LazyFrame) -> pl.DataFrame:
    """Draw places in every record; a fifth of them is kept for the test."""
    rng = np.random.default_rng(7)
    boxes = scenes.select(pl.col("bbox").struct.unnest()).collect().to_numpy()
    xmin, ymin, xmax, ymax = np.repeat(boxes, PLACES, axis=0).T
    return pl.DataFrame(
        {
            "lon": rng.uniform(xmin, xmax),
            "lat": rng.uniform(ymin, ymax),
            "split": rng.choice(["train", "test"], len(xmin), p=[0.8, 0.2]),
        }
    )


def as_colours(sample: dict[str, Any]) -> dict[str, Any]:
    """Scale bytes to 0..1."""
    return {**sample, "image": sample["image"].float() / 255}


def main(output: Path) -> None:
    scenes = pr.build_from_files(HERE / "data" / "*.tif", bands=["red", "green", "blue", "nir"])

    # Labels are a query: NDVI at each place that has an image.
    labelled = (
        scenes.raster.sample_points(places_in(scenes), ["red", "nir"], crs=4326, unmatched="drop", record_columns=[])
        .with_columns(green=(pr.normalized_difference("nir", "red") > 0.1).cast(pl.Int64))
        .drop_nulls("green")
        .select("lon", "lat", "split", "green")
        .collect()
    )
    datasets = {
        split: scenes.raster.to_torch(
            labelled,
            ["red", "green", "blue"],
            shape=(SIZE, SIZE),
            crs=4326,
            label="green",
            split=split,
            transform=as_colours,
        )
        for split in ("train", "test")
    }

    torch.manual_seed(1)
    torch.set_num_threads(1)  # so small a model is faster so
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(12):
        for batch in DataLoader(datasets["train"], batch_size=64, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch["image"]), batch["label"]).backward()
            optimizer.step()

    test = next(iter(DataLoader(datasets["test"], batch_size=len(datasets["test"]))))
    with torch.no_grad():
        score = model(test["image"]).softmax(1)[:, 1]
    is_right = (score > 0.5) == test["label"].bool()
    guess = max(test["label"].double().mean().item(), 1 - test["label"].double().mean().item())
    print(f"{len(datasets['train'])} chips to learn from, {len(is_right)} to test")
    print(f"right: {is_right.double().mean().item():.0%} (always the commoner class: {guess:.0%})")
    output.mkdir(exist_ok=True)
    draw(test["image"].numpy(), test["label"].numpy(), score.numpy(), output / "chips.png")


def draw(images: np.ndarray, labels: np.ndarray, score: np.ndarray, path: Path) -> None:
    """Draw chips from the least to the most likely green one, framed by what they are."""
    n_columns = 20
    n_rows = len(images) // n_columns
    chosen = np.argsort(score)[np.linspace(0, len(images) - 1, n_rows * n_columns).astype(int)]
    cell = SIZE * 2 + 6
    canvas = np.full((n_rows * cell, n_columns * cell, 3), 255, np.uint8)
    for place, chip in enumerate(chosen):
        row, col = (cell * one for one in divmod(place, n_columns))
        canvas[row + 1 : row + cell - 1, col + 1 : col + cell - 1] = GREEN if labels[chip] else OTHER
        pixels = (images[chip].transpose(1, 2, 0) * 255).astype(np.uint8)
        canvas[row + 3 : row + 3 + SIZE * 2, col + 3 : col + 3 + SIZE * 2] = pixels.repeat(2, axis=0).repeat(2, axis=1)
    path.write_bytes(png_encode(canvas))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "output")
