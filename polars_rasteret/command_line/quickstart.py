"""Which command shows a first query, and its answer, on the images that come with the package?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

import polars_rasteret as pr

if TYPE_CHECKING:
    from argparse import Namespace

PROGRAM = """\
import polars as pl

import polars_rasteret as pr

scenes = pr.build_from_files(pr.example_data())  # thirteen days of one forest, some of them cloudy
plots = pl.DataFrame({"plot": ["cut in 2019", "not cut"], "lon": [22.15147, 22.15756], "lat": [45.20292, 45.20172]})
clear = pl.col("scl").is_in([4, 5])  # vegetation or bare ground, as Sentinel-2 classifies pixels
ndvi = (
    scenes.raster.sample_points(plots, ["red", "nir"], crs=4326, valid=clear)
    .with_columns(ndvi=pr.normalized_difference("nir", "red"))
    .select("plot", pl.col("datetime").dt.date().alias("day"), "ndvi")
)
"""
LAST_LINE = 'print(ndvi.collect().pivot("plot", index="day", values="ndvi"))'


def add_to(commands: Any) -> None:
    """Add the command to the parser of all commands."""
    quickstart = commands.add_parser(
        "quickstart",
        help="a first query on real images that come with the package",
        description="Print a first query and its answer: NDVI of two places in a forest. It needs no network and no files.",
    )
    quickstart.set_defaults(run=_quickstart, progress=None)


def _quickstart(args: Namespace) -> None:
    del args
    print(f"{PROGRAM}{LAST_LINE}\n")
    names: dict[str, Any] = {}
    exec(PROGRAM, names)  # noqa: S102 - what is printed is what runs
    with pr.profile() as profile, pl.Config(tbl_rows=20, tbl_formatting="UTF8_FULL_CONDENSED"):
        exec(LAST_LINE, names)  # noqa: S102
    read, images = profile.summary().row(0, named=True), sorted(pr.example_data().glob("*.tif"))
    n_bytes = sum(image.stat().st_size for image in images)
    print(f"\nnull: a cloud. Read in {read['requests']} requests: {read['bytes']:,} of {n_bytes:,} bytes")
    print(f"of the {len(images)} images in {pr.example_data()}")
