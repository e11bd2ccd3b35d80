"""Does the package show what is public, as what it is, and nothing else?"""

from __future__ import annotations

import inspect
import pydoc
from typing import get_overloads, get_type_hints

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.namespaces import frames
from polars_rasteret.namespaces.frames import RasterDataFrame, RasterLazyFrame


def test_dir_shows_the_public_names_alone_and_all_of_them_are_there():
    assert dir(pr) == sorted(pr.__all__)
    assert {"Estimate", "Description", "ByteSource"} <= set(dir(pr))
    for name in dir(pr):
        assert getattr(pr, name) is not None
    assert isinstance(pr.testing.MemorySource({}), pr.ByteSource)
    scenes = pr.testing.example_scenes()
    assert isinstance(scenes.raster.describe(), pr.Description)
    points = pl.DataFrame({"lon": [9.001], "lat": [45.15]})
    assert isinstance(pr.estimate(scenes.raster.sample_points(points, crs=4326)), pr.Estimate)


def verbs() -> list[str]:
    return [name for name, _ in inspect.getmembers(RasterLazyFrame, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", verbs())
def test_a_verb_on_a_data_frame_has_the_signature_and_docstring_of_the_lazy_one(name):
    frame = pr.testing.example_scenes().collect()
    eager, lazy = getattr(frame.raster, name), getattr(frame.lazy().raster, name)
    assert inspect.signature(eager).parameters == inspect.signature(lazy).parameters
    gives = inspect.signature(lazy).return_annotation
    assert inspect.signature(eager).return_annotation == ("pl.DataFrame" if gives == "pl.LazyFrame" else gives)
    assert eager.__doc__ == lazy.__doc__
    assert name in dir(frame.raster)
    assert name in pydoc.plain(pydoc.render_doc(RasterDataFrame))


def test_verbs_on_a_data_frame_give_data_frames():
    frame = pr.testing.example_scenes().collect()
    points = pl.DataFrame({"lon": [9.001], "lat": [45.15]})
    found = frame.raster.sample_points(points, ["red"], crs=4326)
    assert found.equals(frame.lazy().raster.sample_points(points, ["red"], crs=4326).collect())
    assert frame.raster.bands() == ["red", "nir"]
    with pytest.raises(AttributeError):
        _ = frame.raster.nothing


def test_the_namespace_shows_its_methods():
    frame = pr.testing.example_scenes()
    for shown in (repr(frame.raster), repr(frame.collect().raster)):
        assert set(verbs()) <= set(shown.strip("<>").partition(": ")[2].split(", "))


def test_type_checkers_see_what_raster_gives():
    told = [get_type_hints(one, {"pl": pl, **vars(frames)}) for one in get_overloads(pr.raster)]
    assert told == [
        {"data": pl.LazyFrame, "return": RasterLazyFrame},
        {"data": pl.Expr, "return": frames.RasterExpr},
        {"data": pl.DataFrame, "return": RasterDataFrame},
    ]
    for one in told:
        example = {pl.LazyFrame: pl.LazyFrame(), pl.Expr: pl.col("a"), pl.DataFrame: pl.DataFrame()}[one["data"]]
        assert type(pr.raster(example)) is one["return"]


def test_options_show_what_is_in_force():
    before = pr.options.timeout_s
    with pr.options(timeout_s=7.5, on_error="null"):
        assert (pr.options.timeout_s, pr.options.on_error) == (7.5, "null")
        assert "timeout_s=7.5" in repr(pr.options)
        with pr.options(timeout_s=2):
            assert pr.options.timeout_s == 2
        assert pr.options.timeout_s == 7.5
    assert pr.options.timeout_s == before
    assert "retries" in dir(pr.options)
    with pytest.raises(AttributeError, match=r"no option 'patience'.*timeout_s"):
        _ = pr.options.patience
    assert "dry_run" not in repr(pr.options)
    with pytest.raises(UsageError, match=r"pr\.options\(timeout_s=4\)"):
        pr.options.timeout_s = 4  # would show a number that is not in force
    assert pr.options.timeout_s == before


def test_a_list_of_paths_is_one_collection_in_the_order_of_the_list(tmp_path):
    scenes = pr.testing.example_scenes()
    for name in ("first", "second"):
        scenes.filter(id=name).raster.sink_collection(tmp_path / f"{name}.parquet")
    scenes.with_columns(pl.col("id") + "-folder").raster.sink_collection(tmp_path / "folder")
    paths = [tmp_path / "second.parquet", str(tmp_path / "first.parquet"), tmp_path / "folder"]
    found = pr.scan_collection(paths).collect()
    assert found["id"].to_list()[:2] == ["second", "first"]
    assert sorted(found["id"].to_list()[2:]) == ["first-folder", "second-folder"]
    points = pl.DataFrame({"lon": [9.001], "lat": [45.15]})
    assert pr.scan_collection(paths[:2]).raster.sample_points(points, ["red"], crs=4326).collect().height == 2


def test_lists_of_paths_that_name_nothing_are_refused(tmp_path):
    with pytest.raises(UsageError, match="empty"):
        pr.scan_collection([])
    for wrong in (None, 5, b"x", [None], [[tmp_path]], ["here", 5]):
        with pytest.raises(UsageError, match=r"path is|nothing is at"):
            pr.scan_collection(wrong)
    pr.testing.example_scenes().raster.sink_collection(tmp_path / "there.parquet")
    with pytest.raises(UsageError, match="gone"):
        pr.scan_collection([tmp_path / "there.parquet", tmp_path / "gone.parquet"])
