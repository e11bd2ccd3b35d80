"""Does the first query of the shell print a program that gives what is printed below it?"""

from __future__ import annotations

import re

import rasterio
from rasterio.warp import transform

import polars_rasteret as pr


def test_the_printed_program_gives_the_printed_table(run, capsys):
    said = run("quickstart")
    assert said.code == 0
    assert said.err == ""
    program, table = said.out.split("\n\nshape", maxsplit=1)
    exec(program, {})
    printed_by_program = capsys.readouterr().out
    rows = re.findall(r"\d{4}-\d\d-\d\d", printed_by_program)
    assert rows
    assert set(rows) <= set(re.findall(r"\d{4}-\d\d-\d\d", table))


def test_the_table_is_what_rasterio_reads(run):
    said = run("quickstart").out
    for path in sorted(pr.example_data().glob("*.tif")):
        with rasterio.open(path) as file:
            (place,) = zip(*transform(4326, file.crs, [22.15147], [45.20292]), strict=True)
            _, _, red, nir, scl = (float(value) for value in next(file.sample([place])))
        day = f"{path.stem[-8:-4]}-{path.stem[-4:-2]}-{path.stem[-2:]}"
        (shown,) = re.findall(rf"{day} ┆ (\S+) ", said)
        assert shown == "null" if scl not in (4, 5) else abs(float(shown) - (nir - red) / (nir + red)) < 1e-5
