"""Does a profile tell what every host cost, and the bar how far a read is?"""

from __future__ import annotations

import re

import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.fault_plans import Faults
from tests.support.range_server import Fault, RangeServer
from tests.support.workloads import EACH_TILE_ALONE, sample


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_every_host_has_its_account(archive, server, engine):
    with RangeServer(archive.files) as other:
        records = pl.concat(
            [archive.records(server.origin + "/").head(1), archive.records(other.origin + "/").slice(1, 2)]
        ).collect()
        server.clear()
        other.clear()
        server.fault = Faults(9, kinds=("500", "short", "reset"))
        points = archive.points(2000)
        with pr.options(retries=15, timeout_s=60, **EACH_TILE_ALONE), pr.profile() as p:
            got = sample(records.lazy(), points, "verb").collect(engine=engine)
            again = sample(records.lazy(), points, "verb").collect(engine=engine)
    assert got.equals(again)
    hosts = p.by_host
    assert hosts.schema == {
        "host": pl.String,
        "requests": pl.Int64,
        "bytes": pl.Int64,
        "retries": pl.Int64,
        "failures": pl.Int64,
        "request_s": pl.Float64,
    }
    # Two of the three records are on the other server.
    assert hosts["host"].to_list() == [other.origin, server.origin]
    quiet, faulty = hosts.row(0, named=True), hosts.row(1, named=True)
    assert (quiet["requests"], quiet["bytes"]) == (len(other.requests), other.n_bytes)
    assert (quiet["retries"], quiet["failures"]) == (0, 0)
    assert faulty["requests"] == len(server.requests)
    assert faulty["retries"] == faulty["failures"] == sum(server.fault.n.values()) > 10
    summary = p.summary().row(0, named=True)
    assert summary["requests"] == hosts["requests"].sum()
    assert summary["bytes"] == hosts["bytes"].sum()
    assert summary["retries"] == hosts["retries"].sum()
    assert summary["cache_hits"] == 3 * 2 * 64
    assert summary["tiles"] == 2 * 3 * 2 * 64
    assert summary["decoded_tiles"] == 2 * 3 * 2 * 64
    assert summary["errors"] == 0
    for seconds in ("plan_s", "wait_s", "decode_s"):
        assert 0 < summary[seconds] < summary["elapsed_s"] * 64


def test_failed_values_are_counted_with_their_reasons(archive, server):
    records = archive.records(server.origin + "/").collect().lazy()
    server.fault = lambda seen: Fault(status=404) if seen.path == "1/nir.tif" else None
    points = archive.points(100)
    clear_cache()
    with pr.profile() as p:
        records.raster.sample_points(points, crs="native", on_error="null").collect()
    assert p.summary()["errors"].item() == len(p.errors) == 100
    assert all(re.match(r"nir: http://.*/1/nir.tif: asked for bytes \d+\.\.\d+ .*404", one) for one in p.errors)
    failures = p.by_host["failures"].item()
    assert 0 < failures <= 64


def test_indexing_has_its_account(server):
    server.fault = lambda seen: Fault(status=500) if seen.number == 0 else None
    with pr.profile() as p:
        pr.build_from_files([server.url("0/red.tif")])
    told = p.by_host.row(0, named=True)
    assert (told["host"], told["retries"], told["failures"]) == (server.origin, 1, 1)
    assert told["requests"] == len(server.requests)


def test_a_profile_of_nothing_has_no_hosts():
    with pr.profile() as p:
        pass
    assert p.by_host.height == 0


@pytest.mark.parametrize("face", ["verb", "expression"])
@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_the_bar_shows_tiles_and_bytes(archive, server, capsys, engine, face):
    records = archive.records(server.origin + "/").collect().lazy()
    points = archive.points(300)
    server.clear()
    with pr.options(progress=True, **EACH_TILE_ALONE):
        asked = sample(records, points, face)
    capsys.readouterr()
    asked.collect(engine=engine)
    last = capsys.readouterr().err.split("\r")[-1]
    found = re.search(r"read: 100%.* (\d+)/(\d+) .*tile.*, ([\d.]+) MB", last)
    assert found, last
    if face == "verb":
        assert found[1] == found[2] == str(len(server.requests))
        assert float(found[3]) == pytest.approx(server.n_bytes / 1e6, abs=0.051)
    assert "read:" not in capsys.readouterr().err


def test_without_progress_nothing_is_shown(archive, server, capsys):
    archive.records(server.origin + "/").raster.sample_points(archive.points(30), crs="native").collect()
    assert capsys.readouterr().err == ""
