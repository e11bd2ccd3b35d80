"""Are answers exact, or do errors say which bytes of which file, when a fifth of all requests go wrong?"""

from __future__ import annotations

import polars as pl
import pytest

import polars_rasteret as pr
from tests.support.fault_plans import KINDS, Faults
from tests.support.workloads import (
    EACH_TILE_ALONE,
    FACES_ON_ENGINES,
    N_POINTS,
    N_WINDOWS,
    check_null,
    check_raise,
    sample,
    windows,
    windows_truth,
)

TIMEOUT_S = 4.0
WITHIN_S = 300.0
"""Deadlines count from the start of a request, and requests wait for their turn: 512 of them, 32 at a time."""


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
def test_points_are_exact_or_the_error_names_the_bytes(archive, server, face, engine):
    records, points = archive.records(server.origin + "/"), archive.points(N_POINTS)
    server.fault = faults = Faults(1)
    with pr.options(timeout_s=TIMEOUT_S, **EACH_TILE_ALONE):
        asked = sample(records, points, face)
        check_raise(asked, archive.sampled(points), engine, prefix=server.origin + "/", within_s=WITHIN_S)
    assert sum(faults.n.values()) > 50


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
def test_windows_are_exact_or_the_error_names_the_bytes(archive, server, face, engine):
    records, points = archive.records(server.origin + "/"), archive.points(N_WINDOWS)
    server.fault = faults = Faults(2)
    with pr.options(timeout_s=TIMEOUT_S, **EACH_TILE_ALONE):
        asked = windows(records, points, face)
        check_raise(asked, windows_truth(archive, points), engine, prefix=server.origin + "/", within_s=WITHIN_S)
    assert sum(faults.n.values()) > 50


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
def test_with_enough_attempts_every_answer_is_exact(archive, server, face, engine):
    records, points = archive.records(server.origin + "/"), archive.points(N_POINTS)
    server.fault = Faults(3, kinds=tuple(kind for kind in KINDS if kind not in ("no answer", "stall in the body")))
    with pr.options(timeout_s=60, retries=15, **EACH_TILE_ALONE):
        asked = sample(records, points, face)
        outcome = check_raise(asked, archive.sampled(points), engine, prefix=server.origin + "/", within_s=WITHIN_S)
    assert outcome == "exact"


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
@pytest.mark.parametrize("what", ["points", "windows"])
def test_every_null_has_its_reason(archive, server, what, face, engine):
    records = archive.records(server.origin + "/")
    points = archive.points(N_POINTS if what == "points" else N_WINDOWS)
    server.fault = Faults(4)
    with pr.options(timeout_s=TIMEOUT_S, retries=1, on_error="null", **EACH_TILE_ALONE):
        asked = sample(records, points, face) if what == "points" else windows(records, points, face)
    truth = archive.sampled(points) if what == "points" else windows_truth(archive, points)
    assert check_null(asked, truth, engine, face, within_s=WITHIN_S) > 0


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
@pytest.mark.parametrize("change", ["bytes", "size", "time"])
def test_replaced_files_are_a_stale_index(archive, server, change, face, engine):
    records, points = archive.records(server.origin + "/"), archive.points(500)
    server.files = dict(server.files)
    data = bytearray(server.files["2/nir.tif"])
    if change == "time":
        server.etag = False
        records = archive.records(server.origin + "/")
        server.last_modified = server.last_modified.replace(year=2025)
    elif change == "size":
        server.files["2/nir.tif"] = bytes(data) + b"\0"
    else:
        data[-1] ^= 1
        server.files["2/nir.tif"] = bytes(data)
    server.fault = Faults(5, kinds=("500", "503", "reset", "short"))
    with pr.options(retries=12, timeout_s=60):
        asked = sample(records, points, face)
        with pytest.raises(pr.errors.StaleIndexError, match=r"asked for bytes .*refresh"):
            asked.collect(engine=engine)
    with pr.options(retries=12, timeout_s=60, on_error="null"):
        asked = sample(records, points, "verb")
    got = asked.collect(engine=engine)
    stale = pl.lit(value=True) if change == "time" else pl.col("record_id") == "scene-2"
    assert got.filter(stale)["nir"].null_count() == got.filter(stale).height
    assert got.filter(stale)["read_error"].str.contains("nir: .*index it again").all()
    if change != "time":
        assert got.filter(~stale)["read_error"].null_count() == got.filter(~stale).height
