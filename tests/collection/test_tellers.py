"""Does a scan of a remote place mark its raster values, and still read only what the query needs?"""

from __future__ import annotations

import itertools

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.collection.reading.provenance import provenance_of, scan_with_provenance
from polars_rasteret.hrefs import Provenance
from polars_rasteret.tiff.tile_flags import first_byte, flags_of, is_borrowed
from tests.support.engines import ENGINES


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/data/c", {}, Provenance.HERE),
        ("data/c.parquet", None, Provenance.HERE),
        ("file:///data/c", None, Provenance.HERE),
        ("https://a.invalid/c.parquet", None, Provenance.REMOTE),
        ("s3://box/c", None, Provenance.REMOTE),
        ("hf://datasets/a/b", None, Provenance.REMOTE),
        ("http://127.0.0.1:8000/c.parquet", None, Provenance.LOOPBACK),
        ("http://2130706433/c.parquet", None, Provenance.LOOPBACK),
        ("http://me@[::1]:8000/c.parquet", None, Provenance.LOOPBACK),
        ("http://localhost/c.parquet", None, Provenance.LOOPBACK),
        ("http://localhost@10.0.0.1/c.parquet", None, Provenance.REMOTE),
        ("s3://box/c", {"aws_endpoint_url": "http://127.0.0.1:9000"}, Provenance.LOOPBACK),
        ("s3://box/c", {"endpoint_url": "https://minio.invalid"}, Provenance.REMOTE),
    ],
)
def test_who_told(path, options, expected, monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert provenance_of(path, options) is expected


def scenes():
    frame = pr.testing.example_scenes().collect()
    nothing = frame.with_columns(pl.lit(None, dtype=frame.schema["nir"]).alias("nir"))
    borrowed = frame.with_columns(
        pl.col("nir").struct.with_fields(tiles=pl.lit(b"\x08") + pl.field("tiles").bin.slice(1))
    )
    return pl.concat([frame.with_columns(pl.col("nir").raster.with_metadata(nodata=None)), frame, nothing, borrowed])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("provenance", list(Provenance))
def test_a_mark_changes_the_flag_alone_and_never_to_a_weaker_one(engine, provenance):
    before = scenes()
    for earlier in Provenance:
        there = scan_with_provenance(before.lazy(), ["nir"], earlier).collect(engine=engine)
        after = scan_with_provenance(there.lazy(), ["nir"], provenance).collect(engine=engine)
        assert after.schema == before.schema
        assert after.drop("nir").equals(before.drop("nir"))
        others = [name for name in before["nir"].struct.fields if name != "tiles"]
        assert after["nir"].struct.unnest()[others].equals(before["nir"].struct.unnest()[others])
        assert after["nir"].is_null().to_list() == before["nir"].is_null().to_list()
        for was, now in zip(before["nir"].struct.field("tiles"), after["nir"].struct.field("tiles"), strict=True):
            assert (was is None) == (now is None)
            if was is not None:
                assert now[1:] == was[1:]
                assert flags_of(now) == (flags_of(was)[0], max(provenance, earlier))
                assert is_borrowed(now) == is_borrowed(was)


def test_every_mark_is_read_as_it_was_written():
    for ignore, provenance, borrowed in itertools.product((False, True), Provenance, (False, True)):
        byte = first_byte(ignore_nodata=ignore, provenance=provenance, is_borrowed=borrowed)
        assert flags_of(byte) == (ignore, provenance)
        assert is_borrowed(byte) == borrowed
    assert [flags_of(bytes((byte,)))[1] for byte in range(6, 256, 8)] == [Provenance.REMOTE] * 32


def test_filters_and_column_selection_sink_below_the_mark(tmp_path):
    scenes().write_parquet(tmp_path / "c.parquet")
    scan = pl.scan_parquet(tmp_path / "c.parquet")
    for query in (
        lambda lf: lf.filter(pl.col("bbox").struct.field("xmin") < 10).select("id", "nir"),
        lambda lf: lf.filter(pl.col("id") == "first").select("id"),
        lambda lf: lf.select("id", "nir").head(2),
    ):
        plans = [query(one).explain() for one in (scan, scan_with_provenance(scan, ["red", "nir"], Provenance.REMOTE))]
        words = ("PROJECT", "SELECTION", "SLICE")
        scans = [[line.strip() for line in plan.splitlines() if any(map(line.__contains__, words))] for plan in plans]
        assert scans[0] == scans[1] != []
    assert "WITH_COLUMNS" not in scan_with_provenance(scan, ["nir"], Provenance.REMOTE).select("id").explain()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_mark_survives_joins_renames_and_parquet(engine, tmp_path):
    lf = scan_with_provenance(scenes().lazy(), ["nir"], Provenance.REMOTE)
    away = (
        lf.join(pl.LazyFrame({"id": ["first"], "k": [1]}), on="id")
        .rename({"nir": "x"})
        .select(pl.col("x").alias("y"), "k")
    )
    away.collect(engine=engine).write_parquet(tmp_path / "a.parquet")
    there = pl.read_parquet(tmp_path / "a.parquet")["y"].struct.field("tiles").drop_nulls()
    assert {flags_of(one)[1] for one in there} == {Provenance.REMOTE}
