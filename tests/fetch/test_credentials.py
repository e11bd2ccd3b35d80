"""Is a credential provider of either kind understood, and asked once for all threads and timeouts?"""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.store import S3Store

import polars_rasteret as pr
from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.sources import credentials
from polars_rasteret.fetch.sources.credentials import shared_credentials
from polars_rasteret.fetch.sources.stores import source_for
from tests.support.object_server import ObjectServer

PLACE = "s3://credentials-test/"


def in_minutes(minutes):
    return dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)


def test_threads_that_need_credentials_at_once_ask_once():
    n_threads, asked = 32, []
    together = threading.Barrier(n_threads)

    def provider():
        asked.append(1)
        return {"token": "t", "expires_at": in_minutes(60)}

    shared = shared_credentials(provider)

    def ask(_):
        together.wait(10)
        return shared()["token"]

    with ThreadPoolExecutor(n_threads) as threads:
        assert list(threads.map(ask, range(n_threads))) == ["t"] * n_threads
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("lifetime", "moments", "n_asked"),
    [
        (60, (0, 30, 54.9), 1),
        (60, (0, 55.1), 2),
        (60, (0, 55.1, 56, 110, 111), 3),
        (4, (0, 0, 1.9, 2.1), 2),
        (-1, (0, 0), 2),
        (None, (0, 10_000), 1),
    ],
    ids=["while they last", "five minutes early", "each hour", "short ones at half", "expired", "without expiry"],
)
def test_they_are_renewed_five_minutes_before_they_expire(lifetime, moments, n_asked, monkeypatch):
    asked, minute = [], [0.0]
    start = in_minutes(0)
    monkeypatch.setattr(credentials, "_now", lambda: start + dt.timedelta(minutes=minute[0]))

    def provider():
        asked.append(1)
        expires_at = None if lifetime is None else start + dt.timedelta(minutes=minute[0] + lifetime)
        return {"token": f"t{len(asked)}", "expires_at": expires_at}

    shared = shared_credentials(provider)
    for minute[0] in moments:
        token = shared()["token"]
    assert len(asked) == n_asked
    assert token == f"t{n_asked}"


class CountingLock:
    """A lock that tells when all threads of a test want it."""

    def __init__(self, n_threads):
        self.all_want_it = threading.Barrier(n_threads, timeout=10)
        self.lock = threading.Lock()

    def __enter__(self):
        self.all_want_it.wait()
        self.lock.acquire()

    def __exit__(self, *_error):
        self.lock.release()


def test_threads_that_waited_for_a_call_that_failed_do_not_call_again():
    n_threads, asked = 16, []

    def provider():
        asked.append(1)
        raise OSError("down")

    shared = shared_credentials(provider)
    shared._lock = CountingLock(n_threads)

    def ask(_):
        with pytest.raises(OSError, match="down"):
            shared()

    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(ask, range(n_threads)))
    assert len(asked) == 1


def test_a_provider_that_fails_is_asked_again():
    answers = iter([OSError("down"), {"token": "t", "expires_at": None}])

    def provider():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    shared = shared_credentials(provider)
    with pytest.raises(OSError, match="down"):
        shared()
    assert shared()["token"] == "t"


def test_the_kind_of_polars_becomes_the_kind_of_obstore():
    shared = shared_credentials(lambda: ({"aws_access_key_id": "a", "aws_session_token": "s"}, 4_000_000_000))
    assert shared() == {
        "access_key_id": "a",
        "token": "s",
        "expires_at": dt.datetime.fromtimestamp(4_000_000_000, dt.UTC),
    }


@pytest.mark.parametrize("provider", ["always", 7])
def test_what_is_no_provider_is_refused(provider):
    with pytest.raises(UsageError, match="expected 'auto', 'planetary-computer', or a callable"):
        pr.configure_store(PLACE, credential_provider=provider)


def test_an_asynchronous_provider_is_refused():
    async def provider():
        return {}

    with pytest.raises(UsageError, match="asynchronous"):
        pr.configure_store(PLACE, credential_provider=provider)


def test_auto_makes_a_source():
    pr.configure_store(PLACE, storage_options={"aws_region": "us-west-2"}, credential_provider="auto")
    try:
        assert source_for(f"{PLACE}a.tif") is not None
    finally:
        pr.configure_store(PLACE)


def test_five_timeouts_ask_the_provider_once():
    asked = []

    def provider():
        asked.append(1)
        return ({"aws_access_key_id": "a", "aws_secret_access_key": "s"}, in_minutes(60).timestamp())

    with ObjectServer() as server:
        plain = {name: value for name, value in server.options.items() if "key" not in name and "skip" not in name}
        obstore.put(
            S3Store("bucket", config=dict(server.options), client_options={"allow_http": True}), "a.tif", b"II*."
        )
        pr.configure_store("s3://bucket/", storage_options=plain, credential_provider=provider)
        try:
            source = source_for("s3://bucket/a.tif")
            for timeout_s in (5.0, 6.0, 7.0, 8.0, 9.0):
                answer = source.read("s3://bucket/a.tif", 0, 4, etag=None, timeout_s=timeout_s, attempt=0)
                assert bytes(answer.data) == b"II*."
        finally:
            pr.configure_store("s3://bucket/")
    assert len(asked) == 1
