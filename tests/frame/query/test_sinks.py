"""Does an answer arrive whole by every way out of Polars?"""

# ruff: noqa: E501 - one query per line reads best

from __future__ import annotations

import asyncio
import textwrap
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from tests.support import frame_world as world
from tests.support.engines import ENGINES
from tests.support.frame_faces import FACES, UNMATCHED, paired, reference, samples, serials_of, verb
from tests.support.query_shapes import CLEAR, HEAVY, PIXEL

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = tuple(range(8))
SINKS = ("parquet", "ipc", "csv", "ndjson")
FILTERS = {"all": pl.lit(value=True), "record": CLEAR, "mixed": HEAVY | CLEAR, "pixel": PIXEL}


def read_back(kind: str, path: Path, like: pl.DataFrame) -> pl.DataFrame:
    match kind:
        case "parquet":
            return pl.read_parquet(path)
        case "ipc":
            return pl.read_ipc(path)
        case "csv":
            return pl.read_csv(path, schema_overrides={**like.schema, **dict.fromkeys(("datetime", "planting", "harvest"), pl.String)}).with_columns(
                pl.col("datetime", "planting", "harvest").str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f%z", time_zone="UTC")
            )  # fmt: skip
        case _:
            return pl.read_ndjson(path).cast(dict(like.schema))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chosen", FILTERS)
@pytest.mark.parametrize("kind", SINKS)
def test_a_sink_writes_what_collect_gives(kind, chosen, engine, in_memory, tmp_path):
    unmatched = UNMATCHED[(SINKS.index(kind) + ENGINES.index(engine)) % 2]
    face = ("verb", "batched_expressions", "expressions", "struct_expression")[
        (list(FILTERS).index(chosen) + SINKS.index(kind)) % 4
    ]
    expected = reference(EVERYTHING, unmatched).filter(FILTERS[chosen])
    asked = FACES[face](in_memory, unmatched).filter(FILTERS[chosen])
    if kind == "ndjson":  # JSON knows neither NaN nor times
        keep = ["point", "record_id", "red", "nir", "swir_right"]
        asked, expected = asked.select(keep), expected.select(keep)
    path = tmp_path / f"answer.{kind}"
    getattr(asked, f"sink_{kind}")(path, engine=engine)
    got = read_back(kind, path, expected)
    assert_frame_equal(got, expected)


def test_windows_go_to_a_sink_in_small_row_groups(in_memory, tmp_path):
    shape = (5, 5)
    expected = world.windowed(
        world.points(), list(EVERYTHING), unmatched="drop", shape=shape, bands=("red",), masked=False
    )
    asked = in_memory.raster.read_windows(
        world.points(), ["red"], shape=shape, crs=4326, record_columns=world.RECORD_COLUMNS
    )
    asked.sink_parquet(tmp_path / "windows.parquet", row_group_size=16)
    assert_frame_equal(pl.read_parquet(tmp_path / "windows.parquet"), expected)


def test_a_partitioned_sink_writes_every_row(in_memory, tmp_path):
    asked = verb(in_memory, "null")
    asked.sink_parquet(pl.PartitionBy(tmp_path / "parts", key="crop", include_key=True), mkdir=True)
    got = pl.read_parquet(tmp_path / "parts/**/*.parquet", hive_partitioning=False)
    key = ["point", "serial"]
    assert_frame_equal(got.sort(key), reference(EVERYTHING, "null").sort(key), check_column_order=False)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chosen", FILTERS)
@pytest.mark.parametrize("face", FACES)
def test_batches_come_in_order_and_together_are_the_answer(face, chosen, engine, written):
    unmatched = UNMATCHED[(list(FACES).index(face) + list(FILTERS).index(chosen)) % 2]
    expected = reference(serials_of(written), unmatched).filter(FILTERS[chosen])
    asked = FACES[face](written, unmatched).filter(FILTERS[chosen])
    batches = list(asked.collect_batches(chunk_size=16, maintain_order=True, engine=engine))
    assert_frame_equal(pl.concat(batches), expected)


def test_several_queries_are_collected_together(in_memory):
    whole = reference(EVERYTHING, "null")
    frame = verb(in_memory, "null")
    queries = [
        frame.filter(CLEAR),
        frame.filter(PIXEL).select("point", "nir"),
        frame.group_by("crop", maintain_order=True).len(),
        paired(in_memory, "null").with_columns(samples()),
        frame.head(5),
    ]
    wanted = [
        whole.filter(CLEAR),
        whole.filter(PIXEL).select("point", "nir"),
        whole.group_by("crop", maintain_order=True).len(),
        whole,
        whole.head(5),
    ]
    for engine in ENGINES:
        for got, expected in zip(pl.collect_all(queries, engine=engine), wanted, strict=True):
            assert_frame_equal(got, expected)


def test_the_verbs_of_a_dataframe_give_dataframes(in_memory):
    collected = in_memory.collect()
    got = collected.raster.sample_points(world.points(), crs=4326, record_columns=world.RECORD_COLUMNS)
    assert isinstance(got, pl.DataFrame)
    assert_frame_equal(got, reference(EVERYTHING, "null"))
    typed = pr.raster(in_memory).sample_points(world.points(), crs=4326, record_columns=world.RECORD_COLUMNS)
    assert_frame_equal(typed.collect(), got)
    assert_frame_equal(
        in_memory.raster.pair(world.points(), crs=4326, unmatched="null", record_columns=world.RECORD_COLUMNS)
        .collect()
        .with_columns(samples()),
        got,
    )


@pytest.mark.parametrize("unmatched", UNMATCHED)
def test_a_query_is_awaited(unmatched, in_memory):
    async def ask() -> list[pl.DataFrame]:
        frame = verb(in_memory, unmatched)
        return await asyncio.gather(
            frame.collect_async(), frame.filter(PIXEL).collect_async(), pl.collect_all_async([frame.head(3)])
        )

    whole, bright, (few,) = asyncio.run(ask())
    expected = reference(EVERYTHING, unmatched)
    assert_frame_equal(whole, expected)
    assert_frame_equal(bright, expected.filter(PIXEL))
    assert_frame_equal(few, expected.head(3))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("face", FACES)
def test_a_query_runs_inside_a_running_event_loop(face, engine, in_memory):
    """What a notebook does: its cells run in a loop that is not ours."""

    async def cell() -> pl.DataFrame:
        return FACES[face](in_memory, "null").filter(HEAVY | CLEAR).collect(engine=engine)

    assert_frame_equal(asyncio.run(cell()), reference(EVERYTHING, "null").filter(HEAVY | CLEAR))


@pytest.mark.parametrize("unmatched", UNMATCHED)
def test_a_query_survives_being_serialised(unmatched, written):
    """Plans go to other processes as bytes; what they hold are paths and options."""
    asked = verb(written, unmatched).filter(PIXEL)
    again = pl.LazyFrame.deserialize(asked.serialize())
    assert_frame_equal(again.collect(), reference(serials_of(written), unmatched).filter(PIXEL))


def test_a_notebook_runs_the_same_queries(tmp_path, in_memory):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    for href, content in world.files().items():
        if "scene-0/" in href:
            path = tmp_path / "files" / href.removeprefix(world.PREFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    world.points().write_parquet(tmp_path / "points.parquet")
    cells = [
        f"""
        import polars as pl
        import polars_rasteret as pr
        folder = {str(tmp_path)!r}
        scene = pr.build_from_files(folder + "/files/scene-0/optical.tif", bands=["red", "nir"])
        points = pl.scan_parquet(folder + "/points.parquet")
        asked = scene.raster.sample_points(points, ["red", "nir"], crs=4326)
        """,
        """
        for engine in ("streaming", "in-memory"):
            asked.filter(pl.col("red") > 400).collect(engine=engine).write_parquet(f"{folder}/{engine}.parquet")
        """,
        """
        (await asked.filter(pl.col("red") > 400).collect_async()).write_parquet(f"{folder}/awaited.parquet")
        asked.head(3)
        asked.head(3).collect()
        """,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    expected = world.sampled(world.points(), [0], unmatched="null").filter(pl.col("red") > 400)
    for name in (*ENGINES, "awaited"):
        got = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert_frame_equal(got.select("point", "red", "nir"), expected.select("point", "red", "nir"))
