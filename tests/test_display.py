"""Do descriptions, comparisons and estimates show the same facts in a terminal, in a notebook and as values?"""

from __future__ import annotations

import datetime as dt
import json
from html.parser import HTMLParser

import polars as pl
import pytest

import polars_rasteret as pr
from tests.support.collection_frames import grid_of_scenes

ODD = "<b>x & 'y'</b>"


class Cells(HTMLParser):
    """Reads the rows of a table; another tag than those of a table is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag in ("table", "tr", "th", "td")
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag != "table":
            self.rows[-1].append("")

    def handle_data(self, data):
        self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def shown() -> dict:
    scenes = grid_of_scenes(6, 4).with_columns(collection=pl.lit(ODD)).lazy()
    example = pr.testing.example_scenes()
    points = pl.DataFrame({"x": [500_005.0], "y": [4_999_995.0]})
    return {
        "describe": scenes.raster.describe(),
        "compare_to_catalog": scenes.raster.compare_to_catalog("earthsearch/sentinel-2-l2a"),
        "estimate": pr.estimate(example.raster.sample_points(points, ["red"], crs=32632)),
    }


@pytest.mark.parametrize("name", ["describe", "compare_to_catalog", "estimate"])
def test_a_notebook_shows_the_cells_that_a_terminal_shows(name):
    told = shown()[name]
    words = {True: "yes", False: "no", None: ""}
    cells = [[words.get(cell, cell) for cell in row] for row in told.table.iter_rows()]
    if told.table.width > 2:
        cells.insert(0, told.table.columns)
    page = Cells()
    page.feed(told._repr_html_())
    assert page.open == []
    assert page.rows == cells
    lines = str(told).splitlines()
    assert len(lines) == len(cells)
    assert all(cell in line for row, line in zip(cells, lines, strict=True) for cell in row)
    starts = [line.index(row[1]) for row, line in zip(cells, lines, strict=True) if row[1]]
    assert len(set(starts)) == 1, "columns are aligned"


def test_a_description_is_plain_values_too():
    told = shown()["describe"]
    assert told["n_records"] == told.data["n_records"] == told.n_records == 24
    assert told["bands"] == {"red": "UInt8"}
    assert told["start"] == dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    assert told["collections"] == [ODD]
    assert json.loads(json.dumps(told.data, default=str))["bounds"] == list(told.bounds)
    with pytest.raises(KeyError):
        told["nothing"]
