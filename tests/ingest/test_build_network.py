"""Do headers obey the same limits as pixels: concurrency, throttle, deadline, budget, profile?"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import Affine

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache, process_scheduler
from tests.support.range_server import Fault, RangeServer

N_FILES = 60


def tiff() -> bytes:
    with MemoryFile() as memory:
        how = {"width": 8, "height": 8, "count": 1, "dtype": "uint8"}
        with memory.open(driver="GTiff", **how, crs="EPSG:4326", transform=Affine(1, 0, 9, 0, -1, 50)) as sink:
            sink.write(np.ones((8, 8), np.uint8), 1)
        return bytes(memory.read())


FILE = tiff()


@pytest.fixture
def server():
    clear_cache()
    with RangeServer({f"{n}.tif": FILE for n in range(N_FILES)}, latency_s=0.005) as server:
        yield server


def urls(server, *names) -> list[str]:
    return [server.url(name) for name in names or server.files]


def test_builds_in_threads_share_one_limit(server):
    built = []

    def build(numbers):
        built.append(
            pr.build_from_files(urls(server, *(f"{n}.tif" for n in numbers)), on_error="raise").collect().height
        )

    with pr.options(max_concurrency=4):
        threads = [threading.Thread(target=build, args=(range(first, N_FILES, 3),)) for first in range(3)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert built == [N_FILES // 3] * 3
    assert len(server.requests) == N_FILES
    assert 2 <= server.most_running <= 4


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_lowers_the_concurrency(status):
    clear_cache()
    running = []

    def fault(seen):
        running.append(server.n_running)
        return Fault(status=status) if seen.number < 40 else None

    # Slow enough that all 32 threads ask at once, and refused often enough that a limit halved twice shows in the last requests.
    with RangeServer({f"{n}.tif": FILE for n in range(N_FILES)}, latency_s=0.05) as server:
        server.fault = fault
        with pr.options(retries=12):
            frame = pr.build_from_files(urls(server), on_error="raise").collect()
    assert frame.height == N_FILES
    assert max(running[-20:]) <= 16


def test_a_profile_counts_every_request(server):
    server.fault = lambda seen: Fault(status=500) if seen.number % 5 == 0 else None
    with pr.profile() as p:
        pr.build_from_files(urls(server), on_error="raise").collect()
    told = p.by_host.row(0, named=True)
    n_failed = sum(seen.number % 5 == 0 for seen in server.requests)
    assert told["requests"] == len(server.requests)
    assert (told["retries"], told["failures"]) == (n_failed, n_failed)
    assert told["bytes"] == N_FILES * len(FILE)


def test_a_file_that_does_not_come_costs_its_record_and_no_more_than_its_deadline(server):
    server.fault = lambda seen: Fault(stall_after=3) if seen.path == "7.tif" else None
    began = time.monotonic()
    with pr.options(timeout_s=0.6):
        frame = pr.build_from_files(urls(server)).collect()
    assert time.monotonic() - began < 10
    assert frame["header_error"].is_not_null().to_list() == [n == 7 for n in range(N_FILES)]
    assert "asked for bytes" in frame["header_error"][7]
    assert process_scheduler().state().n_threads_lost == 0


@pytest.mark.parametrize("budget", [{"budget_requests": 10}, {"budget_bytes": 10 * 32_768}], ids=str)
def test_a_budget_ends_a_build(server, budget):
    with pytest.raises(pr.errors.BudgetError, match=r"1 requests, .*budget_"), pr.options(**budget):
        pr.build_from_files(urls(server))
    assert len(server.requests) <= 10
    with pr.options(budget_requests=N_FILES):
        assert pr.build_from_files(urls(server)).collect()["header_error"].null_count() == N_FILES


def test_a_refresh_asks_through_the_same_door(server, tmp_path):
    pr.build_from_files(urls(server), on_error="raise", into=tmp_path / "c")
    server.clear()
    with pr.options(max_concurrency=3), pr.profile() as p:
        pr.refresh(tmp_path / "c")
    assert len(server.requests) == N_FILES == p.summary()["requests"].item()
    assert server.most_running <= 3
