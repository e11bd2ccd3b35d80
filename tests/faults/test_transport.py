"""What do unusual servers do to an answer: redirects, HTTP/1.0, TLS, limits on connections and rates?"""

from __future__ import annotations

import ssl
import threading
import time
from collections import Counter

import httpx
import pytest
from polars.testing import assert_frame_equal

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache, process_scheduler
from tests.support.fault_plans import Faults, http_date, refuse_above
from tests.support.range_server import Fault, RangeServer
from tests.support.workloads import EACH_TILE_ALONE, FACES_ON_ENGINES, sample


def read_all(archive, prefix, *, engine="streaming", face="verb", n=3000, records=None, **options):
    """Read every tile; the answer must be right."""
    points = archive.points(n)
    records = archive.records(prefix) if records is None else records
    clear_cache()
    with pr.options(**{"timeout_s": 30, **EACH_TILE_ALONE, **options}):
        asked = sample(records, points, face)
    assert_frame_equal(asked.collect(engine=engine), archive.sampled(points))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_to_another_port_are_followed(archive, server, status):
    with RangeServer() as front:
        front.fault = lambda seen: Fault(status=status, headers={"Location": server.url(seen.path)})
        read_all(archive, front.origin + "/")
        assert len(front.requests) > 500
    assert all(seen.byte_start is not None for seen in server.requests)


def test_a_redirect_now_and_then_does_not_lose_the_check_of_the_version(archive, server):
    with RangeServer(archive.files) as front:
        records = archive.records(front.origin + "/")
        front.fault = lambda seen: Fault(status=307, headers={"Location": server.url(seen.path)})
        server.files = {**server.files, "1/red.tif": server.files["1/red.tif"][:-1] + b"\xff"}
        with pytest.raises(pr.errors.StaleIndexError, match=r"1/red.tif"):
            read_all(archive, "", records=records)


def test_a_loop_of_redirects_is_a_fetch_error(archive, server):
    records = archive.records(server.origin + "/")
    server.fault = lambda seen: Fault(status=302, headers={"Location": server.url(seen.path)})
    with pytest.raises(pr.errors.FetchError, match="redirects go in a circle"):
        read_all(archive, "", records=records, retries=1)


@pytest.mark.parametrize("keeps_ranges", [True, False])
def test_http_1_0_servers_are_read(archive, keeps_ranges):
    with RangeServer(archive.files, protocol="HTTP/1.0") as server:
        if not keeps_ranges:
            server.fault = lambda _seen: Fault(ignore_range=True)
        read_all(archive, server.origin + "/", n=200 if keeps_ranges else 40)


def test_faults_of_a_tls_server_are_survived(archive, tls):
    context, _ = tls
    with RangeServer(archive.files, tls=context) as server:
        prefix = server.origin + "/"
        pr.configure_store(prefix, storage_options={"allow_invalid_certificates": "true"})
        server.fault = Faults(6, kinds=("500", "503", "429 with a date", "reset", "cut", "whole file"))
        read_all(archive, prefix, retries=12, timeout_s=60)
        pr.configure_store(prefix)


def test_a_callers_client_brings_its_own_trust_and_headers(archive, tls):
    context, certificate = tls
    with RangeServer(archive.files, tls=context) as server:
        prefix = server.origin + "/"
        trusting = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=trusting, headers={"Authorization": "Bearer 123"}) as client:
            pr.configure_store(prefix, client=client)
            read_all(archive, prefix, n=200)
            pr.configure_store(prefix)
        assert server.requests
        assert {seen.headers["Authorization"] for seen in server.requests} == {"Bearer 123"}


def test_a_certificate_that_is_not_trusted_is_a_fetch_error(archive, tls):
    with (
        RangeServer(archive.files, tls=tls[0]) as server,
        pr.options(retries=0),
        pytest.raises(pr.errors.FetchError, match=r"(?i)certificate"),
    ):
        pr.build_from_files([server.url("0/red.tif")], on_error="raise")


def test_each_prefix_has_its_own_headers(archive, server):
    records = archive.records(server.origin + "/")
    for scene in range(4):
        pr.configure_store(f"{server.origin}/{scene}/", storage_options={"headers": {"X-Key": str(scene)}})
    server.clear()
    read_all(archive, "", records=records, n=200)
    for scene in range(4):
        pr.configure_store(f"{server.origin}/{scene}/")
    keys = [{name.lower(): value for name, value in seen.headers.items()}["x-key"] for seen in server.requests]
    assert {(seen.path[0], key) for seen, key in zip(server.requests, keys, strict=True)} == {
        (str(n), str(n)) for n in range(4)
    }


@pytest.mark.parametrize("said", [lambda: "1", lambda: http_date(2.0)], ids=["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_wait_a_server_asks_for_is_obeyed(archive, tls, scheme, status, said):
    with RangeServer(archive.files, tls=tls[0] if scheme == "https" else None) as server:
        pr.configure_store(server.origin + "/", storage_options={"allow_invalid_certificates": "true"})
        records = archive.records(server.origin + "/").head(1)
        asked_at: list[float] = []

        def fault(_seen):
            asked_at.append(time.monotonic())
            # The first two: the quick client does not show headers, so that the thorough one asks again at once.
            return Fault(status=status, headers={"Retry-After": said()}) if len(asked_at) <= 2 else None

        server.fault = fault
        clear_cache()
        records.raster.sample_points(archive.points(1), ["red"], crs="native").collect()
        pr.configure_store(server.origin + "/")
    assert len(asked_at) == 3
    # An HTTP date has whole seconds.
    assert asked_at[2] - asked_at[1] >= 0.95


def test_a_wait_beyond_the_deadline_is_not_begun(archive, server):
    records = archive.records(server.origin + "/")
    server.fault = lambda _seen: Fault(status=503, headers={"Retry-After": "3600"})
    started = time.monotonic()
    with pytest.raises(pr.errors.FetchError, match=r"503.*Gave up after 2 attempt"):
        read_all(archive, "", records=records, timeout_s=60)
    assert time.monotonic() - started < 50


def test_nothing_outlives_its_deadline(archive, server):
    records = archive.records(server.origin + "/").collect().lazy()
    silent = {"no answer": Fault(delay_s=60), "stall": Fault(stall_after=3)}
    for fault in silent.values():
        server.fault = lambda _seen, fault=fault: fault
        started = time.monotonic()
        with pytest.raises(pr.errors.FetchError, match=r"asked for bytes"):
            read_all(archive, "", records=records, timeout_s=2)
        assert time.monotonic() - started < 50


@pytest.mark.parametrize(("face", "engine"), FACES_ON_ENGINES)
@pytest.mark.parametrize("most", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_a_server_that_takes_few_requests_at_once_gets_few(archive, most, face, engine):
    with RangeServer(archive.files, latency_s=0.005) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        server.clear()
        refused = Counter()

        def fault(seen):
            answer = refuse_above(server, most, Fault(status=429))(seen)
            refused[answer is not None] += 1
            return answer

        server.fault = fault
        read_all(archive, "", records=records, face=face, engine=engine, timeout_s=60, retries=10)
    assert refused[False] == 512
    assert refused[True] < 512 * 0.25, "32 at once would be refused again and again"


def test_a_server_that_resets_connections_beyond_a_limit_is_read(archive):
    with RangeServer(archive.files, latency_s=0.005) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        server.fault = refuse_above(server, 4, Fault(reset=True))
        read_all(archive, "", records=records, timeout_s=60, retries=10)


def test_one_slow_host_does_not_hold_back_another(archive, server):
    """Both hosts serve half of the tiles; one takes a single request at a time."""
    with RangeServer(archive.files, latency_s=0.006) as narrow:
        slow = archive.records(narrow.origin + "/").collect().lazy()
        quick = archive.records(server.origin + "/").collect().lazy()
        narrow.fault = refuse_above(narrow, 1, Fault(status=429))
        done: dict[str, float] = {}
        began = time.monotonic()

        def run(name, records):
            points = archive.points(3000)
            with pr.options(timeout_s=60, retries=20, **EACH_TILE_ALONE):
                asked = sample(records, points, "verb")
            assert_frame_equal(asked.collect(), archive.sampled(points))
            done[name] = time.monotonic() - began

        clear_cache()
        threads = [threading.Thread(target=run, args=one) for one in (("slow", slow), ("quick", quick))]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert set(done) == {"slow", "quick"}
    assert done["quick"] < done["slow"] / 2


def test_a_host_recovers_its_concurrency(archive):
    with RangeServer(archive.files, latency_s=0.01) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        server.clear()
        server.fault = lambda seen: Fault(status=503) if seen.number < 40 else None
        read_all(archive, "", records=records, timeout_s=60, retries=20)
        server.clear()
        server.fault = lambda _seen: None
        for _ in range(6):
            read_all(archive, "", records=records)
        assert server.most_running >= 16


def test_max_concurrency_is_kept_as_the_server_sees_it(archive):
    with RangeServer(archive.files, latency_s=0.01) as server:
        records = archive.records(server.origin + "/").collect().lazy()
        for most in (2, 12):
            server.clear()
            with pr.options(max_concurrency=most):
                read_all(archive, "", records=records, n=60)
            assert server.most_running <= most
            assert process_scheduler().state().n_running == 0


def test_an_answer_that_says_the_file_is_shorter_is_a_stale_index(archive, server):
    records = archive.records(server.origin + "/")
    server.fault = lambda _seen: Fault(headers={"Content-Range": "bytes 3-9/10"})
    with pytest.raises(pr.errors.StaleIndexError, match=r"asked for bytes .*refresh"):
        read_all(archive, "", records=records)
