"""Use the package as a typed program does: `mypy --strict` passes, and each `type: ignore` marks a mistake that it finds."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

import polars_rasteret as pr


def ndvi(scenes: pl.LazyFrame, plots: pl.DataFrame) -> pl.LazyFrame:
    """Return the latest clear NDVI of each plot."""
    clear = pl.col("scl").is_in([4, 5])
    samples = pr.raster(scenes).sample_points(plots, ["red", "nir"], crs=4326, valid=clear, match="latest")
    return samples.with_columns(ndvi=pr.normalized_difference("nir", "red"))


def mistakes(scenes: pl.LazyFrame, plots: pl.DataFrame) -> None:
    """Make mistakes that a type checker finds; `mypy --strict` complains of an ignore that is not needed."""
    pr.raster(scenes).sample_points(plots, crs=4326, match="newest")  # type: ignore[arg-type]
    pr.raster(scenes).sampel_points(plots)  # type: ignore[attr-defined]
    scenes.raster.bands()  # type: ignore[attr-defined]  # checkers do not see registered namespaces: pr.raster(scenes)


def main(folder: Path) -> float:
    """Use what is public, and return the first NDVI."""
    scenes = pr.build_from_files(pr.example_data())
    pr.raster(scenes).sink_collection(folder / "forest.parquet", mode="overwrite")
    scenes = pr.scan_collection(folder / "forest.parquet").filter(
        pl.col("datetime") > dt.datetime(2018, 1, 1, tzinfo=dt.UTC)
    )
    plots = pl.DataFrame({"lon": [22.15147], "lat": [45.20292]})
    query = ndvi(scenes, plots)
    cost: pr.Estimate = pr.estimate(query)
    with pr.options(max_concurrency=8), pr.profile() as profile:
        table: pl.DataFrame = query.collect()
    bands: list[str] = pr.raster(scenes).bands()
    chips = pr.raster(scenes).read_windows(
        [(22.15, 45.2, 22.151, 45.201)], bands[:2], crs=4326, shape=(8, 8), stack=True
    )
    pixels, rows = pr.to_numpy(chips)
    frame: pl.DataFrame = pr.raster(scenes.collect()).sample_points(plots, "red", crs=4326)
    value: pl.Expr = pr.raster(pl.col("red")).sample_points(22.15, 45.2, crs=4326)
    handle = pr.open(pr.example_data() / "forest_20190706.tif")
    print(
        cost.requests,
        profile.summary(),
        pixels.shape,
        rows.height,
        frame.height,
        scenes.select(value).collect(),
        handle.bounds,
    )
    try:
        pr.scan_collection("nowhere")
    except pr.errors.UsageError as error:
        print(error)
    return float(table["ndvi"][0])


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print(main(Path(name)))
