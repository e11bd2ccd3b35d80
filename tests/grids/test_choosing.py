"""Is the band whose grid the others come onto the one that was asked for?"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.grids.choosing import check_grid, grid_bands
from polars_rasteret.pixels.rasters.raster_column import raster_columns_of

UTM, DEGREES, FEET = 32632, 4326, 2263


def _column(name: str, grids: list[tuple[int, float] | None]) -> pl.Series:
    """A raster column whose rows have these CRSs and pixel sizes; None: no raster."""
    files = {
        f"memory://grids-{name}/{at}.tif": pr.testing.make_cog(
            np.zeros((4, 4), np.uint8), epsg=grid[0], transform=(grid[1], 0, 9, 0, -grid[1], 50)
        )
        for at, grid in enumerate(grids)
        if grid is not None
    }
    pr.configure_store(f"memory://grids-{name}/", store=pr.testing.MemorySource(files))
    hrefs = [None if grid is None else f"memory://grids-{name}/{at}.tif" for at, grid in enumerate(grids)]
    table = pl.DataFrame({"id": [str(at) for at in range(len(grids))], "href": pl.Series(hrefs, dtype=pl.String)})
    return pr.build_from_table(table, bands={name: "href"}).collect().sort("id")[name]


def _chosen(grid: str, **bands: list[tuple[int, float] | None]) -> list[int]:
    columns = raster_columns_of([_column(name, grids) for name, grids in bands.items()])
    return grid_bands([one.grids_of(one.reference_id) for one in columns], list(bands), grid).tolist()


@pytest.mark.parametrize(
    ("grid", "wanted"), [("finest", [1, 0, 0, 2, -1]), ("coarsest", [2, 0, 2, 2, -1]), ("a", [0, 0, 0, 2, -1])]
)
def test_the_finest_or_coarsest_of_the_bands_a_row_has_is_chosen_and_the_first_of_equals(grid, wanted):
    assert _chosen(
        grid,
        a=[(UTM, 20.0), (UTM, 10.0), (UTM, 10.0), None, None],
        b=[(UTM, 10.0), (UTM, 10.0), (UTM, 10.0 * (1 + 1e-9)), None, None],
        c=[(UTM, 60.0), None, (UTM, 20.0), (UTM, 60.0), None],
    ) == wanted  # fmt: skip


def test_sizes_in_other_units_are_compared_in_metres():
    """A thousandth of a degree is about 111 m here, 300 feet are about 91 m."""
    bands = {
        "a": [(UTM, 100.0), (UTM, 100.0), (DEGREES, 0.001)],
        "b": [(DEGREES, 0.001), (FEET, 300.0), (DEGREES, 0.0005)],
    }
    assert _chosen("finest", **bands) == [1, 1, 1]  # 0.001 degrees at 50 N: 111 m times the root of cos(50)
    assert _chosen("coarsest", **bands) == [0, 0, 0]
    near = {"a": [(UTM, 80.0)], "b": [(DEGREES, 0.001)]}
    assert _chosen("finest", **near) == [0]


def test_a_grid_that_is_no_band_is_refused():
    check_grid("read_windows", "b", ["a", "b"])
    with pytest.raises(UsageError, match="grid='c'"):
        check_grid("read_windows", "c", ["a", "b"])
