"""Does an href, however odd, cost no more than its own request?"""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polars_rasteret.collection.storage.object_store import list_objects
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.scheduling.scheduler import FileKey, process_scheduler
from polars_rasteret.fetch.sources.stores import configure_store
from tests.support.receiver import fetch, look, quiet, wait_until

NOBODY = "http://127.0.0.1:9"
EVIL = [
    "s3://a b/x",
    "s3://a\tb/x",
    "s3://a\x00b/x",
    "s3://a\n/x",
    "s3:///x",
    "s3://",
    "s3://../x",
    "gs://a b/x",
    "az://a b/x",
    f"s3://bucket/{'x' * 70_000}",
    f"{NOBODY}/{'x' * 70_000}",
    f"{NOBODY}/{'ä' * 30_000}",
    f"{NOBODY}/{'x' * 70_000}?y",
    f"/{'x' * 70_000}",
    "http://a b/x",
    "http:///x",
    "http://[/x",
    "http://h:99999/x",
    f"{NOBODY}/\ud800",
    f"{NOBODY}/a\nb",
    "s3://bucket/a\x00b",
    "s3://bucket/..",
    "/a\x00b",
    "\ud800",
]
ODD = st.text(st.one_of(st.sampled_from(' \t\n\x00/%?#@:[]\\<>"^`{|}.~*ä☃'), st.characters()), max_size=12)


@pytest.fixture(scope="module", autouse=True)
def buckets():
    """No bucket is looked for elsewhere."""
    for scheme, options in {
        "s3://": {"aws_endpoint_url": NOBODY, "aws_region": "eu-central-1", "aws_skip_signature": "true"},
        "gs://": {"google_base_url": NOBODY, "google_skip_signature": "true"},
        "az://": {"azure_storage_account_name": "me", "azure_endpoint": NOBODY, "azure_skip_signature": "true"},
    }.items():
        configure_store(scheme, storage_options=options)
    yield
    for scheme in ("s3://", "gs://", "az://"):
        configure_store(scheme)


def survives(href: str, etag: str | None = None) -> None:
    """Ask for an href by both ways; nothing comes, and nothing is lost."""
    for ask in (
        lambda: look(href, 0, 9, retries=0, timeout_s=2),
        lambda: fetch(FileKey(href, etag), [3], [9], retries=0, timeout_s=2).errors[0],
    ):
        try:
            error = ask()
        except (FetchError, UsageError) as raised:
            error = raised
        assert isinstance(error, FetchError | UsageError)
        assert len(str(error)) < 3_000
    state = process_scheduler().state()
    wait_until(lambda: quiet(process_scheduler().state()))
    assert state.n_threads == sum(one.name == "polars_rasteret fetch" for one in threading.enumerate())


@pytest.mark.parametrize("href", EVIL, ids=lambda href: ascii(href[:20]))
def test_an_evil_href_fails_alone(href):
    survives(href)


@pytest.mark.parametrize(
    "etag", ['"a\nb"', '"a\x00b"', '"a\r\nX-Evil: 1"', '"ä"', '"' + "x" * 100_000 + '"'], ids=lambda e: ascii(e[:9])
)
@pytest.mark.parametrize("href", [f"{NOBODY}/f", f"{NOBODY}/f?x", "s3://bucket/f"])
def test_an_evil_etag_fails_alone(href, etag):
    survives(href, etag)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["s3://", "gs://", "az://", "http://127.0.0.1:9/", "file://", "/", ""]), ODD, ODD, st.none() | ODD
)
def test_no_href_costs_more_than_itself(scheme, place, path, etag):
    survives(f"{scheme}{place}/{path}" if scheme.endswith("://") else scheme + path + place, etag)


@pytest.mark.parametrize(
    "url", [one for one in EVIL if one.startswith(("s3", "gs", "az"))], ids=lambda href: ascii(href[:20])
)
def test_listing_an_evil_address_is_an_error_of_ours(url):
    with contextlib.suppress(FetchError, UsageError):
        assert list_objects(url, storage_options={"aws_endpoint_url": NOBODY, "aws_skip_signature": "true"}) == []
