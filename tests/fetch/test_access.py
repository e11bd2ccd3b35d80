"""Is every place that a request leads to one that it may reach?"""

from __future__ import annotations

import contextlib
import socket

import httpx
import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.errors import FetchError
from polars_rasteret.fetch import addresses
from polars_rasteret.fetch.failures import RefusedHrefError
from polars_rasteret.fetch.scheduling.scheduler import FileKey
from polars_rasteret.fetch.sources.byte_source import Terms
from polars_rasteret.fetch.sources.stores import configure_store
from polars_rasteret.hrefs import Provenance
from polars_rasteret.testing import make_cog
from tests.support.range_server import Fault, RangeServer
from tests.support.receiver import DATA, fetch

METADATA = [
    "http://169.254.169.254/latest/meta-data/a.tif",
    "http://169.254.7.7:8080/a.tif",
    "http://2852039166/a.tif",
    "http://0xa9fea9fe/a.tif",
    "http://0xA9.0376.0251.0376/a.tif",
    "http://169.254.43518/a.tif",
    "http://[::ffff:169.254.169.254]/a.tif",
    "http://[::ffff:a9fe:a9fe]/a.tif",
    "http://[fe80::1]/a.tif",
    "http://[fd00:ec2::254]/a.tif",
    "http://user@169.254.169.254/a.tif",
    "http://good.invalid@169.254.169.254/a.tif",
    "https://169.254.169.254/a.tif",
    "http://169.254.169.254./a.tif",
    "HTTP://169.254.169.254?x=a.tif",
    "http://100.100.100.200/a.tif",
]


OTHER_PLACES = ["file:///etc/passwd", "ftp://127.0.0.1/x", "s3://bucket/x", "//169.254.169.254/x"]


@pytest.fixture
def no_network(monkeypatch):
    """A connection to anything but loopback is a failure of the test."""
    connect = socket.socket.connect

    def watched(self, address):
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"), f"connected to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)


@pytest.fixture
def names(monkeypatch):
    """Names of this test and their addresses; obstore has its own look-up, so nothing here may need it."""
    table: dict[str, list[str]] = {}
    look_up = socket.getaddrinfo

    def answer(host, port, *args, **words):
        known = table.get(host if isinstance(host, str) else host.decode())
        if known is None:
            return look_up(host, port, *args, **words)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port or 0)) for one in known]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(addresses, "_known", {})
    return table


def one(href, *, allowed=None, provenance=Provenance.HERE, **options):
    got = fetch(FileKey(href, terms=Terms.of(allowed, provenance)), [10], [500], **options)
    return got.tiles.get(0), got.errors.get(0)


def refused(href, **terms):
    data, error = one(href, **terms)
    assert data is None
    assert type(error) is RefusedHrefError, repr(error)
    return str(error)


@contextlib.contextmanager
def servers(n=2):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RangeServer({"f.bin": DATA})) for _ in range(n)]


def sends_on(server, location, status=302):
    server.fault = lambda seen: Fault(status=status, headers={"Location": location}) if seen.path == "go" else None
    return f"{server.origin}/go"


# -- link-local ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("href", METADATA)
def test_link_local_addresses_are_refused_in_every_spelling(href):
    assert "configure_store" in refused(href)
    # A list of what is allowed does not allow them either.
    refused(href, allowed=("http://169.254.169.254/", "https://169.254.169.254/", href))


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_to_a_link_local_address_is_refused(names, scheme):
    names["metadata.invalid"] = ["93.184.216.34", "169.254.169.254"]
    refused(f"{scheme}://metadata.invalid/a.tif")


@pytest.mark.usefixtures("no_network")
def test_a_name_that_leads_elsewhere_the_second_time_is_refused_before_anything_is_sent(names, monkeypatch):
    names["rebound.invalid"] = ["93.184.216.34"]
    assert addresses.reaches_of("rebound.invalid") == {addresses.Reach.ELSEWHERE}
    # What the name server says when the client asks is what the socket sees.
    monkeypatch.setattr("polars_rasteret.fetch.sources.httpx_source._peer", lambda _stream: "169.254.169.254")
    with RangeServer({"f.bin": DATA}) as server:
        names["rebound.invalid"] = ["127.0.0.1"]
        refused(server.url("f.bin").replace("127.0.0.1", "rebound.invalid"))
        assert server.requests == []


def test_a_plain_http_name_is_asked_by_obstore_at_the_address_that_was_checked(names):
    """Its own look-up would find nothing: the name is one of this test."""
    with servers(1) as (server,):
        names["tiles.invalid"] = ["127.0.0.1"]
        file = FileKey(server.url("f.bin").replace("127.0.0.1", "tiles.invalid"))
        for at in range(3):
            assert fetch(file, [at], [400]).tiles == {0: DATA[at:400]}
        names["tiles.invalid"] = ["169.254.169.254"]
        assert fetch(file, [3], [400]).tiles == {0: DATA[3:400]}
        # Who may not reach loopback may not reach it by what others have found.
        assert "this machine" in refused(file.href, provenance=Provenance.REMOTE)
        names["tiles.invalid"] = ["127.0.0.1"]
        assert ["User-Agent" in seen.headers for seen in server.requests] == [True, *[False] * 3]  # obstore sends none
        # An address that fails is not kept.
        server.fault = lambda seen: Fault(reset=True) if seen.number == 4 else None
        for at in range(4, 7):
            assert fetch(file, [at], [400]).tiles == {0: DATA[at:400]}
        assert ["User-Agent" in seen.headers for seen in server.requests[4:]] == [False, True, False, False]
        hosts = {value for seen in server.requests for name, value in seen.headers.items() if name.lower() == "host"}
        assert hosts == {file.href.split("/")[2]}


@pytest.mark.parametrize("location", ["/f.bin", "http://tiles.invalid:{port}/f.bin"])
def test_redirects_of_a_plain_http_name_are_followed_at_its_address(names, location):
    with servers(1) as (server,):
        names["tiles.invalid"] = ["127.0.0.1"]
        port = server.origin.rpartition(":")[2]
        go = sends_on(server, location.format(port=port)).replace("127.0.0.1", "tiles.invalid")
        assert fetch(FileKey(go.replace("/go", "/f.bin")), [1], [400]).tiles == {0: DATA[1:400]}
        assert fetch(FileKey(go), [2], [400]).tiles == {0: DATA[2:400]}


def test_a_link_local_address_is_read_where_a_store_is_configured():
    calls = []

    def handler(request):
        calls.append(str(request.url))
        headers = {"Content-Range": f"bytes 10-499/{len(DATA)}"}
        return httpx.Response(206, stream=httpx.ByteStream(DATA[10:500]), headers=headers)

    with httpx.Client(transport=httpx.MockTransport(handler)) as client:
        configure_store("http://169.254.77.1/data/", client=client)
        try:
            assert one("http://169.254.77.1/data/f.bin") == (DATA[10:500], None)
            refused("http://169.254.77.1/other/f.bin")
        finally:
            configure_store("http://169.254.77.1/data/")
    assert calls == ["http://169.254.77.1/data/f.bin"]


# -- redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("suffix", ["", "?x=1"])
def test_a_redirect_is_followed_with_the_range(status, suffix):
    with servers() as (first, second):
        href = sends_on(first, second.url("f.bin"), status) + suffix
        assert one(href) == (DATA[10:500], None)
        assert {seen.byte_start for seen in second.requests} == {10}
        relative = sends_on(first, "./f.bin", status) + suffix
        assert one(relative) == (DATA[10:500], None)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("location", [*METADATA[:8], *OTHER_PLACES])
@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_redirect_to_a_place_that_is_not_read_is_refused(location, is_allowed):
    with RangeServer({"f.bin": DATA}) as server:
        refused(sends_on(server, location), allowed=(f"{server.origin}/",) if is_allowed else None)


def test_every_step_is_within_what_is_allowed():
    with servers(3) as (first, second, third):
        href = sends_on(first, sends_on(second, third.url("f.bin")))
        assert one(href) == (DATA[10:500], None)
        all_three = [f"{server.origin}/" for server in (first, second, third)]
        assert one(href, allowed=tuple(all_three)) == (DATA[10:500], None)
        for left_out in range(3):
            third.clear()
            allowed = tuple(prefix for at, prefix in enumerate(all_three) if at != left_out)
            assert "allowed_hrefs" in refused(href, allowed=allowed)
            assert third.requests == []
        assert one(href, allowed=(first.origin, second.origin, third.url("f.bin"))) == (DATA[10:500], None)
        refused(href, allowed=(first.origin, second.origin, third.url("f.bin") + "x"))


def test_what_is_cached_for_one_list_is_not_given_to_another():
    with RangeServer({"f.bin": DATA}) as server:
        assert one(server.url("f.bin")) == (DATA[10:500], None)
        refused(server.url("f.bin"), allowed=("s3://other/",))
        assert one(server.url("f.bin"), allowed=(server.origin,)) == (DATA[10:500], None)


@pytest.mark.parametrize("fails_between", [False, True])
def test_redirects_end_after_ten_over_all_attempts(fails_between):
    with RangeServer({"f.bin": DATA}) as server:

        def fault(seen):
            if fails_between and len(server.requests) % 4 == 0:
                return Fault(status=503, headers={"Retry-After": "0"})
            return Fault(status=302, headers={"Location": f"/again{len(server.requests)}"})

        server.fault = fault
        data, error = one(f"{server.origin}/go?x", retries=8, timeout_s=30)
        assert data is None
        assert "more than 10 times" in str(error)
        n_redirects = sum(1 for at, _ in enumerate(server.requests, 1) if not (fails_between and at % 4 == 0))
        assert n_redirects == 11


def test_headers_and_a_client_stay_with_the_host_they_were_given_for():
    secret = "k3yC4NARY"
    with servers() as (first, second):
        href = sends_on(first, second.url("f.bin"))
        back = sends_on(second, first.url("f.bin"))
        with httpx.Client(headers={"X-Key": secret}, cookies={"key": secret}, auth=("me", secret)) as client:
            for words in (
                {"storage_options": {"headers": {"X-Key": secret, "Authorization": secret}}},
                {"client": client},
            ):
                for server in (first, second):
                    server.clear()
                configure_store(first.origin, **words)
                try:
                    assert one(href) == (DATA[10:500], None)
                    assert one(back) == (DATA[10:500], None)
                finally:
                    configure_store(first.origin)
                sent = [
                    [dict(seen.headers) for seen in server.requests if seen.path == "go"] for server in (first, second)
                ]
                assert secret in sent[0][0]["X-Key"]
                assert secret not in repr([dict(seen.headers) for seen in second.requests])


def test_user_information_stays_with_its_host():
    with servers() as (first, second):
        href = sends_on(first, second.url("f.bin")).replace("://", "://me:k3yC4NARY@")
        assert one(href) == (DATA[10:500], None)
        assert "Authorization" in first.requests[-1].headers
        assert all("Authorization" not in seen.headers for seen in second.requests)


# -- whose word an href is -----------------------------------------------------------------------------------------------


def test_a_collection_from_elsewhere_names_no_file_and_no_service_of_this_machine(tmp_path, names):
    path = tmp_path / "f.bin"
    path.write_bytes(DATA)
    names["rebound.invalid"] = ["127.0.0.1"]
    with RangeServer({"f.bin": DATA}) as server:
        port = server.origin.rpartition(":")[2]
        local = [str(path), path.as_uri(), f"file://localhost{path}"]
        hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "127.9.9.9", "a@127.0.0.1"]
        loopback = [f"http://{host}:{port}/f.bin" for host in [*hosts, "rebound.invalid"]] + [
            f"http://[::ffff:127.0.0.1]:{port}/f.bin"
        ]
        for href in local:
            assert one(href) == (DATA[10:500], None)
            refused(href, provenance=Provenance.REMOTE)
            refused(href, provenance=Provenance.LOOPBACK)
            assert one(href, provenance=Provenance.REMOTE, allowed=(str(tmp_path),)) == (DATA[10:500], None)
        for href in loopback:
            refused(href, provenance=Provenance.REMOTE)
        assert server.requests == []
        for href in (server.url("f.bin"), f"http://localhost:{port}/f.bin"):
            assert one(href, provenance=Provenance.LOOPBACK) == (DATA[10:500], None)
            assert one(href, provenance=Provenance.REMOTE, allowed=(href,)) == (DATA[10:500], None)
        configure_store(server.origin, storage_options={})
        try:
            assert one(server.url("f.bin"), provenance=Provenance.REMOTE) == (DATA[10:500], None)
        finally:
            configure_store(server.origin)


def test_a_server_elsewhere_sends_nobody_to_this_machine(names, monkeypatch):
    """The outer server is on loopback too, but its name says otherwise."""
    with servers() as (outer, inner):
        href = sends_on(outer, inner.url("f.bin")).replace("127.0.0.1", "outer.invalid")
        names["outer.invalid"] = ["127.0.0.1"]
        monkeypatch.setitem(addresses._known, "outer.invalid", (float("inf"), frozenset({addresses.Reach.ELSEWHERE})))
        assert "this machine" in refused(href)
        assert inner.requests == []
        assert one(href, allowed=("http://outer.invalid:" + outer.origin.rpartition(":")[2], inner.origin)) == (
            DATA[10:500],
            None,
        )


# -- faces ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_refused_href_is_the_failure_of_its_record_alone(engine, tmp_path):
    place = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.tif").write_bytes(make_cog(np.full((32, 32), 7, "uint8"), transform=place))
    hrefs = [str(tmp_path / name / "a.tif") for name in ("in", "out")]
    scenes = pr.build_from_files(hrefs, bands=["b"], id=["in", "out"])
    with pr.options(allowed_hrefs=[tmp_path / "in"], on_error="null"):
        query = scenes.select("id", pl.col("b").raster.read_window(window=(0, 1, 0, 1)).struct.field("pixels"))
        verb = scenes.raster.sample_points(pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]}), ["b"], crs="native")
        with pytest.warns(RuntimeWarning, match="1 values are null"):
            assert query.collect(engine=engine).rows() == [("in", [7]), ("out", None)]
    found = verb.collect(engine=engine).sort("record_id")
    assert found["b"].to_list() == [7, None]
    assert found["read_error"][0] is None
    assert "allowed_hrefs" in found["read_error"][1]
    with pr.options(allowed_hrefs=[tmp_path / "in"]):
        raising = scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1)))
        built = pr.build_from_files(hrefs, bands=["b"], id=["in", "out"]).collect()
    with pytest.raises(FetchError, match="allowed_hrefs"):
        raising.collect(engine=engine)
    assert built["b"].is_null().to_list() == [False, True]
    assert "allowed_hrefs" in built["header_error"][1]


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_scan_over_http_reads_no_local_file(engine, tmp_path):
    place = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
    path = tmp_path / "a.tif"
    path.write_bytes(make_cog(np.full((32, 32), 7, "uint8"), transform=place))
    pr.build_from_files([str(path)], bands=["b"]).raster.sink_collection(tmp_path / "c.parquet")
    with RangeServer({"c.parquet": (tmp_path / "c.parquet").read_bytes()}) as server:
        scenes = pr.scan_collection(server.url("c.parquet"))
        query = scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1)).struct.field("pixels"))
        with pytest.raises(FetchError, match="a file of this machine"):
            query.collect(engine=engine)
        with pr.options(allowed_hrefs=[tmp_path]):
            allowed = scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1)).struct.field("pixels"))
        assert allowed.collect(engine=engine)["pixels"].to_list() == [[7]]
        # The mark goes with the value: into a local copy, and through an index that is made anew.
        scenes.raster.sink_collection(tmp_path / "copy.parquet")
    path.write_bytes(make_cog(np.full((32, 32), 8, "uint8"), transform=place))
    with pytest.raises(FetchError, match="a file of this machine"):
        pr.refresh(tmp_path / "copy.parquet")
    copied = pr.scan_collection(tmp_path / "copy.parquet")
    with pytest.raises(FetchError, match="a file of this machine"):
        copied.select(pl.col("b").raster.read_window(window=(0, 1, 0, 1))).collect(engine=engine)
