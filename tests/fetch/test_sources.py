"""Does every source give exactly the bytes asked for, or say precisely why not?"""

from __future__ import annotations

import datetime as dt
import os
import time

import httpx
import numpy as np
import obstore
import pytest

from polars_rasteret.errors import FetchError, StaleIndexError
from polars_rasteret.fetch.failures import MissingFileError
from polars_rasteret.fetch.scheduling.scheduler import FileKey
from polars_rasteret.fetch.sources.stores import configure_store, source_for
from polars_rasteret.profile import profile
from tests.support.range_server import Fault, RangeServer
from tests.support.receiver import DATA, Receiver, fetch, look

ODD_NAMES = [
    "a b.tif",
    "a#b.tif",
    "a%20b.tif",
    "a%b.tif",
    "a?b.tif",
    "ä ö/☃.tif",
    "a+b&c=d;e,f.tif",
    "a~b*[1]{2}|^.tif",
    "d//x.tif",
]


def of(server: RangeServer, name: str = "f.bin") -> FileKey:
    """The file as an index made now would know it."""
    answer = look(server.url(name), 0, 16)
    server.clear()
    return FileKey(server.url(name), answer.etag, answer.file_size, answer.last_modified)


def one(file: FileKey, byte_start=10, byte_stop=500, **options):
    got = fetch(file, [byte_start], [byte_stop], **options)
    return got.tiles.get(0), got.errors.get(0)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_found_over_http(name):
    with RangeServer({name: DATA}) as server:
        assert one(FileKey(server.url(name))) == (DATA[10:500], None)
        assert [seen.path for seen in server.requests] == [name]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_found_on_disk(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    for href in (str(path), path.as_uri(), name, f"./{name}"):
        assert one(FileKey(href)) == (DATA[10:500], None), href


def test_a_file_url_with_raw_odd_characters_is_found(tmp_path):
    (tmp_path / "a#b?c d.tif").write_bytes(DATA)
    assert one(FileKey(f"file://{tmp_path}/a#b?c d.tif")) == (DATA[10:500], None)


def test_a_query_is_sent_as_it_is_written(server):
    href = server.url("f.bin") + "?versionId=a%2Fb&x=1"
    assert one(FileKey(href)) == (DATA[10:500], None)
    assert [seen.target for seen in server.requests] == ["/f.bin?versionId=a%2Fb&x=1"]


def test_an_escaped_slash_stays_escaped(server):
    server.files["a/b"] = DATA
    assert one(FileKey(server.origin + "/a%2Fb")) == (DATA[10:500], None)
    assert [seen.target for seen in server.requests] == ["/a%2Fb"]


def test_a_look_tells_size_etag_and_time_in_one_request(server):
    answer = look(server.url("f.bin"), 0, 100)
    assert answer.data == DATA[:100]
    assert answer.file_size == len(DATA)
    assert answer.etag.startswith('"')
    assert answer.last_modified == server.last_modified
    assert [seen.method for seen in server.requests] == ["GET"]


@pytest.mark.parametrize("suffix", ["", "?x"])
def test_a_look_beyond_the_end_gives_fewer_bytes_or_none(server, tmp_path, suffix):
    (tmp_path / "f").write_bytes(DATA)
    hrefs = [server.url("f.bin") + suffix, *([str(tmp_path / "f")] if not suffix else [])]
    for href in hrefs:
        assert look(href, len(DATA) - 5, len(DATA) + 100).data == DATA[-5:]
        assert look(href, len(DATA) + 5, len(DATA) + 100).data == b""


def test_a_look_tries_again(server):
    server.fault = lambda seen: Fault(status=500) if seen.number < 2 else None
    with profile() as p:
        assert look(server.url("f.bin"), 0, 10).data == DATA[:10]
    assert p.summary().select("requests", "retries").row(0) == (3, 2)


def test_a_look_of_a_plain_source_knows_the_size_once_it_saw_the_end(memory):
    assert look(memory.a, 0, 10).file_size is None
    assert look(memory.a, 0, len(DATA) + 1).file_size == len(DATA)


@pytest.mark.parametrize("suffix", ["", "?x"])
def test_a_changed_etag_is_a_stale_index(server, suffix):
    file = of(server)
    file = FileKey(file.href + suffix, file.etag)
    server.files["f.bin"] = DATA[::-1]
    _, error = one(file)
    assert isinstance(error, StaleIndexError)
    assert "pr.refresh(path)" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("suffix", ["", "?x"])
def test_a_changed_etag_is_noticed_when_the_server_ignores_if_match(suffix):
    with RangeServer({"f.bin": DATA}, if_match=False) as server:
        file = of(server)
        server.files["f.bin"] = DATA[::-1]
        assert isinstance(one(FileKey(file.href + suffix, file.etag))[1], StaleIndexError)


@pytest.mark.parametrize("suffix", ["", "?x"])
def test_without_etag_a_changed_size_or_time_is_a_stale_index(suffix):
    with RangeServer({"f.bin": DATA}, etag=False) as server:
        file = of(server)
        file = FileKey(file.href + suffix, None, file.file_size, file.last_modified)
        assert one(file) == (DATA[10:500], None)
        server.files["f.bin"] = DATA + b"more"
        assert isinstance(one(file, 20)[1], StaleIndexError)
        server.files["f.bin"] = DATA
        server.last_modified += dt.timedelta(seconds=1)
        assert isinstance(one(file, 30)[1], StaleIndexError)


def test_a_server_without_last_modified_is_not_stale():
    with RangeServer({"f.bin": DATA}, etag=False, last_modified=None) as server:
        file = of(server)
        assert one(file)[0] == DATA[10:500]
        server.last_modified = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        assert one(file, 20)[0] == DATA[20:500]


def test_a_weak_etag_is_not_sent_and_not_compared(server):
    file = of(server)
    assert one(FileKey(file.href, 'W/"other"', file.file_size))[0] == DATA[10:500]
    assert "If-Match" not in server.requests[0].headers


def test_a_local_file_that_was_rewritten_is_a_stale_index(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(DATA)
    answer = look(str(path), 0, 10)
    assert answer.file_size == len(DATA)
    file = FileKey(str(path), None, answer.file_size, answer.last_modified)
    assert one(file)[0] == DATA[10:500]
    status = path.stat()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 5_000_000))
    assert isinstance(one(file, 20)[1], StaleIndexError)
    path.write_bytes(DATA[:600])
    assert isinstance(one(FileKey(str(path), None, len(DATA)), 30)[1], StaleIndexError)
    assert isinstance(one(FileKey(str(path)), 590, 610)[1], FetchError)


@pytest.mark.parametrize("suffix", ["", "?x"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, headers={"Retry-After": "0"}),
        Fault(status=429),
        Fault(reset=True),
        Fault(cut_after=100),
        Fault(cut_after=0),
        Fault(shorten_to=100),
    ],
    ids=repr,
)
def test_failures_that_pass_are_tried_again(server, fault, suffix):
    server.fault = lambda seen: fault if seen.number < 2 else None
    with profile() as p:
        assert one(FileKey(server.url("f.bin") + suffix)) == (DATA[10:500], None)
    assert p.summary().select("requests", "retries").row(0) == (3, 2)


def test_retry_after_is_obeyed(server):
    server.fault = lambda seen: Fault(status=429, headers={"Retry-After": "1"}) if seen.number < 2 else None
    began = time.monotonic()
    assert one(FileKey(server.url("f.bin")))[0] == DATA[10:500]
    assert time.monotonic() - began >= 1


def test_a_retry_after_beyond_the_deadline_fails_at_once(server):
    server.fault = lambda _seen: Fault(status=429, headers={"Retry-After": "60"})
    began = time.monotonic()
    assert "429" in str(one(FileKey(server.url("f.bin")), timeout_s=50)[1])
    assert time.monotonic() - began < 40


@pytest.mark.parametrize(
    ("status", "words"), [(404, "no such file"), (403, "configure_store"), (401, "configure_store"), (400, "400")]
)
@pytest.mark.parametrize("suffix", ["", "?x"])
def test_failures_that_do_not_pass_are_told_at_once(server, status, words, suffix):
    server.fault = lambda _seen: Fault(status=status)
    _, error = one(FileKey(server.url("f.bin") + suffix))
    assert type(error) is (MissingFileError if status == 404 else FetchError)
    for part in (server.url("f.bin"), "10..500", words, str(status)):
        assert part in str(error)
    assert type(error)(str(error)).args == error.args
    assert len(server.requests) == 1


@pytest.mark.parametrize("suffix", ["", "?x"])
def test_another_range_than_asked_for_is_refused(server, suffix):
    server.fault = lambda _seen: Fault(shift=3)
    assert "13" in str(one(FileKey(server.url("f.bin") + suffix))[1])


def test_of_a_whole_file_instead_of_a_range_the_slice_is_taken(server):
    server.fault = lambda _seen: Fault(ignore_range=True)
    with profile() as p:
        assert one(FileKey(server.url("f.bin"))) == (DATA[10:500], None)
        assert one(FileKey(server.url("f.bin")), 600, 700) == (DATA[600:700], None)
    assert len(server.requests) == 3, "the first answer of obstore is lost, later ones go another way at once"
    assert p.summary()["requests"].item() == 3


def test_of_a_whole_file_no_more_is_read_than_needed():
    with RangeServer({"f.bin": b"II*\0" + bytes(100_000_000)}) as server:
        server.fault = lambda _seen: Fault(ignore_range=True)
        assert look(server.url("f.bin") + "?x", 0, 1000).data == b"II*\0" + bytes(996)
        assert server.n_bytes == 0, "the server counts bodies that were sent to the end"


@pytest.mark.parametrize("suffix", ["", "?x"])
@pytest.mark.parametrize("fault", [Fault(stall_after=10), Fault(delay_s=20)], ids=repr)
def test_a_server_that_stalls_is_left_at_the_deadline(server, fault, suffix):
    server.fault = lambda _seen: fault
    began = time.monotonic()
    _, error = one(FileKey(server.url("f.bin") + suffix), timeout_s=0.6)
    assert 0.3 < time.monotonic() - began < 18  # attempts get half of what is left each, so the last may end early
    assert "in time" in str(error) or "timeout_s" in str(error)


def test_one_connection_that_stalls_does_not_lose_the_tile(server):
    server.fault = lambda seen: Fault(stall_after=10) if seen.number == 0 else None
    assert one(FileKey(server.url("f.bin")), timeout_s=2) == (DATA[10:500], None)


def test_a_server_that_is_not_there_is_a_fetch_error():
    _, error = one(FileKey("http://127.0.0.1:9/f.bin"), retries=1)
    assert type(error) is FetchError
    assert "http://127.0.0.1:9/f.bin" in str(error)
    assert "2 attempt" in str(error)


def test_a_missing_local_file_or_a_folder_is_a_fetch_error(tmp_path):
    for path in (tmp_path / "none.tif", tmp_path):
        _, error = one(FileKey(str(path)))
        assert type(error) is MissingFileError
        assert str(path) in str(error)


def test_secrets_in_urls_are_not_shown(server):
    _, error = one(FileKey(server.origin + "/none.tif?sv=1&sig=abcdef&x=2"))
    assert "abcdef" not in str(error)
    assert str(error).startswith(server.origin + "/none.tif?...: ")


def test_a_callers_httpx_client_is_used(server):
    with httpx.Client(headers={"Authorization": "Bearer me"}) as client:
        configure_store(server.origin, client=client)
        assert one(FileKey(server.url("f.bin"))) == (DATA[10:500], None)
    assert server.requests[0].headers["Authorization"] == "Bearer me"


def test_a_ready_obstore_store_is_used(server, tmp_path):
    store = obstore.store.MemoryStore()
    obstore.put(store, "x/f.bin", DATA)
    configure_store("mine://y/", store=store)
    assert one(FileKey("mine://y/x/f.bin")) == (DATA[10:500], None)
    configure_store(server.origin, store=obstore.store.HTTPStore(server.origin, client_options={"allow_http": True}))
    assert one(FileKey(server.url("f.bin"))) == (DATA[10:500], None)
    (tmp_path / "f.bin").write_bytes(DATA)
    configure_store("disk://", store=obstore.store.LocalStore(tmp_path))
    assert one(FileKey("disk://f.bin")) == (DATA[10:500], None)


def test_a_bucket_is_read_with_polars_storage_options(server):
    server.files["bucket/a b/ä%20.tif"] = DATA
    configure_store(
        "s3://bucket/",
        storage_options={
            "aws_region": "eu-central-1",
            "aws_endpoint_url": server.origin,
            "aws_access_key_id": "me",
            "aws_secret_access_key": "x",
            "max_retries": 3,
        },
    )
    assert one(FileKey("s3://bucket/a b/ä%20.tif")) == (DATA[10:500], None)
    assert (
        "Credential=me/"
        in server.requests[0].headers[
            "authorization" if "authorization" in server.requests[0].headers else "Authorization"
        ]
    )
    server.fault = lambda seen: Fault(status=503) if seen.number < 3 else None
    assert one(FileKey("s3://bucket/a b/ä%20.tif"), 20) == (DATA[20:500], None)


def test_a_bucket_without_credentials_is_read_unsigned(server, monkeypatch):
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    server.files["open/f.bin"] = DATA
    configure_store("s3://open/", storage_options={"aws_endpoint_url": server.origin})
    assert one(FileKey("s3://open/f.bin")) == (DATA[10:500], None)
    assert not {"Authorization", "authorization"} & set(server.requests[0].headers)


def test_the_public_get_gives_the_bytes(server, tmp_path):
    (tmp_path / "f.bin").write_bytes(DATA)
    for href in (server.url("f.bin"), server.url("f.bin") + "?x", str(tmp_path / "f.bin")):
        source = source_for(href)
        assert bytes(source.get(href, 3, 9, etag=None)) == DATA[3:9]
        assert bytes(source.get(href, len(DATA) - 2, len(DATA) + 9, etag=None)) == DATA[-2:]


def test_many_requests_over_loopback_give_every_tile(server):
    receiver = Receiver()
    start = np.arange(400) * 200
    receiver.start([of(server)], np.zeros(400), start, start + 150)
    receiver.wait()
    assert receiver.tiles == {i: DATA[a : a + 150] for i, a in enumerate(start.tolist())}
    assert len(server.requests) == 400
    assert server.most_running <= 32


def test_a_connection_that_is_reset_before_it_is_asked_whose_it_is_is_closed_and_tried_again(server, monkeypatch):
    """Where a server resets a new connection, its address can no longer be asked for: this is a failure that passes."""
    from httpcore._backends.sync import SyncStream

    asked, closed = [], []
    honest, close = SyncStream.get_extra_info, SyncStream.close

    def get_extra_info(stream, info):
        if info == "server_addr":
            asked.append(stream)
            if len(asked) == 1:
                raise OSError(107, "Transport endpoint is not connected")
        return honest(stream, info)

    monkeypatch.setattr(SyncStream, "get_extra_info", get_extra_info)
    monkeypatch.setattr(SyncStream, "close", lambda stream: (closed.append(stream), close(stream)))
    # A query in the address keeps obstore away, which would encode it anew.
    assert one(FileKey(server.url("f.bin") + "?v=1")) == (DATA[10:500], None)
    assert len(server.requests) == 1
    assert asked[0] in closed
    assert len(asked) > 1
