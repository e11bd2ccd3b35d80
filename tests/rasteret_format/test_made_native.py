"""Does a collection of rasteret become one of this package, as good as if it had been built here?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.tiff.tile_flags import is_borrowed
from tests.support import recorded
from tests.support.rasteret_answers import agrees
from tests.support.rasteret_tables import known, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def theirs(tmp_path):
    """Give a copy of the bundled collection of rasteret."""
    return Path(shutil.copytree(ROOT / "examples" / "data" / "rasteret", tmp_path / "theirs"))


def rasters(lf):
    return lf.select(lf.raster.bands()).collect()


def built(folder):
    (file,) = (folder / "tif").iterdir()
    return pr.build_from_files([file], bands=["R", "G", "B", "NIR"])


def test_a_sink_writes_what_a_build_writes(theirs, tmp_path):
    pr.scan_collection(theirs).raster.sink_collection(tmp_path / "own")
    own = pr.scan_collection(tmp_path / "own")
    assert rasters(own).equals(rasters(built(theirs)))
    agrees(own, json.loads((theirs / "oracle.json").read_text()), "streaming")


def test_refresh_turns_the_parts_into_native_ones_in_their_folders(theirs):
    with pytest.raises(UsageError, match=r"pr\.refresh"):
        pr.compact(theirs / "collection")
    with pytest.raises(UsageError, match=r"sink_collection"):
        pr.remove(theirs / "collection", pl.col("id") == "x")
    with pytest.raises(UsageError, match=r"written by rasteret"):
        built(theirs).raster.sink_collection(theirs, mode="append")
    refreshed = pr.refresh(theirs)
    assert rasters(refreshed).equals(rasters(built(theirs)))
    (part,) = theirs.rglob("*.parquet")
    assert part.parent.parts[-2:] == ("year=2020", "month=4")
    assert refreshed.select("id", "year", "month", "label").collect().row(0) == ("m_3211605", 2020, 4, "farm")
    agrees(refreshed, json.loads((theirs / "oracle.json").read_text()), "in-memory")
    before = part.read_bytes()
    pr.refresh(theirs)
    assert part.read_bytes() == before


def test_scale_and_offset_of_the_file_come_with_the_header_and_are_used_before(tmp_path):
    path = ROOT / "tests" / "data" / "derived" / "i16_scale_offset.tif"
    native = pr.build_from_files([path], bands=["B"])
    row = rasters(native)["B"][0]
    facts = known(
        image_width=row["width"],
        image_height=row["height"],
        tile_width=64,
        tile_height=64,
        dtype="int16",
        transform=[row["transform"][one] for one in (0, 2, 4, 5)],
        nodata=None,
    )
    made = table([{"B": (str(path), facts), "epsg": int(row["crs"].removeprefix("EPSG:"))}], ["B"])
    made = made.drop_columns(["bbox", "geometry"])  # they are elsewhere
    x, y = row["transform"][2] + 1.5 * row["transform"][0], row["transform"][5] + 1.5 * row["transform"][4]
    point = pl.DataFrame({"x": [x], "y": [y]})

    def value(lf):
        return lf.raster.sample_points(point, ["B"], crs=row["crs"], unscale=True).collect()["B"].item()

    scenes = pr.scan_collection(made)
    assert value(scenes) == value(native) is not None
    scenes.raster.sink_collection(tmp_path / "own")
    assert rasters(pr.scan_collection(tmp_path / "own")).equals(rasters(native))


def test_a_header_that_cannot_be_read_leaves_the_raster_as_it_was_until_refresh(tmp_path):
    pixels = recorded.noise(4)
    here = known(image_width=512, image_height=512, tile_width=128, tile_height=128)
    made = table([{"R": (str(tmp_path / "a.tif"), here)}, {"R": (str(tmp_path / "b.tif"), here)}, {"R": None}], ["R"])
    (tmp_path / "a.tif").write_bytes(recorded.tiff(pixels))
    pq.write_table(made, tmp_path / "theirs.parquet")
    scenes = pr.scan_collection(tmp_path / "theirs.parquet")
    with pytest.warns(RuntimeWarning, match=r"^1 rasters keep .*b\.tif"):
        scenes.raster.sink_collection(tmp_path / "own")

    def borrowed():
        frame = pr.scan_collection(tmp_path / "own").collect().sort("id")
        return [None if one is None else is_borrowed(one) for one in frame["R"].struct.field("tiles")]

    assert borrowed() == [False, True, None]
    (tmp_path / "b.tif").write_bytes(recorded.tiff(pixels))
    pr.refresh(tmp_path / "own")
    assert borrowed() == [False, False, None]
