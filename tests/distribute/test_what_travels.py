"""Does only what is no secret leave the process, and is the answer the same wherever its folder lies?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.distribute.cutting.cut import cut
from polars_rasteret.distribute.engines.this_process import ThisProcess
from polars_rasteret.distribute.jobs.tasks import Task, WorkerSettings
from polars_rasteret.errors import BudgetError, FetchError, FileFormatError, UsageError
from tests.support.child_process import environment
from tests.support.object_server import ObjectServer
from tests.support.part_queries import KEYS, logged, notes, points
from tests.support.part_workers import parts_read
from tests.support.part_world import CRS, part_world
from tests.support.planted_secrets import planted, secrets_in, secrets_in_file


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return part_world(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def bucket():
    with ObjectServer() as server:
        yield server


@pytest.fixture
def role(bucket, monkeypatch):
    """The environment of this process, and of processes that it starts, leads to the bucket."""
    for name, value in {
        "AWS_ENDPOINT_URL": bucket.origin,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": planted("of-the-environment"),
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)


def answer(world):
    return points(world).collect().sort(KEYS)


def test_an_answer_in_an_object_store_is_that_of_a_disk(world, bucket, role):
    query = points(world)
    with pr.ProcessEngine(workers=2, min_parts=8) as engine:
        assert_frame_equal(pr.run(query, into="s3://bucket/out", engine=engine).collect().sort(KEYS), answer(world))
        n_parts = sum(name.startswith("bucket/out/") for name in bucket.files)
        assert n_parts >= 8
        assert n_parts == sum(name.startswith("bucket/out.job/done/") for name in bucket.files)
        before = dict(bucket.files)
        gone = sorted(name for name in bucket.files if name.startswith("bucket/out/"))[2:4]
        for name in gone:
            del bucket.files[name]
        bucket.clear()
        assert_frame_equal(pr.run(query, into="s3://bucket/out", engine=engine).collect().sort(KEYS), answer(world))
    assert sorted(name for name in bucket.files if name in gone) == gone
    written = {name for name, data in bucket.files.items() if data != before.get(name)}
    assert {name for name in written if name.startswith("bucket/out/")} <= {*gone}
    assert [name for name, data in bucket.files.items() if secrets_in(data)] == []


RESUME = """
import sys
import polars_rasteret as pr

for number in map(int, sys.argv[2:]):
    pr.run_part(sys.argv[1], number)
"""


@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_parts_that_other_processes_read_are_taken_up(world, bucket, role, tmp_path, where):
    into = str(tmp_path / "out") if where == "disk" else "s3://bucket/out"
    query = logged(points(world), tmp_path)
    n_parts = pr.plan_parts(query, min_parts=8, into=into).height
    for numbers in (["0", "3"], ["3"]):  # two copies of a part are one file
        subprocess.run(
            [sys.executable, "-c", RESUME, into, *numbers], env=environment(), check=True, timeout=120, cwd=Path.cwd()
        )
    before = parts_read(tmp_path)
    assert len(before) == 2
    found = pr.run(query, into=into).collect().sort(KEYS)
    assert len(parts_read(tmp_path) - before) == n_parts - 2
    assert_frame_equal(found, answer(world))


def test_a_collection_that_is_scanned_with_keys_travels_as_its_records(world, bucket, tmp_path):
    options = {**bucket.options, "aws_secret_access_key": planted("of-one-collection")}
    world.scenes.raster.sink_collection("s3://bucket/scenes", storage_options=options)
    scenes = pr.scan_collection("s3://bucket/scenes", storage_options=options)
    into = tmp_path / "out"
    with pr.options(allowed_hrefs=[str(world.folder)]):
        query = scenes.raster.sample_points(world.points, ["red"], crs=CRS)
        found = pr.run(query, into=into, engine=None).collect()
    assert_frame_equal(found.sort(KEYS), answer(world))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 4
    assert [one for file in files for one in secrets_in_file(file)] == []


def named(plots):
    return pl.DataFrame({"pid": plots["pid"], "name": [f"plot {one}" for one in plots["pid"]]})


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param(lambda secret: {"storage_options": {"aws_secret_access_key": secret}}, id="a key"),
        pytest.param(lambda secret: {"storage_options": {"aws_session_token": secret}}, id="a token"),
        pytest.param(lambda secret: {"storage_options": {"aws_endpoint_url": f"http://me:{secret}@host"}}, id="a URL"),
        pytest.param(
            lambda secret: {"credential_provider": lambda: ({"aws_access_key_id": "a", "aws_secret_access_key": secret}, None)},
            id="a provider",
        ),
    ],
)  # fmt: skip
def test_a_table_that_is_scanned_with_keys_is_refused_before_it_is_asked_for(world, tmp_path, keys):
    words = keys(planted("of-another-table"))
    table = pl.scan_parquet("s3://bucket/names.parquet", schema={"pid": pl.Int64, "name": pl.String}, **words)
    with pytest.raises(UsageError, match=r"s3://bucket/names\.parquet, which is never sent to workers"):
        pr.run(points(world).join(table, on="pid", how="left"), into=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_scanned_with_what_is_no_key_travels(world, bucket, role, tmp_path):
    named(world.points).write_parquet(tmp_path / "names.parquet")
    bucket.files["bucket/names.parquet"] = (tmp_path / "names.parquet").read_bytes()
    table = pl.scan_parquet(
        "s3://bucket/names.parquet", storage_options={"aws_region": "us-east-1", "aws_endpoint_url": bucket.origin}
    )
    query = points(world).join(table, on="pid", how="left", validate="m:1")
    found = pr.run(query, into=tmp_path / "out").collect()
    assert_frame_equal(found.sort(KEYS), answer(world).join(named(world.points), on="pid", how="left"))


def signed(frame, secret):
    """Return records whose references name signed files."""
    band = pl.col("red")
    href = band.struct.field("href") + f"?X-Amz-Signature={secret}&X-Amz-Credential=me"
    return frame.with_columns(band.struct.with_fields(href.alias("href")))


def test_records_with_keys_in_their_hrefs_are_refused(world, tmp_path):
    scenes = world.scenes.collect()
    web = pl.col("red").struct.with_fields(
        ("https://127.0.0.1:9/" + pl.col("red").struct.field("href").str.split("/").list.last()).alias("href")
    )
    records = signed(scenes.with_columns(web), planted("of-one-image")).lazy()
    query = records.raster.sample_points(world.points, ["red"], crs=CRS)
    with pytest.raises(UsageError, match="with a key in the href, which is never sent") as caught:
        pr.run(query, into=tmp_path / "out")
    assert secrets_in(str(caught.value)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_task_is_small_whatever_the_query_is(world, tmp_path):
    settings = WorkerSettings(
        options={"max_concurrency": 8, "allowed_hrefs": [f"https://host-{one}.example/" for one in range(50)]},
        prices={f"s3://bucket-{one}/": (0.09, 0.0004) for one in range(50)},
        stores={f"s3://bucket-{one}/": {"storage_options": {"aws_region": "eu-west-1"}} for one in range(50)},
        setup="module:function",
    )
    task = Task(into=str(tmp_path / "out"), digest="0" * 64, number=9_999, token="0" * 12, settings=settings)
    assert len(task.text()) <= 20_000
    one, many = (cut(points(world), min_parts=n) for n in (2, 64))
    assert len(many.parts) > 8 * len(one.parts)
    assert len(many.plan) == len(one.plan)


def test_a_budget_of_dollars_counts_the_prices_of_this_process(world, tmp_path):
    place = str(world.folder)
    try:
        pr.configure_store(place, usd_per_gb=2.0, usd_per_1000_requests=0.5)
        parts = pr.plan_parts(points(world), min_parts=8)
        usd = 2.0 * parts["bytes"].sum() / 1e9 + 0.5 * parts["requests"].sum() / 1e3
        with pr.ProcessEngine(workers=2, min_parts=8) as engine:
            with pr.options(cache_bytes=0, budget_usd=usd * 0.999), pytest.raises(BudgetError, match="budget_usd"):
                pr.run(points(world), into=tmp_path / "little", engine=engine)
            with pr.options(cache_bytes=0, budget_usd=usd * 1.001):
                found = pr.run(points(world), into=tmp_path / "enough", engine=engine).collect()
        assert_frame_equal(found.sort(KEYS), answer(world))
        assert list((tmp_path / "little").iterdir()) == []
    finally:
        pr.configure_store(place)


@pytest.mark.parametrize(
    "name", ["a b", "é漢", "50%", "%20", "*", "q?", "[1]", "{a,b}", "#", "~", "a.b", "-", "new\nline", "é/"]
)
def test_a_folder_may_have_any_name(world, tmp_path, monkeypatch, name):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    into = name if name != "~" else "~/out"
    for _ in range(2):  # the second time all is there
        found = pr.run(points(world), into=into, engine=ThisProcess(min_parts=2)).collect()
        assert_frame_equal(found.sort(KEYS), answer(world))
    assert all(one.name.startswith("part-") for one in Path(into).expanduser().iterdir())


@pytest.mark.parametrize(
    ("into", "words"),
    [
        *((into, "expected the path or URL of a folder") for into in ("", None, 3, b"out", ["out"], "nul\0")),
        ("/", "expected a folder in it"),
        ("///", "expected a folder in it"),
        ("s3://bucket", "is a whole bucket"),
        ("gs://bucket//", "is a whole bucket"),
        ("az://container/", "is a whole bucket"),
        ("s3://bucket/year=*", "has one of"),
        ("s3://bucket/run[1]", "has one of"),
        ("https://host/out", "cannot be written over HTTP"),
        ("x" * 300, "cannot be a folder"),
        ("out.parquet/", "names one file"),
        (__file__, "is a file"),
    ],
)
def test_a_place_that_cannot_hold_an_answer_is_refused_before_anything_is_planned(into, words):
    with pytest.raises(UsageError, match=words):
        pr.run(pl.LazyFrame({"not": ["planned"]}), into=into)
    with pytest.raises(UsageError, match=words):
        pr.run_part(into, 0)


def test_an_answer_is_not_written_into_what_is_scanned_to_the_bottom(world, tmp_path, monkeypatch):
    pr.run(points(world), into=tmp_path / "out")
    for above in (world.folder / "scenes", tmp_path / "out"):
        before = sorted(above.rglob("*"))
        for into in (above / "of_it", above / "of" / "it", tmp_path / "link"):
            (tmp_path / "link").unlink(missing_ok=True)
            (tmp_path / "link").symlink_to(above / "linked")
            with pytest.raises(UsageError, match=rf"lies in {above}, which holds 'part-.*would read the answer, too"):
                pr.run(points(world), into=into)
        assert sorted(above.rglob("*")) == before
    # Where `collect` has its parts for a while, others may have theirs.
    (tmp_path / "part-000000.parquet").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert_frame_equal(points(world).collect(engine=ThisProcess()).sort(KEYS), answer(world))


def test_a_part_is_named_by_a_whole_number_of_any_kind(world, tmp_path):
    into = tmp_path / "out"
    for number in pr.plan_parts(points(world), into=into)["part"].to_numpy():
        assert pr.run_part(into, number).endswith(f"part-{number:06d}.parquet")
    assert_frame_equal(pl.scan_parquet(into).collect().sort(KEYS), answer(world))
    for wrong in ("0", 0.0, True, -1, 99, None):
        with pytest.raises(UsageError, match=rf"number is {wrong!r}; expected a whole number from 0 to 1"):
            pr.run_part(into, wrong)


def test_a_full_disk_is_told_with_the_name_of_the_part_and_the_same_call_goes_on(world, tmp_path):
    resource = pytest.importorskip("resource", reason="limits the size of files")
    into, engine = tmp_path / "out", ThisProcess(min_parts=2)
    query = world.scenes.raster.read_windows(world.boxes, ["red"], crs=CRS, shape=(64, 64))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(
            FetchError, match=r"part-000000\.parquet: a part could not be written.*make room.*part 0 of"
        ):
            pr.run(query, into=into, engine=engine)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(into.iterdir()) == list(tmp_path.glob("out.job/writing/*")) == []
    assert pr.run(query, into=into, engine=engine).collect().height == query.select("pid").collect().height


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-5])


def emptied(file):
    file.write_bytes(b"")


def made_a_folder(file):
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "name", "error"),
    [
        (emptied, "out/part-*1.parquet", None),
        (cut_short, "out/part-*1.parquet", r"part-000001\.parquet is no whole Parquet file"),
        (made_a_folder, "out/part-*1.parquet", r"'part-000001\.parquet/', which is no part"),
        *((damage, "out.job/plan-*", None) for damage in (emptied, cut_short, Path.unlink)),
        *(
            (damage, f"out.job/{name}-*", rf"out\.job/{name}-\w+\.parquet, which job\.json beside it names.*[Dd]elete")
            for damage in (emptied, cut_short, Path.unlink)
            for name in ("targets", "records")
        ),
        *((damage, "out.job/job.json", r"is no manifest") for damage in (emptied, cut_short)),
        (Path.unlink, "out.job/job.json", r"out\.job, which says of which one, is not there"),
    ],
)
def test_damage_to_a_folder_is_mended_or_told_and_never_loses_rows(world, tmp_path, damage, name, error):
    query, engine = points(replace(world, scenes=world.scenes.collect().lazy())), ThisProcess(min_parts=4)
    pr.run(query, into=tmp_path / "out", engine=engine)
    (tmp_path / "out/part-000002.parquet").unlink()
    damage(next(tmp_path.glob(name)))
    if error is not None:
        with pytest.raises((FileFormatError, UsageError), match=error):
            pr.run(query, into=tmp_path / "out", engine=engine)
        return
    found = pr.run(query, into=tmp_path / "out", engine=engine).collect()
    assert_frame_equal(found.sort(KEYS), answer(world))


def test_queries_are_not_mixed_in_one_folder(world, tmp_path):
    into, other = tmp_path / "out", tmp_path / "foreign"
    pr.run(points(world), into=into)
    before = {file: file.read_bytes() for file in into.iterdir()}
    unlike = {
        "other rows": world.scenes.raster.sample_points(world.points[1:], ["red"], crs=CRS),
        "another band": world.scenes.raster.sample_points(world.points, ["nir"], crs=CRS),
        "another step": points(world).filter(pl.col("red") > 5),
        "other records": world.scenes.filter(pl.col("id") != "s0_0").raster.sample_points(world.points, ["red"], crs=CRS),
    }  # fmt: skip
    for query in unlike.values():
        with pytest.raises(UsageError, match="holds parts of another query"):
            pr.run(query, into=into)
    with pytest.raises(UsageError, match="Parquet files written with"):
        points(world).sink_parquet(into, compression="snappy", engine=pr.ProcessEngine(workers=1))
    assert {file: file.read_bytes() for file in into.iterdir()} == before
    other.mkdir()
    (other / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"'mine\.csv', which is no part of a query"):
        pr.run(points(world), into=other)
    (other / "mine.csv").unlink()
    (other / "part-000000.parquet").write_bytes(next(iter(before.values())))
    with pytest.raises(UsageError, match=r"holds 1 parts of a query, and .* is not there"):
        pr.run(points(world), into=other)
    assert [file.name for file in other.iterdir()] == ["part-000000.parquet"]
    # A part that the query does not have.
    (into / "part-000999.parquet").write_bytes(next(iter(before.values())))
    with pytest.raises(UsageError, match="holds part 999"):
        pr.run(points(world), into=into)


def test_queries_that_look_alike_are_told_apart_and_the_same_one_is_not(world, tmp_path):
    scenes, index = world.scenes.collect(), tmp_path / "scenes.parquet"
    rows = world.points.with_columns(seen=pl.lit("2024-01-02").str.to_datetime(time_zone="UTC"))
    pairs = world.scenes.raster.pair(world.points, x="x", y="y", crs=CRS)

    def valid(clear):
        return world.scenes.raster.sample_points(rows, ["red"], crs=CRS, match="latest", valid=clear)

    def among(clear):  # Polars shows no more than the name of a series
        return valid(pl.col("nir").is_in(pl.Series(clear)))

    def function_of_pixels(least):
        return valid(pl.col("nir").map_batches(lambda nir: nir > least, pl.Boolean, is_elementwise=True))

    def function_of_times(days):
        at = pl.col("seen").map_batches(
            lambda seen: seen.dt.offset_by(days), pl.Datetime("us", "UTC"), is_elementwise=True
        )
        return world.scenes.raster.sample_points(rows, ["red"], crs=CRS, match="nearest", at=at)

    def function_of_a_column(factor):
        read = pl.col("red").raster.sample_points("x", "y", crs=CRS)
        twice = read.map_batches(lambda red: red * factor, pl.UInt16, is_elementwise=True)
        return pairs.raster.with_columns(twice=twice).select("pid", "record_id", "twice")

    def index_written_anew(change):
        scenes.with_columns(change).write_parquet(index)
        return pr.scan_collection(index).raster.sample_points(rows, ["red"], crs=CRS)

    for make, *words in (
        (among, range(100), range(1, 101)),
        (function_of_pixels, 1000, 2000),
        (function_of_times, "1d", "2d"),
        (function_of_a_column, 2, 3),
        (
            index_written_anew,
            pl.col("id"),
            pl.col("id") + "x",
            pl.col("datetime") + pl.duration(days=1),
            pl.col("red").struct.with_fields(nodata=pl.lit(7, dtype=pl.UInt16)),
        ),
    ):
        digests = [cut(make(one)).digest for one in words]
        assert len(set(digests)) == len(words), make.__name__
        assert [cut(make(one)).digest for one in words] == digests


def test_what_is_written_beside_an_answer_tells_what_became_of_each_part(world, tmp_path):
    found = pr.run(points(world), into=tmp_path / "out").collect()
    done = notes(tmp_path / "out")
    assert sum(one["rows"] for one in done) == found.height
    job = json.loads(Path(tmp_path, "out.job", "job.json").read_text())
    assert [one["part"] for one in done] == list(range(len(job["parts"])))


@pytest.mark.parametrize(
    "keywords",
    [
        {"storage_options": {"aws_region": "eu-west-1"}},
        {"credential_provider": None},
        {"metadata": {"a": "b"}},
        {"arrow_schema": pa.schema([("pid", pa.int64())])},
        {"sinked_paths_callback": print},
        {"optimizations": pl.QueryOptFlags(predicate_pushdown=False)},
    ],
    ids=lambda keywords: next(iter(keywords)),
)
def test_keywords_of_a_sink_that_parts_would_not_have_are_refused(world, tmp_path, keywords):
    with pytest.raises(UsageError, match=f"{next(iter(keywords))}.* not honoured"):
        points(world).sink_parquet(tmp_path / "out", engine=pr.ProcessEngine(workers=1), **keywords)
    assert list(tmp_path.iterdir()) == []


def test_other_forms_of_a_sink_and_of_a_collect_are_refused(world, tmp_path):
    engine, query = pr.ProcessEngine(workers=1), points(world)
    with pytest.raises(UsageError, match="background"):
        query.collect(engine=engine, background=True)
    with pytest.raises(UsageError, match="expected its path or URL"):
        query.sink_parquet(pl.PartitionBy(tmp_path / "by", key="pid"), engine=engine)
    with pytest.raises(UsageError):
        query.sink_parquet(tmp_path / "lazy", engine=engine, lazy=True).collect(engine=engine)
    with pytest.raises(NotImplementedError, match="`sink_csv` is not supported by ProcessEngine"):
        query.sink_csv(tmp_path / "out.csv", engine=engine)
    assert list(tmp_path.iterdir()) == []
