"""Does a query open only the parts that it needs, and never miss a row, whatever has become of parts and manifest?"""

from __future__ import annotations

import contextlib
import datetime as dt
import secrets
import shutil
import threading
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.dataset
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.collection.queries.extent import with_places
from polars_rasteret.collection.storage import parts_manifest
from polars_rasteret.collection.storage.part_facts import PartFacts, facts_in, facts_text
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.collection.storage.parts_manifest import FEWEST_PARTS, MANIFEST, manifest_metadata, with_facts
from polars_rasteret.collection.writing import noted_parts, sink
from polars_rasteret.collection.writing.deletion import delete_collection
from polars_rasteret.collection.writing.publishing import part_bytes
from polars_rasteret.distribute.cutting.cut import cut
from polars_rasteret.distribute.cutting.cut_query import in_period, part_query
from polars_rasteret.distribute.cutting.parts import Period
from polars_rasteret.distribute.cutting.provable_steps import cut_read
from polars_rasteret.errors import FileFormatError
from polars_rasteret.schema import TIME
from tests.support.collection_frames import raster_column
from tests.support.engines import ENGINES
from tests.support.object_server import ObjectServer

DAY_ZERO = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
BOTH = pytest.mark.parametrize("engine", ENGINES)


def scenes(*numbers: int, year: int = 2024) -> pl.DataFrame:
    """Give a record of 1 x 1 degree every 3 degrees and every day."""
    return with_places(
        pl.DataFrame(
            {
                "id": [f"s{number}" for number in numbers],
                "datetime": pl.Series([day(number) for number in numbers], dtype=TIME),
                "number": pl.Series(numbers, dtype=pl.Int64),
                "year": pl.Series([year] * len(numbers), dtype=pl.Int64),
                "red": raster_column("red", [place(number) for number in numbers]),
            }
        )
    )


def day(number: int) -> dt.datetime:
    return DAY_ZERO + dt.timedelta(days=number)


def place(number: int) -> tuple[float, float]:
    return (-179.0 + 3 * number % 350, 40.0)


def box(number: int) -> tuple[float, float, float, float]:
    west, north = place(number)
    return (west + 0.4, north - 0.6, west + 0.6, north - 0.4)


def append(path, frame, **options):
    frame.lazy().raster.sink_collection(path, mode="append", **options)


@contextlib.contextmanager
def without_manifest():
    """Let writers end before their last step, as killed ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sink, "note_parts", lambda *_, **__: None)
        yield


@pytest.fixture
def small(monkeypatch):
    """Let collections of two parts have a manifest."""
    monkeypatch.setattr(parts_manifest, "FEWEST_PARTS", 2)
    monkeypatch.setattr(noted_parts, "FEWEST_PARTS", 2)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """Give a server with a collection of 50 parts of a record each; all but one were there before there were manifests."""
    folder = tmp_path_factory.mktemp("parts")
    append(folder, scenes(*range(49)).with_columns(part=pl.int_range(49)), partition_by="part")
    with ObjectServer() as server:
        for part in folder.rglob("part-*.parquet"):
            server.files[f"bucket/c/{part.name}"] = part.read_bytes()
        append("s3://bucket/c", scenes(49), storage_options=server.options)
        yield server


def opened(server: ObjectServer) -> list[str]:
    """Give the names of the objects asked for, once per request; a listing is ``bucket``."""
    return sorted(seen.path.rpartition("/")[2] for seen in server.requests)


def narrow(scan, what):
    """Give a scan of the record 7 alone, and perhaps its neighbour."""
    if what == "place":
        return scan.raster.intersects(box(7))
    if what == "subset":
        return scan.raster.subset(bbox=box(7), datetime=(day(7), day(7)))
    if what == "box fields":
        return scan.filter(pl.col("bbox").struct.field("xmin").is_between(place(7)[0] - 1, place(7)[0] + 1))
    return scan.filter(pl.col("datetime") >= day(7), pl.col("datetime") < day(8))


@BOTH
@pytest.mark.parametrize("what", ["place", "subset", "box fields", "time"])
def test_a_query_of_one_place_or_time_opens_the_manifest_and_one_part_of_fifty(bucket, what, engine):
    bucket.clear()
    scan = pr.scan_collection("s3://bucket/c", storage_options=bucket.options)
    assert opened(bucket) == [MANIFEST, "bucket"]
    bucket.clear()
    assert narrow(scan, what).select("id").collect(engine=engine)["id"].to_list() == ["s7"]
    assert len(set(opened(bucket))) == 1
    assert len(opened(bucket)) <= 2
    bucket.clear()
    point = pl.DataFrame({"lon": [place(7)[0] + 0.5], "lat": [place(7)[1] - 0.5]})
    assert scan.raster.pair(point, crs=4326).select("record_id").collect(engine=engine)["record_id"].to_list() == ["s7"]
    assert len(set(opened(bucket))) == 1


def test_a_manifest_is_written_from_the_eighth_part_on_and_goes_when_parts_are_joined(tmp_path):
    for number in range(FEWEST_PARTS):
        assert not list((tmp_path / "c").rglob(MANIFEST))
        append(tmp_path / "c", scenes(number))
    assert (tmp_path / "c" / MANIFEST).is_file()
    known = with_facts(parts_at(tmp_path / "c"))
    assert [part.facts.n_rows for part in known if part.facts] == [1] * FEWEST_PARTS
    pr.compact(tmp_path / "c")
    assert [one.name[:5] for one in (tmp_path / "c").iterdir()] == ["part-"]
    pr.remove(tmp_path / "c", pl.col("number") > 0)
    append(tmp_path / "hive", scenes(*range(9)).with_columns(year=pl.int_range(9)), partition_by="year")
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob(MANIFEST)] == [f"hive/year=0/{MANIFEST}"]
    pr.remove(tmp_path / "hive", pl.col("year") == 0)
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob(MANIFEST)] == [f"hive/year=1/{MANIFEST}"]
    delete_collection(tmp_path / "hive")
    assert not [one for one in (tmp_path / "hive").rglob("*") if one.is_file()]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("keys", [None, "year"])
def test_other_programs_take_no_row_from_a_manifest(tmp_path, keys):
    folder = tmp_path / "c"
    for number in range(3):
        append(folder, scenes(number, year=2020 + number), partition_by=keys)
    assert list(folder.rglob(MANIFEST))
    assert sorted(pl.scan_parquet(folder).collect()["year"]) == [2020, 2021, 2022]
    assert sorted(pl.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=True)["id"]) == ["s0", "s1", "s2"]
    arrow = pyarrow.dataset.dataset(folder, partitioning="hive")
    assert sorted(arrow.to_table()["year"].to_pylist()) == [2020, 2021, 2022]
    rows = duckdb.sql(f"select id, year from read_parquet('{folder}/**/*.parquet') order by id").fetchall()
    assert rows == [("s0", 2020), ("s1", 2021), ("s2", 2022)]
    assert pr.list_collections(tmp_path)["parts"].to_list() == [3]


@BOTH
@pytest.mark.usefixtures("small")
def test_parts_without_box_or_time_are_opened_and_boxes_over_the_antimeridian_are_met(tmp_path, engine):
    plain = scenes(0, 1)
    sides = dict(plain["bbox"][0])
    around = pl.Series([sides | {"xmin": 179.5, "xmax": -179.5}] * 2, dtype=plain["bbox"].dtype)
    parts = {
        "plain": plain,
        "no time": plain.with_columns(datetime=pl.lit(None, TIME)),
        "one time": plain.with_columns(datetime=pl.when(number=0).then("datetime")),
        "no box": plain.with_columns(bbox=pl.lit(None, plain["bbox"].dtype)),
        "one box": plain.with_columns(bbox=pl.when(number=0).then("bbox")),
        "around": plain.with_columns(bbox=around),
        "far": scenes(50, 51),
    }
    for name, frame in parts.items():
        append(tmp_path / "c", frame.with_columns(id=pl.format("{} {}", pl.lit(name), "number")))
    assert all(part.facts for part in with_facts(parts_at(tmp_path / "c")))
    scan = pr.scan_collection(tmp_path / "c")
    (tmp_path / "c" / MANIFEST).unlink()
    without = pr.scan_collection(tmp_path / "c")
    xmin, xmax = (pl.col("bbox").struct.field(side) for side in ("xmin", "xmax"))
    wanted = {
        "no time": pl.col("datetime").is_null(),
        "time": pl.col("datetime") == day(0),
        "no box": pl.col("bbox").is_null(),
        "no side": xmin.is_null(),
        "around": xmin > xmax,
        "either": (pl.col("datetime") == day(50)) | xmin.is_null(),
        "not": ~(pl.col("datetime") == day(0)),
    }
    ids = {}
    for name, predicate in wanted.items():
        ids[name] = scan.filter(predicate).select("id").collect(engine=engine)["id"].to_list()
        assert ids[name] == without.filter(predicate).select("id").collect(engine=engine)["id"].to_list()
    ids = {name: sorted(found) for name, found in ids.items()}
    assert ids["no time"] == ["no time 0", "no time 1", "one time 1"]
    assert ids["no side"] == ["no box 0", "no box 1", "one box 1"]
    assert ids["around"] == ["around 0", "around 1"]
    for where in ((179.6, 39.1, 179.9, 39.9), (-179.9, 39.1, -179.6, 39.9), box(0), box(51)):
        found = scan.raster.intersects(where).select("id").collect(engine=engine)
        assert_frame_equal(found, without.raster.intersects(where).select("id").collect(engine=engine))
    # A verb looks up the place of a record without a box in the image itself.
    point = pl.DataFrame({"lon": [place(0)[0] + 0.5], "lat": [39.5]})
    paired = scan.raster.pair(point, crs=4326).select("record_id").collect(engine=engine)["record_id"]
    assert {"plain 0", "no box 0", "one box 0"} <= set(paired)


@BOTH
@pytest.mark.usefixtures("small")
def test_questions_of_any_kind_have_the_rows_of_the_collection(tmp_path, engine):
    for number in range(4):
        append(tmp_path / "c", scenes(3 * number, 3 * number + 1, 3 * number + 2))
    scan = pr.scan_collection(tmp_path / "c")
    assert "Parquet SCAN" in scan.explain(optimized=False)
    (tmp_path / "c" / MANIFEST).unlink()
    without = pr.scan_collection(tmp_path / "c")
    late = pl.col("datetime") > day(5)
    for ask in (
        lambda lf: lf.with_row_index("at").filter(pl.col("at") == 7).select("at", "id"),
        lambda lf: lf.with_row_index("datetime_at").filter(late).select("datetime_at", "id"),
        lambda lf: lf.filter(late).with_row_index("at").select("at", "id"),
        lambda lf: lf.slice(4, 3).select("id"),
        lambda lf: lf.filter(late).head(2).select("id"),
        lambda lf: lf.tail(2).select("id"),
        lambda lf: lf.filter(late).select(pl.len()),
        lambda lf: lf.sort("datetime", descending=True).head(2).select("id"),
        lambda lf: (
            lf.rename({"datetime": "number", "number": "datetime"}).filter(pl.col("number") > day(5)).select("id")
        ),
        lambda lf: lf.with_columns(pl.col("datetime").dt.offset_by("3d")).filter(late).select("id"),
        lambda lf: lf.filter(pl.col("datetime").dt.date().is_in([dt.date(2024, 1, 3)])).select("id"),
        lambda lf: lf.filter(pl.col("datetime").dt.epoch("us") == 0).select("id"),
        lambda lf: lf.join(lf.filter(late).select("id"), on="id", how="semi").select("id"),
    ):
        assert_frame_equal(ask(scan).collect(engine=engine), ask(without).collect(engine=engine))


STEPS = st.sampled_from(
    [
        "append",
        "killed",
        "remove",
        "compact",
        "foreign part",
        "moved part",
        "part gone",
        "part edited",
        "no manifest",
        "damaged",
        "old manifest",
        "overwrite",
    ]
)


@pytest.mark.parametrize("keys", [None, "year"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=7), seed=st.integers(0, 2**16))
@pytest.mark.usefixtures("small")
def test_no_row_is_missed_or_doubled_whatever_becomes_of_parts_and_manifest(tmp_path, keys, steps, seed):
    chance = np.random.default_rng(seed)
    world = tmp_path / secrets.token_hex(8)
    folder = world / "c"
    numbers = iter(range(1_000))

    def more(mode="append"):
        frame = scenes(*[next(numbers) for _ in range(3)], year=2020 + int(chance.integers(3)))
        frame.lazy().raster.sink_collection(folder, mode=mode, partition_by=keys)

    def part():
        return chance.choice(sorted(folder.rglob("part-*.parquet")))

    def added(name):
        append(world / "other", scenes(next(numbers), year=2020), partition_by=keys)
        [source] = (world / "other").rglob("part-*.parquet")
        place = folder / source.relative_to(world / "other").parent
        place.mkdir(exist_ok=True)
        shutil.move(source, place / (name or source.name))

    more()
    more()
    old = b""
    for step in steps:
        manifest = next(folder.rglob(MANIFEST), None)
        if manifest is not None and chance.integers(2):
            old = manifest.read_bytes()
        match step:
            case "append":
                more()
            case "overwrite":
                more("overwrite")
            case "killed":
                with without_manifest():
                    more()
            case "remove":
                pr.remove(folder, pl.col("number") % 5 == int(chance.integers(5)))
            case "compact":
                pr.compact(folder)
            case "foreign part" | "moved part":
                added(f"{next(numbers)}.parquet" if step == "foreign part" else None)
            case "part gone":
                if len(list(folder.rglob("part-*.parquet"))) > 1:
                    part().unlink()
            case "part edited":
                file = part()
                later = pl.read_parquet(file).with_columns(pl.col("datetime") + dt.timedelta(days=40))
                later.drop("geometry").with_columns(geometry=pl.lit(b"")).write_parquet(file)
            case "no manifest" if manifest is not None:
                manifest.unlink()
            case "damaged" if manifest is not None:
                data = bytearray(manifest.read_bytes())
                data[int(chance.integers(len(data)))] ^= 0xFF
                manifest.write_bytes(data)
            case "old manifest" if manifest is not None and old:
                manifest.write_bytes(old)
        check(folder, chance)
    shutil.rmtree(world)


def check(folder: Path, chance) -> None:
    """Compare what a scan finds with what is in the files of the parts."""
    files = sorted(one for one in folder.rglob("*.parquet") if one.name[0] != "_")
    columns = ["id", "datetime", pl.col("bbox").struct.field("xmin")]
    rows = pl.concat([pl.read_parquet(one, columns=["id", "datetime", "bbox"]).select(columns) for one in files])
    assert rows["id"].is_unique().all()
    scan = pr.scan_collection(folder)
    middle, west = rows["datetime"][int(chance.integers(rows.height))], rows["xmin"][int(chance.integers(rows.height))]
    time, xmin = pl.col("datetime"), pl.col("bbox").struct.field("xmin")
    for inside, of_rows in (
        (pl.lit(value=True), pl.lit(value=True)),
        (time == middle, time == middle),
        (time > middle, time > middle),
        (xmin <= west, pl.col("xmin") <= west),
        ((xmin == west) | (time < middle), (pl.col("xmin") == west) | (time < middle)),
    ):
        assert sorted(scan.filter(inside).select("id").collect()["id"]) == sorted(rows.filter(of_rows)["id"])


def facts(**changes) -> PartFacts:
    """Give the facts of a part of one row."""
    frame = scenes(0)
    known = {
        "columns": dict(frame.schema),
        "schema_file": part_bytes(frame.clear(), {}),
        "n_rows": 1,
        "hints": "",
        "empty_bands": frozenset({"red"}),
        "ranges": {
            "datetime": (0, 2**40, 0),
            **{f"bbox.{side}": (0.5, 1.5, 0) for side in ("xmin", "ymin", "xmax", "ymax")},
        },
    }
    return PartFacts(**{**known, **changes})


def test_what_is_known_of_parts_is_read_as_it_was_written():
    known = {
        "part-a.parquet": (10, facts()),
        "part-b.parquet": (2**40, facts(hints="h", ranges={"datetime": (None, None, 1)})),
    }
    read = facts_in(facts_text(known))
    assert read.keys() == known.keys()
    for name, (n_bytes, one) in known.items():
        columns = dict(pl.scan_parquet(one.schema_file).collect_schema())
        assert (read[name][0], read[name][1].columns) == (n_bytes, columns)
        for field in ("schema_file", "n_rows", "hints", "empty_bands"):
            assert getattr(read[name][1], field) == getattr(one, field)
        assert {column: tuple(ends) for column, ends in read[name][1].ranges.items()} == one.ranges


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": {"datetime": (0.5, 1.0, 0)}},
        {"ranges": {"datetime": (0, 2**70, 0)}},
        {"ranges": {"bbox.xmin": (float("nan"), 1.0, 0)}},
        {"ranges": {"datetime": (True, 1, 0)}},
        {"ranges": {"datetime": (0, 1)}},
        {"ranges": {"datetime": (0, 1, -1)}},
        {"n_rows": -1},
        {"n_rows": 2**40},
        {"n_rows": "1"},
        {"hints": 3},
        {"empty_bands": [1]},
        {"schema_file": b"PAR1 and no more"},
    ],
)
def test_a_manifest_of_a_stranger_that_says_nonsense_is_not_believed(tmp_path, monkeypatch, change):
    with pytest.raises(FileFormatError, match="facts of parts"):
        facts_in(facts_text({"part-a.parquet": (10, facts(**change))}))
    monkeypatch.setattr(parts_manifest, "FEWEST_PARTS", 1)
    append(tmp_path / "c", scenes(0))
    [part] = (tmp_path / "c").iterdir()
    known = {part.name: (part.stat().st_size, facts(**change))}
    (tmp_path / "c" / MANIFEST).write_bytes(part_bytes(scenes(0).clear(), manifest_metadata(known)))
    assert pr.scan_collection(tmp_path / "c").filter(pl.col("number") == 0).collect().height == 1


@pytest.mark.usefixtures("small")
def test_a_manifest_that_is_no_plain_file_is_passed_over(tmp_path):
    for number in range(2):
        append(tmp_path / "c", scenes(number))
    manifest = tmp_path / "c" / MANIFEST
    for make in (
        lambda: manifest.mkdir(),
        lambda: manifest.symlink_to(tmp_path / "elsewhere"),
        lambda: manifest.write_bytes(b""),
        lambda: manifest.write_bytes(b"no Parquet"),
        lambda: manifest.write_bytes(part_bytes(scenes(0).clear(), {"polars_rasteret_parts": "eJw"})),
    ):
        manifest.rmdir() if manifest.is_dir() else manifest.unlink()
        make()
        assert pr.scan_collection(tmp_path / "c").filter(pl.col("datetime") == day(1)).collect().height == 1
        append(tmp_path / "c", scenes(1))
        pr.remove(tmp_path / "c", (pl.col("number") == 1) & (pl.int_range(pl.len()) > 1))
        assert pr.scan_collection(tmp_path / "c").collect().height == 2
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.usefixtures("small")
def test_appends_beside_each_other_in_a_bucket_lose_no_entry_of_the_manifest(monkeypatch):
    with ObjectServer() as server:
        options = {"storage_options": server.options}
        append("s3://bucket/c", scenes(0), **options)
        write, met = noted_parts.put_object, threading.Barrier(2, timeout=30)

        def together(*args, **words):
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait(timeout=None if met.n_waiting or not met.broken else 0)
            met.abort()  # only the first puts meet
            return write(*args, **words)

        monkeypatch.setattr(noted_parts, "put_object", together)
        threads = [threading.Thread(target=append, args=("s3://bucket/c", scenes(n)), kwargs=options) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [part.facts is not None for part in with_facts(parts_at("s3://bucket/c", **options), **options)] == [
            True
        ] * 3
        # A store that refuses the manifest refuses no append.
        monkeypatch.setattr(noted_parts, "put_object", lambda *_, **__: (_ for _ in ()).throw(FileFormatError("no")))
        append("s3://bucket/c", scenes(3), **options)
        assert pr.scan_collection("s3://bucket/c", **options).collect().height == 4


@BOTH
def test_a_worker_opens_only_the_parts_that_its_part_of_a_query_needs(tmp_path, engine):
    numbers = range(0, 100, 10)
    for number in numbers:
        append(tmp_path / "c", scenes(number))
    scan = pr.scan_collection(tmp_path / "c")
    points = pl.DataFrame(
        {"pid": list(numbers), "lon": [place(n)[0] + 0.5 for n in numbers], "lat": [place(n)[1] - 0.5 for n in numbers]}
    )
    whole = cut(scan.raster.pair(points, crs=4326).select("pid", "record_id"), min_parts=10)
    assert whole.records is None, "the plan scans the records"
    aside = tmp_path / "aside"
    aside.mkdir()
    id_of = {pl.read_parquet(one)["id"].item(): one for one in (tmp_path / "c").glob("part-*")}
    found = []
    for part in whole.parts:
        rows = whole.targets[slice(*part.targets)]
        others = [file for name, file in id_of.items() if int(name[1:]) not in rows["pid"].to_list()]
        assert len(others) >= 8
        for file in others:
            file.rename(aside / file.name)
        found += part_query(whole.plan, part, rows, None).collect(engine=engine).rows()
        for file in others:
            (aside / file.name).rename(file)
    assert sorted(found) == [(number, f"s{number}") for number in numbers]


def test_records_that_must_be_written_down_are_read_from_the_parts_near_the_rows(bucket):
    """The options of the bucket hold a key, which never travels, so the records do."""
    scan = pr.scan_collection("s3://bucket/c", storage_options=bucket.options)
    points = pl.DataFrame({"lon": [place(n)[0] + 0.5 for n in (7, 30)], "lat": [39.5, 39.5]})
    bucket.clear()
    whole = cut(scan.raster.pair(points, crs=4326).select("record_id"))
    assert sorted(whole.records["id"]) == ["s30", "s7"]
    assert len(set(opened(bucket))) == 2


def test_the_records_of_some_time_are_read_from_the_parts_of_that_time(bucket):
    scan = pr.scan_collection("s3://bucket/c", storage_options=bucket.options)
    everywhere = pl.DataFrame({"lon": [0.0], "lat": [0.0]})
    query = scan.raster.pair(everywhere, crs=4326)
    question = cut_read(query).source.question
    first, last = (int(day(number).timestamp() * 1e6) for number in (10, 12))
    bucket.clear()
    for has_unknown in (False, True):
        records = in_period(question, Period(first, last, has_unknown)).records
        assert sorted(records.select("id").collect()["id"]) == ["s10", "s11", "s12"]
    assert len(set(opened(bucket))) == 3
