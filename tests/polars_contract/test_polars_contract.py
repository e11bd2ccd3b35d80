"""What must stay true of Polars for this package to be right? Plain Polars, no import of ours.

The rules are those that Polars 2.1 imposes on the design, under their numbers there. A failing test means that Polars
changed: read the rule, then the code that leans on it, and only then the test.

====== ================================================================== ==========================================
 rule   says                                                              where (test_contract_* in polars_contract/)
====== ================================================================== ==========================================
 1     collect() streams                                                  here
 2     no Polars on engine threads; nested collect_batches is safe        test_contract_processes.py; threads: here
 3     batches, callbacks one after another, an IO source called twice    here
 4     an IO source applies limit and predicate itself                    here
 5     splitting a predicate, finding a UDF; pruning survives a rename    test_contract_predicates.py, _parquet.py
 6     cloudpickle; what a pickle carries                                 test_contract_processes.py; pickle: here
 7     a UDF inside .filter() is pushed into a scan                       test_contract_parquet.py
 8     struct outputs do not prune                                        test_contract_parquet.py
 9     exceptions are rebuilt from their message                          here
 10    what skips row groups; parts of different dtypes                   test_contract_parquet.py, _parts.py
 11    hive keys; callbacks do not see contextvars                        test_contract_parts.py; contextvars: here
 12    fork hangs                                                         test_contract_processes.py
 13    zero copy; late cleanup                                            here; cleanup: test_contract_processes.py
 --    the dtype of a result follows ``nodata`` (section 1)               test_contract_dtypes.py
====== ================================================================== ==========================================
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import defaultdict
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from polars import col
from polars.io.plugins import register_io_source

ENGINES = ("streaming", "in-memory")
both_engines = pytest.mark.parametrize("engine", ENGINES)
SCHEMA = {"a": pl.Int64, "b": pl.Int64, "c": pl.Int64}


class Source:
    """An IO source of rows 0..n_rows that remembers what it was asked; `obeys` says what it applies itself."""

    def __init__(self, n_rows=100, *, obeys=("limit", "predicate"), rows_per_batch=None, pause_s=0.0):
        self.frame = pl.DataFrame({name: range(n_rows) for name in SCHEMA}, schema=SCHEMA)
        self.obeys = obeys
        self.rows_per_batch = rows_per_batch or n_rows
        self.pause_s = pause_s
        self.calls = []
        self.batches = 0
        self.threads = set()

    def __call__(self, with_columns, predicate, n_rows, batch_size):
        self.calls.append(
            {"with_columns": with_columns, "predicate": predicate, "n_rows": n_rows, "batch_size": batch_size}
        )
        frame = self.frame if n_rows is None or "limit" not in self.obeys else self.frame.head(n_rows)
        for row_start in range(0, frame.height, self.rows_per_batch):
            self.batches += 1
            self.threads.add(threading.get_ident())
            time.sleep(self.pause_s)
            batch = frame.slice(row_start, self.rows_per_batch)
            if predicate is not None and "predicate" in self.obeys:
                batch = batch.filter(predicate)
            yield batch if with_columns is None else batch.select(with_columns)

    def scan(self, **options):
        return register_io_source(self, schema=SCHEMA, **options)

    @property
    def asked(self):
        (call,) = self.calls
        return call


def row_wise(expr, function, return_dtype=pl.Int64):
    return expr.map_batches(function, return_dtype=return_dtype, is_elementwise=True)


# Rule 1: collect() runs the streaming engine by default.


def test_collect_streams_by_default():
    asked = {}
    for engine in (*ENGINES, "auto"):
        source = Source()
        source.scan().collect(engine=engine)
        asked[engine] = source.asked["batch_size"]
    assert asked["auto"] == asked["streaming"]
    assert asked["streaming"] != asked["in-memory"]


# Rule 3: batches, callbacks one after another, an IO source called twice.


def batch_sizes(frame, engine):
    heights = []

    def see(values):
        heights.append(len(values))
        return values

    frame.lazy().with_columns(b=row_wise(col("a"), see)).collect(engine=engine)
    return sorted(heights)


def test_streaming_cuts_a_small_frame_into_one_batch_per_thread():
    n_threads = pl.thread_pool_size()
    assert len(batch_sizes(pl.DataFrame({"a": np.arange(10_000)}), "streaming")) == n_threads


def test_a_streaming_batch_of_a_long_frame_has_at_most_125_000_rows():
    assert max(batch_sizes(pl.DataFrame({"a": np.arange(1_000_000)}), "streaming")) <= 125_000


def test_the_in_memory_engine_hands_a_callback_each_chunk_whole():
    one, two = (pl.DataFrame({"a": np.arange(n)}) for n in (300_000, 200_000))
    assert batch_sizes(one, "in-memory") == [300_000]
    assert batch_sizes(pl.concat([one, two], rechunk=False), "in-memory") == [200_000, 300_000]


@both_engines
def test_a_callback_may_get_an_empty_batch(engine):
    assert batch_sizes(pl.DataFrame({"a": []}, schema={"a": pl.Int64}), engine) == [0]


def test_streaming_runs_the_callbacks_of_one_with_columns_one_after_another_in_each_batch():
    spans = defaultdict(list)

    def see(values):
        start = time.perf_counter()
        time.sleep(0.02)
        spans[int(values[0])].append((start, time.perf_counter()))
        return values

    names = ("x", "y", "z")
    frame = pl.LazyFrame({"a": range(10)})
    # One function per column, so that common subexpressions are not what merges them.
    exprs = [row_wise(col("a"), lambda values: see(values)).alias(name) for name in names]
    frame.with_columns(exprs).collect(engine="streaming")
    for one_batch in spans.values():
        assert len(one_batch) == len(names)
        one_batch.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(one_batch))


@pytest.mark.parametrize(
    ("engine", "is_pure", "n_calls"),
    [("streaming", True, 2), ("streaming", False, 2), ("in-memory", True, 1), ("in-memory", False, 2)],
)
def test_an_io_source_that_appears_twice_is_called_twice_even_when_pure_under_streaming(engine, is_pure, n_calls):
    source = Source()
    scan = source.scan(is_pure=is_pure)
    pl.concat([scan, scan]).collect(engine=engine)
    assert len(source.calls) == n_calls


# Rule 2, the part that cannot hang: generators hop threads, lazy evaluation uses them all.


def test_a_streaming_generator_hops_threads_between_yields():
    for _ in range(5):
        source = Source(60, rows_per_batch=1, pause_s=0.001)
        source.scan().collect(engine="streaming")
        if len(source.threads) > 1:
            break
    assert len(source.threads) > 1


@pytest.mark.skipif(pl.thread_pool_size() < 2, reason="needs two Polars threads")
def test_a_lazy_collect_spreads_an_expression_over_threads_and_an_eager_call_does_not():
    frame = pl.DataFrame({"a": np.arange(10_000)})
    heights = []

    def see(values):
        heights.append(len(values))
        return values

    frame.with_columns(b=row_wise(col("a"), see))
    assert heights == [10_000]
    assert len(batch_sizes(frame, "streaming")) > 1


# Rule 4: an IO source applies limit and predicate itself.


@both_engines
def test_an_io_source_must_apply_the_predicate_itself(engine):
    assert Source(obeys=()).scan().filter(col("a") > 90).collect(engine=engine).height == 100


@both_engines
def test_an_io_source_must_apply_the_limit_itself(engine):
    assert Source(obeys=()).scan().head(2).collect(engine=engine).height == 100


@both_engines
def test_the_wanted_columns_include_those_of_the_predicate(engine):
    source = Source()
    result = source.scan().filter(col("a") > 90).select("b").collect(engine=engine)
    assert sorted(source.asked["with_columns"]) == ["a", "b"]
    assert result.columns == ["b"]


@both_engines
def test_no_wanted_columns_means_all_and_a_row_count_asks_for_the_first(engine):
    source = Source()
    source.scan().collect(engine=engine)
    assert source.asked["with_columns"] is None
    source = Source()
    assert source.scan().select(pl.len()).collect(engine=engine).item() == 100
    assert source.asked["with_columns"] == ["a"]


@both_engines
@pytest.mark.parametrize(
    ("query", "n_rows", "has_predicate"),
    [
        pytest.param(lambda scan: scan.head(5), 5, False, id="head"),
        pytest.param(lambda scan: scan.slice(0, 5), 5, False, id="slice from 0"),
        pytest.param(lambda scan: scan.select("b").head(5), 5, False, id="select, head"),
        pytest.param(lambda scan: scan.filter(col("a") > 3).head(5), None, True, id="filter, head"),
        pytest.param(lambda scan: scan.slice(5, 5), None, False, id="slice"),
        pytest.param(lambda scan: scan.tail(5), None, False, id="tail"),
        # With a predicate that stands after it, the limit arrives too and comes first.
        pytest.param(lambda scan: scan.head(5).filter(col("a") > 3), 5, True, id="head, filter"),
    ],
)
def test_a_limit_arrives_unless_a_filter_stands_before_it_and_slices_and_tails_never_do(
    engine, query, n_rows, has_predicate
):
    source = Source()
    query(source.scan()).collect(engine=engine)
    assert source.asked["n_rows"] == n_rows
    assert (source.asked["predicate"] is not None) == has_predicate


@both_engines
def test_a_limit_that_comes_with_a_predicate_is_applied_before_it(engine):
    query = Source().scan().head(5).filter(col("a") > 3)
    assert query.collect(engine=engine)["a"].to_list() == [4]


@pytest.mark.parametrize(("engine", "pulls_all"), [("streaming", False), ("in-memory", True)])
def test_the_in_memory_engine_pulls_everything_for_a_filter_and_a_head(engine, pulls_all):
    source = Source(500, rows_per_batch=10)
    assert source.scan().filter(col("a") % 2 == 0).head(5).collect(engine=engine).height == 5
    assert (source.batches == 50) == pulls_all


def test_a_schema_callable_is_called_for_every_query():
    calls = []

    def schema():
        calls.append(1)
        return pl.Schema(SCHEMA)

    scan = register_io_source(Source(), schema=schema)
    assert calls == []
    scan.collect_schema()
    for _ in range(3):
        scan.select("a").collect()
    assert len(calls) >= 4


def test_a_schema_callable_must_return_a_schema():
    with pytest.raises(pl.exceptions.ComputeError, match=r"expected a polars\.Schema"):
        register_io_source(Source(), schema=lambda: dict(SCHEMA)).collect_schema()


# Rule 6, the part that needs no second process: what a serialised query carries.


class Reader:
    """Stands for our callables: what comes out of a pickle is chosen by `__reduce__`."""

    def __init__(self, token):
        self.token = token

    def __call__(self, *args):
        if len(args) == 1:
            return pl.repeat(self.token, len(args[0]), dtype=pl.String, eager=True)
        return iter([pl.DataFrame({"a": [self.token]})])

    def __reduce__(self):
        return (Reader, ("from a pickle",))


@both_engines
@pytest.mark.parametrize(
    "query",
    [
        pytest.param(register_io_source(Reader("live"), schema={"a": pl.String}), id="io source"),
        pytest.param(pl.LazyFrame({"a": [1]}).with_columns(row_wise(col("a"), Reader("live"), pl.String)), id="expr"),
    ],
)
def test_a_serialised_query_comes_back_with_callables_made_by_their_reduce(engine, query):
    copy = pl.LazyFrame.deserialize(query.serialize())
    assert copy.collect(engine=engine)["a"].to_list() == ["from a pickle"]
    assert query.collect(engine=engine)["a"].to_list() == ["live"]


# Rule 9: exceptions.


class OneStringError(Exception):
    pass


class TwoPartError(Exception):
    def __init__(self, href, reason):
        super().__init__(f"{href}: {reason}")


def raising(error):
    def function(*_args):
        raise error

    return function


@both_engines
def test_an_exception_from_an_expression_is_rebuilt_from_its_message(engine):
    error = OneStringError("what, where")
    query = pl.LazyFrame({"a": [1]}).with_columns(row_wise(col("a"), raising(error)))
    with pytest.raises(OneStringError, match=r"^what, where\n") as caught:
        query.collect(engine=engine)
    assert caught.value is not error
    assert caught.value.__cause__ is None


@both_engines
def test_an_exception_that_needs_two_arguments_leaves_an_expression_as_a_type_error(engine):
    query = pl.LazyFrame({"a": [1]}).with_columns(row_wise(col("a"), raising(TwoPartError("x.tif", "gone"))))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        query.collect(engine=engine)


@both_engines
def test_an_exception_from_an_io_source_is_the_object_itself(engine):
    error = TwoPartError("x.tif", "gone")
    with pytest.raises(TwoPartError) as caught:
        register_io_source(raising(error), schema=SCHEMA).collect(engine=engine)
    assert caught.value is error


# Rule 11, second half: streaming callbacks do not see contextvars.


def test_streaming_callbacks_and_io_sources_do_not_see_contextvars():
    option = contextvars.ContextVar("option", default="default")
    seen = set()

    def see(values):
        seen.add(option.get())
        return values

    def source(with_columns, predicate, n_rows, batch_size):
        seen.add(option.get())
        yield pl.DataFrame({"a": [1]})

    token = option.set("set by the caller")
    try:
        pl.LazyFrame({"a": [1, 2]}).with_columns(row_wise(col("a"), see)).collect(engine="streaming")
        register_io_source(source, schema={"a": pl.Int64}).collect(engine="streaming")
    finally:
        option.reset(token)
    assert seen == {"default"}


# Rule 13: zero copy.


def test_numpy_to_array_and_back_is_zero_copy():
    pixels = np.arange(3 * 2 * 4 * 4, dtype=np.uint16).reshape(3, 2, 4, 4)
    series = pl.Series("chip", pixels)
    assert series.dtype == pl.Array(pl.UInt16, (2, 4, 4))
    assert np.shares_memory(pixels, series.to_numpy(allow_copy=False))
    assert np.shares_memory(pixels, series.slice(1, 2).to_numpy(allow_copy=False))


@both_engines
def test_an_array_column_is_not_copied_on_its_way_into_a_callback(engine):
    pixels = np.arange(3 * 2 * 4, dtype=np.uint16).reshape(3, 2, 4)
    shared = []

    def see(values):
        shared.append(np.shares_memory(pixels, values.to_numpy()))
        return values

    query = pl.LazyFrame({"chip": pl.Series(pixels)}).with_columns(row_wise(col("chip"), see, pl.self_dtype()))
    query.collect(engine=engine)
    assert set(shared) == {True}


def test_an_array_with_nulls_is_copied_to_floats():
    series = pl.Series([None, [1, 2]], dtype=pl.Array(pl.UInt16, 2))
    assert series.to_numpy().dtype == np.float32
    with pytest.raises(RuntimeError, match="copy not allowed"):
        series.to_numpy(allow_copy=False)
