"""Does a build of a search survive a kill, read no header twice, and notice files that were replaced?"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
import polars_rasteret.ingest.resumable_build as into_module
from polars_rasteret.collection.storage.parts import parts_at
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.ingest.indexed_files import N_CHECK_BYTES
from polars_rasteret.testing import make_cog
from tests.support.child_process import environment
from tests.support.range_server import RangeServer
from tests.support.stac_server import StacServer

BUILDER = """
    import sys
    import polars_rasteret as pr
    import polars_rasteret.ingest.resumable_build as into_module
    import polars_rasteret.ingest.joined_parts as joined_module
    into_module.RECORDS_PER_PART = int(sys.argv[3])
    joined_module.RECORDS_PER_PART = 3 * int(sys.argv[3])
    pr.build_from_stac(sys.argv[1], into=sys.argv[2], bands=["red"])
"""


def cog(number: int) -> bytes:
    pixels = np.full((1, 32, 32), number % 40, dtype="uint8" if number % 7 else "uint16")
    return make_cog(pixels, transform=(10.0, 0.0, 300_000.0 + 9_000 * (number % 40), 0.0, -10.0, 5_000_000.0))


def item(number: int, href: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"i{number:05}",
        "collection": "c",
        "geometry": None,
        "properties": {"datetime": f"2024-05-01T00:00:00.{number:06}Z", "n": number, **properties},
        "assets": {"red": {"href": href, "raster:bands": [{"scale": 0.5}]}},
    }


@contextmanager
def world(n_items: int, **habits: Any) -> Iterator[tuple[StacServer, RangeServer]]:
    files = {f"{number:05}.tif": cog(number) if number % 50 != 17 else b"no tiff" * 10 for number in range(n_items)}
    with RangeServer(files, latency_s=habits.pop("latency_s", 0.0)) as files_server:
        items = [item(number, files_server.url(f"{number:05}.tif")) for number in range(n_items)]
        with StacServer(items, **{"most_per_page": 7, **habits}) as api:
            yield api, files_server


def content(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.drop("indexed_at").sort("id", "datetime").collect()


def header_reads(server: RangeServer) -> list[str]:
    return [one.path for one in server.requests if (one.byte_stop or 0) - (one.byte_start or 0) > N_CHECK_BYTES]


def held(folder: Path) -> set[str]:
    if not folder.exists() or not parts_at(folder):
        return set()
    found = pr.scan_collection(folder).select(pl.col("red").struct.field("href")).collect().to_series().drop_nulls()
    return {Path(href).name for href in found}


def killed_and_restarted(tmp_path: Path, n_items: int, n_kills: int, n_per_part: int) -> None:
    chance = random.Random(5)
    folder = tmp_path / "grown"
    with world(n_items, latency_s=0.01) as (api, server):
        for number in range(n_kills + 1):
            before = held(folder)
            server.clear()
            process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(BUILDER), api.url, str(folder), str(n_per_part)],
                env=environment(PYTHONWARNINGS="ignore"),
            )
            if number < n_kills:
                target = chance.randrange(n_items // n_kills // 4, n_items // n_kills)
                while process.poll() is None and len(server.requests) < target:
                    time.sleep(0.002)
                process.kill()
                assert process.wait() == -signal.SIGKILL
                n_before = -1
                while server.n_running or len(server.requests) != n_before:
                    n_before = len(server.requests)
                    time.sleep(0.15)
            else:
                assert process.wait() == 0
            asked = [one.path for one in server.requests]
            assert not before & set(asked), "a file of a finished part was asked again"
            assert len(asked) == len(set(asked)), "a header was read twice in one run"
        assert before, "no kill came after a finished part"
        assert not list(folder.rglob(".*"))
        found = content(pr.scan_collection(folder))
        expected = content(pr.build_from_stac(api.url, bands=["red"]))
    assert expected.height == n_items
    assert_frame_equal(found, expected, check_column_order=False)
    assert all(len(pl.read_parquet(part.path, columns=["id"])) < 2 * 3 * n_per_part for part in parts_at(folder))


def test_a_search_killed_at_random_moments_and_restarted_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    killed_and_restarted(tmp_path, n_items=240, n_kills=3, n_per_part=20)


@pytest.mark.slow
def test_a_search_of_2000_items_killed_twenty_times_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    killed_and_restarted(tmp_path, n_items=2_000, n_kills=20, n_per_part=20)


def test_a_second_build_reads_what_is_new_or_changed_and_keeps_replaced_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 10)
    folder = tmp_path / "c"
    with world(30) as (api, server):
        later = api.items[25:]
        del api.items[25:]
        pr.build_from_stac(api.url, into=folder)
        assert len(header_reads(server)) == 25
        assert len(parts_at(folder)) == 3
        parts = {part.path for part in parts_at(folder)}
        server.clear()
        pr.build_from_stac(api.url, into=folder)
        assert header_reads(server) == []
        assert {part.path for part in parts_at(folder)} == parts
        server.clear()
        api.items += later
        server.files["00003.tif"] = cog(5)  # changed in its place
        server.files["moved.tif"] = cog(8)
        api.items[4] = item(
            4, server.url("moved.tif")
        )  # Earth Search keeps the id of a Landsat item when files are replaced
        found = pr.build_from_stac(api.url, into=folder)
        assert sorted(header_reads(server)) == sorted(
            ["00003.tif", *(f"{n:05}.tif" for n in range(25, 30)), "moved.tif"]
        )
        ids = found.select("id").collect().to_series()
        assert sorted(ids) == sorted([*(f"i{n:05}" for n in range(30)), "i00004"])
        again = pr.build_from_stac(api.url)
        old = pl.col("red").struct.field("href").str.ends_with("00004.tif").fill_null(value=False)
        assert_frame_equal(content(found.filter(~old)), content(again), check_column_order=False)


def test_types_of_properties_are_united_over_the_pages_of_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 14)
    with world(20) as (api, _):
        for number, one in enumerate(api.items):
            one["properties"] |= {"part": 3 if number < 7 else 2.5, "late": None if number < 14 else [1], "never": None}
        found = pr.build_from_stac(api.url, into=tmp_path / "c")
    schema = found.collect_schema()
    assert (schema["part"], schema["late"], "never" in schema) == (pl.Float64, pl.List(pl.Int64), False)
    assert found.select("part", "late").collect().rows() == [
        (3.0 if n < 7 else 2.5, None if n < 14 else [1])
        for n in (int(name[1:]) for name in found.select("id").collect()["id"])
    ]


def test_a_search_that_fails_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(into_module, "RECORDS_PER_PART", 10)
    folder = tmp_path / "c"
    with world(40, faults={number: (403, {}) for number in range(4, 99)}) as (api, server):
        with pytest.raises(FetchError, match="403"):
            pr.build_from_stac(api.url, into=folder)
        api.habits.faults.clear()
        n_read = len(held(folder))
        assert n_read
        server.clear()
        assert pr.build_from_stac(api.url, into=folder).select(pl.len()).collect().item() == 40
        assert len(header_reads(server)) <= 40 - n_read


def test_bands_that_a_record_lacks_are_refused_and_no_items_write_nothing_unnamed(tmp_path: Path) -> None:
    with world(3) as (api, _):
        pr.build_from_stac(api.url, into=tmp_path / "c", bands=["red"])
        with pytest.raises(UsageError, match="with the bands red; asked for were again, red"):
            pr.build_from_stac(api.url, into=tmp_path / "c", bands={"red": "red", "again": "red"})
        with pytest.raises(UsageError, match="no item has 'blue'"):
            pr.build_from_stac(api.url, into=tmp_path / "d", bands=["blue"])
        for bands, n_parts in ((["red"], 1), (None, 0)):
            folder = tmp_path / f"e{n_parts}"
            with pytest.warns(UserWarning, match="no item was found"):
                empty = pr.build_from_stac(api.url, into=folder, ids="none", bands=bands)
            assert empty.select(pl.len()).collect().item() == 0
            assert len(parts_at(folder)) == n_parts
        one = pr.build_from_stac(api.url, into=tmp_path / "one.parquet")
        assert one.select(pl.len()).collect().item() == 3
        assert json.loads(json.dumps(pl.read_parquet_metadata(tmp_path / "one.parquet")))
