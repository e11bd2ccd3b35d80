"""Which queries skip row groups of a Parquet file? Rules 5 (rename), 7, 8 and 10 of `test_polars_contract.py`.

The file is served over HTTP on this machine, and the ranges that Polars asks for say which row groups it reads.
"""

from __future__ import annotations

import http.server
import io
import re
import threading
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars import col

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)

N_ROWS = 2000
ROWS_PER_GROUP = 50
N_GROUPS = N_ROWS // ROWS_PER_GROUP
FOOTER_BYTES = 262_144
"""Polars opens a remote file with a read of its last bytes, row groups or not; only the groups before them are judged."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        content = self.server.files[self.path.lstrip("/")]
        byte_start, byte_stop = 0, len(content)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted and wanted[1]:
            byte_start, byte_stop = int(wanted[1]), min(int(wanted[2] or byte_stop - 1) + 1, byte_stop)
        elif wanted:
            byte_start = max(0, byte_stop - int(wanted[2]))
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(byte_stop - byte_start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Connection", "close")
        if wanted:
            self.send_header("Content-Range", f"bytes {byte_start}-{byte_stop - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            self.server.ranges.append((byte_start, byte_stop))
            self.wfile.write(content[byte_start:byte_stop])


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    """Polars opens a connection for every row group at once."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.ranges = []


class RemoteFile:
    """One Parquet file behind HTTP: `groups(query, engine)` are the row groups whose `column` was asked for."""

    def __init__(self, server, path):
        self.server = server
        self.url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        server.files[path.name] = path.read_bytes()
        self.metadata = pq.read_metadata(path)
        self.judged_bytes = path.stat().st_size - FOOTER_BYTES

    def scan(self, **options):
        return pl.scan_parquet(self.url, **options)

    def groups(self, query, engine, *, column="heavy"):
        self.server.ranges.clear()
        query.collect(engine=engine)
        return {
            group
            for group, (byte_start, byte_stop) in enumerate(self._chunks(column))
            if any(start <= byte_start and byte_stop <= stop for start, stop in self.server.ranges)
        }

    def all_groups(self, *, column="heavy"):
        return set(range(len(self._chunks(column))))

    def _chunks(self, column):
        chunks = []
        for group in range(self.metadata.num_row_groups):
            columns = [self.metadata.row_group(group).column(i) for i in range(self.metadata.num_columns)]
            (one,) = [one for one in columns if one.path_in_schema == column]
            offset = one.dictionary_page_offset or one.data_page_offset
            if offset + one.total_compressed_size <= self.judged_bytes:
                chunks.append((offset, offset + one.total_compressed_size))
        return chunks


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    rng = np.random.default_rng(0)
    heavy = [rng.bytes(1500) for _ in range(N_ROWS)]
    frame = pl.DataFrame(
        {
            "id": [f"scene-{i}" for i in rng.permutation(N_ROWS)],
            "xmin": np.arange(N_ROWS) / 10,
            "number": np.arange(N_ROWS),
            "heavy": heavy,
            "bands": [{"B04": rng.bytes(100), "B08": rng.bytes(100)} for _ in range(N_ROWS)],
        }
    ).with_columns(
        bbox=pl.struct("xmin", xmax=col("xmin") + 1),
        datetime=pl.datetime(2024, 1, 1) + pl.duration(hours=col("number")),
    )
    path = tmp_path_factory.mktemp("remote") / "scenes.parquet"
    frame.write_parquet(path, row_group_size=ROWS_PER_GROUP)
    with pytest.MonkeyPatch.context() as patch, Server() as server:
        patch.setenv("NO_PROXY", "127.0.0.1")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield RemoteFile(server, path)
        server.shutdown()


WEST = col("xmin") < 10  # the first 100 rows
FIRST_TWO = {0, 1}


@both_engines
def test_the_row_groups_before_the_footer_are_told_apart(remote, engine):
    assert len(remote.all_groups()) >= N_GROUPS - 10
    assert remote.groups(remote.scan().select("heavy"), engine) == remote.all_groups()
    assert remote.groups(remote.scan().select("id"), engine) == set()


# Rule 10: what skips row groups.


@both_engines
@pytest.mark.parametrize(
    ("predicate", "groups"),
    [
        pytest.param(WEST, FIRST_TWO, id="top level"),
        pytest.param(col("bbox").struct.field("xmin") < 10, FIRST_TWO, id="bbox"),
        pytest.param(col("datetime") < pl.datetime(2024, 1, 3), {0}, id="datetime"),
        pytest.param(col("datetime").is_between(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 2)), {0}, id="between"),
        pytest.param(col("number") < 100, FIRST_TWO, id="integer, below"),
        pytest.param((col("number") > 60) & (col("number") < 90), {1}, id="integer, above and below"),
        pytest.param((col("number") < 10) | (col("number").is_between(120, 130)), {0, 2}, id="or"),
        pytest.param(col("number").is_in([3, 4, 120]), {0, 2}, id="is_in of a list of integers"),
    ],
)
def test_a_filter_on_own_top_level_columns_or_bbox_fields_skips_row_groups(remote, engine, predicate, groups):
    assert remote.groups(remote.scan().filter(predicate).select("heavy"), engine) == groups


XMIN, XMAX = col("bbox").struct.field("xmin"), col("bbox").struct.field("xmax")
INFINITY = float("inf")


@both_engines
@pytest.mark.parametrize(
    ("predicate", "groups"),
    [
        # NaN is greater than every float in Polars and is not in the statistics: any row group may hold one.
        pytest.param((XMAX > 7) & (XMIN < 10), FIRST_TWO, id="above, >"),
        pytest.param((XMAX >= 7) & (XMIN < 10), FIRST_TWO, id="above, >="),
        pytest.param(~(XMAX < 7) & (XMIN < 10), FIRST_TWO, id="not below"),
        pytest.param((XMAX > 7) & XMAX.is_not_nan() & (XMIN < 10), FIRST_TWO, id="above and not NaN"),
        pytest.param((col("xmin") > 6) & (col("xmin") < 10), FIRST_TWO, id="top level, above"),
        pytest.param(XMAX.is_between(7, INFINITY) & (XMIN < 10), {1}, id="between a bound and infinity"),
        pytest.param(col("xmin").is_between(6, INFINITY) & (col("xmin") < 10), {1}, id="top level, between"),
    ],
)
def test_a_lower_bound_on_floats_skips_row_groups_only_as_is_between(remote, engine, predicate, groups):
    assert remote.groups(remote.scan().filter(predicate).select("heavy"), engine) == groups


@both_engines
@pytest.mark.parametrize(
    "predicate",
    [
        pytest.param(XMAX > 190, id="lower bound on floats"),
        pytest.param(col("number").is_in(pl.Series([3, 4, 120]).implode()), id="is_in of Series.implode()"),
        pytest.param(col("xmin").is_in([1.0, 2.0]), id="is_in of a list of floats"),
        pytest.param(col("datetime").dt.year() == 2023, id="function of a column"),
        pytest.param(col("id").is_in(["scene-3", "scene-4"]), id="unsorted ids"),
    ],
)
def test_a_filter_that_reads_every_row_group(remote, engine, predicate):
    assert len(remote.groups(remote.scan().filter(predicate).select("heavy"), engine)) > N_GROUPS * 0.7


@both_engines
@pytest.mark.parametrize("how", ["semi", "inner"])
def test_a_join_reads_every_row_group(remote, engine, how):
    wanted = pl.LazyFrame({"number": [3, 4, 120]})
    query = remote.scan().join(wanted, on="number", how=how).select("heavy")
    assert remote.groups(query, engine) == remote.all_groups()


@both_engines
@pytest.mark.parametrize(
    ("query", "groups"),
    [
        pytest.param(lambda scan: scan.filter(col("row").is_in([3, 4, 120])), {0, 2}, id="is_in of a list"),
        pytest.param(lambda scan: scan.filter(col("row").is_in([])), set(), id="is_in of nothing"),
        pytest.param(lambda scan: scan.filter(col("row").is_in(list(range(200)))), {0, 1, 2, 3}, id="200 rows"),
        pytest.param(lambda scan: scan.filter(col("row").is_between(100, 149)), {2}, id="between"),
        pytest.param(lambda scan: scan.filter(col("row").is_in([3, 120]), WEST), {0}, id="with another filter"),
        pytest.param(lambda scan: scan.filter(WEST).filter(col("row").is_in([3, 120])), {0}, id="after another"),
        pytest.param(lambda scan: scan.rename({"id": "name"}).filter(col("row").is_in([3])), {0}, id="renamed"),
    ],
)
def test_a_python_list_of_row_indices_skips_row_groups(remote, engine, query, groups):
    assert remote.groups(query(remote.scan(row_index_name="row")).select("heavy"), engine) == groups


@both_engines
def test_an_imploded_series_of_row_indices_reads_every_row_group(remote, engine):
    rows = pl.Series([3, 4, 120], dtype=pl.get_index_type()).implode()
    query = remote.scan(row_index_name="row").filter(col("row").is_in(rows)).select("heavy")
    assert remote.groups(query, engine) == remote.all_groups()


@both_engines
def test_a_row_index_counts_rows_of_the_file_whatever_is_filtered_before(remote, engine):
    query = remote.scan(row_index_name="row").filter(col("number") >= 120).filter(col("row").is_in([3, 120, 121]))
    assert query.select("number").collect(engine=engine)["number"].to_list() == [120, 121]


# Rule 5, second half: pruning survives a rename of the frame.


@both_engines
@pytest.mark.parametrize(
    "query",
    [
        pytest.param(
            lambda scan: (
                scan.rename({"bbox": "box", "heavy": "B04"}).filter(col("box").struct.field("xmin") < 10).select("B04")
            ),
            id="rename",
        ),
        pytest.param(lambda scan: scan.select(west="xmin", B04="heavy").filter(col("west") < 10), id="select"),
    ],
)
def test_a_filter_on_a_renamed_frame_skips_row_groups(remote, engine, query):
    assert remote.groups(query(remote.scan()), engine) == FIRST_TWO


# Rule 8: struct outputs do not prune.


@both_engines
def test_one_field_of_a_struct_reads_the_others_too(remote, engine):
    query = remote.scan().select(col("bands").struct.field("B04"))
    groups = remote.all_groups(column="bands.B08")
    assert remote.groups(query, engine, column="bands.B08") == groups


@both_engines
@pytest.mark.parametrize("is_udf", [False, True])
def test_one_field_of_a_built_struct_needs_every_input(remote, engine, is_udf):
    def build(inputs):
        return pl.struct(id=inputs[0], heavy=inputs[1], eager=True)

    dtype = pl.Struct({"id": pl.String, "heavy": pl.Binary})
    struct = pl.struct("id", "heavy")
    if is_udf:
        struct = pl.map_batches(["id", "heavy"], build, return_dtype=dtype, is_elementwise=True)
    query = remote.scan().select(both=struct).select(col("both").struct.field("id"))
    assert remote.groups(query, engine) == remote.all_groups()


@both_engines
def test_a_column_that_is_not_selected_is_neither_computed_nor_read(remote, engine):
    called = []

    def see(values):
        called.append(values.name)
        return values

    read = {
        name: col(name).map_batches(see, return_dtype=pl.self_dtype(), is_elementwise=True) for name in ("id", "heavy")
    }
    query = remote.scan().with_columns(**read).select("id")
    assert remote.groups(query, engine) == set()
    assert set(called) == {"id"}


# Rule 7: a UDF inside .filter() is pushed into the scan.


def rows_seen(remote, engine, query):
    heights = []

    def is_even(values):
        heights.append(len(values))
        return values % 2 == 0

    udf = col("number").map_batches(is_even, return_dtype=pl.Boolean, is_elementwise=True)
    query(remote.scan(), udf).select("number").collect(engine=engine)
    return heights


# 20 rows each; on the UDF's own input, or on another column.
OWN, OTHER = col("number") % 100 == 7, col("id").str.ends_with("77")


@both_engines
@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda scan, udf, cheap: scan.filter(cheap & udf), id="in one filter"),
        pytest.param(lambda scan, udf, cheap: scan.filter(cheap).filter(udf), id="in a second filter"),
    ],
)
def test_a_udf_inside_a_filter_sees_far_more_rows_than_pass_the_cheap_part(remote, engine, query):
    heights = rows_seen(remote, engine, lambda scan, udf: query(scan, udf, OWN))
    assert sum(heights) > N_ROWS  # all of them, and the statistics
    heights = rows_seen(remote, engine, lambda scan, udf: query(scan, udf, OTHER))
    assert sum(heights) > 3 * 20


@both_engines
def test_a_udf_inside_a_filter_is_called_on_row_group_statistics(remote, engine):
    heights = rows_seen(remote, engine, lambda scan, udf: scan.filter(WEST).filter(udf))
    assert N_GROUPS in heights


@both_engines
@pytest.mark.parametrize("cheap", [pytest.param(OWN, id="own"), pytest.param(OTHER, id="other")])
@pytest.mark.parametrize(
    "query",
    [
        pytest.param(lambda scan, udf, cheap: scan.filter(cheap).with_columns(v=udf).filter("v"), id="after"),
        pytest.param(lambda scan, udf, cheap: scan.with_columns(v=udf).filter(cheap).filter("v"), id="before"),
        pytest.param(lambda scan, udf, cheap: scan.filter(cheap).with_columns(v=udf).filter("v").drop("v"), id="drop"),
    ],
)
def test_a_udf_in_with_columns_sees_the_rows_that_pass_the_cheap_filter_and_no_others(remote, engine, query, cheap):
    heights = rows_seen(remote, engine, lambda scan, udf: query(scan, udf, cheap))
    assert sum(heights) == 20


def test_the_judged_row_groups_lie_in_file_order(remote):
    chunks = remote._chunks("heavy")
    assert all(before[1] <= after[0] for before, after in pairwise(chunks))


@pytest.fixture
def files_with_statistics(tmp_path):
    """Give three files of one row, and the scan of them that knows what is in the first two."""
    box = pl.Struct({"xmin": pl.Float64(), "xmax": pl.Float64()})
    schema = {"number": pl.Int64(), "box": box, "other": pl.Int64()}
    rows = [{"number": n, "box": {"xmin": float(n), "xmax": n + 0.5}, "other": n} for n in range(3)]
    for row in rows:
        pl.DataFrame([row], schema=schema).write_parquet(tmp_path / f"{row['number']}.parquet")
    known = [*rows[:2], {"number": None, "box": {"xmin": None, "xmax": None}}]
    count = pl.get_index_type()
    statistics = pl.DataFrame(
        {
            "len": pl.Series([1, 1, None], dtype=count),
            **{f"number_{end}": pl.Series([one["number"] for one in known], dtype=pl.Int64) for end in ("min", "max")},
            "number_nc": pl.Series([0, 0, None], dtype=count),
            **{f"box_{end}": pl.Series([one["box"] for one in known], dtype=box) for end in ("min", "max")},
            "box_nc": pl.Series(
                [{"xmin": nulls, "xmax": nulls} for nulls in (0, 0, None)],
                dtype=pl.Struct({"xmin": count, "xmax": count}),
            ),
        }
    )
    paths = [tmp_path / f"{n}.parquet" for n in range(3)]
    return pl.scan_parquet(paths, glob=False, schema=schema, _table_statistics=statistics), paths


@both_engines
@pytest.mark.parametrize(
    ("predicate", "opened", "numbers"),
    [
        (col("number") == 1, [1, 2], [1]),
        (col("number").is_null(), [2], []),
        (col("box").struct.field("xmax").is_between(0.2, 0.6), [0, 2], [0]),
        (col("box").struct.field("xmin").is_null() | (col("box").struct.field("xmin") < -5), [2], []),
        (col("box").is_null(), [2], []),
        (col("other") == 1, [0, 1, 2], [1]),
        ((col("other") == 1) | (col("number") == 0), [0, 1, 2], [0, 1]),
    ],
)
def test_statistics_of_files_rule_out_files_before_they_are_opened(
    files_with_statistics, engine, predicate, opened, numbers
):
    """`collection.reading.part_statistics` leans on this keyword, which is not public; a file without statistics is opened."""
    scan, paths = files_with_statistics
    for number, path in enumerate(paths):
        if number not in opened:
            path.unlink()
    query = scan.filter(predicate).select("number")
    assert query.collect(engine=engine)["number"].to_list() == numbers
    again = pl.LazyFrame.deserialize(io.BytesIO(query.serialize()))
    assert again.collect(engine=engine)["number"].to_list() == numbers
    if len(opened) < 3:
        with pytest.raises((pl.exceptions.ComputeError, FileNotFoundError)):
            scan.select("number").collect(engine=engine)


@both_engines
def test_statistics_of_files_do_not_go_with_a_row_index_of_the_scan(files_with_statistics, engine):
    """When this is mended, `collection.reading.scan` may leave out the step that keeps a row index from the scan."""
    scan, _ = files_with_statistics
    late = col("index") == 1
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="index_nc"):
        scan.with_row_index().filter(late).collect(engine=engine)
    above = scan.select(scan.collect_schema().names())
    assert above.with_row_index().filter(late).collect(engine=engine)["number"].to_list() == [1]
    assert "SELECT" not in above.explain()
