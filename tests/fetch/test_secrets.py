"""Does a key come out anywhere, wherever a user may put one and whatever fails?

One word is planted in every place; every text that leaves the package is searched for it, the exceptions behind exceptions too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import traceback
import warnings
from typing import TYPE_CHECKING

import httpx
import numpy as np
import polars as pl
import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.signing import forget_keys
from polars_rasteret.testing import make_cog
from tests.support.planted_secrets import planted
from tests.support.range_server import Fault, RangeServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = planted("k3yC4NARY")
PLACE = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
FILE = make_cog(np.arange(64 * 64, dtype="uint16").reshape(64, 64), transform=PLACE)
POINT = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})
_names = itertools.count()


def echo(status, **more):
    """An answer that says again all that it was told, as debugging servers and some stores do."""
    return Fault(
        status=status,
        reason=f"no {SECRET}",
        body=f"<Error><Code>Denied</Code><Key>{SECRET}</Key><Authorization>{SECRET}</Authorization></Error>".encode(),
        headers={"X-Echo": SECRET, "WWW-Authenticate": f'Basic realm="{SECRET}"', **more},
    )


FAILURES = {
    "400": lambda _server: echo(400),
    "401": lambda _server: echo(401),
    "403": lambda _server: echo(403),
    "404": lambda _server: echo(404),
    "412": lambda _server: echo(412),
    "416": lambda _server: echo(416),
    "429": lambda _server: echo(429),
    "500": lambda _server: echo(500),
    "timeout": lambda _server: Fault(stall_after=3),
    "reset": lambda _server: Fault(reset=True),
    "cut": lambda _server: Fault(cut_after=7),
    "another range": lambda _server: Fault(headers={"Content-Range": f"bytes 1-2/{SECRET}"}),
    "a page": lambda _server: Fault(status=200, body=f"<html>{SECRET}".encode()),
    "a bad tiff": lambda _server: Fault(status=200, body=b"II*\0" + SECRET.encode() * 8),
    "redirect to nobody": lambda _server: echo(302, Location=f"http://me:{SECRET}@127.0.0.1:9/x?sig={SECRET}#{SECRET}"),
    "redirect to a link": lambda _server: echo(302, Location=f"http://me:{SECRET}@169.254.169.254/x?{SECRET}"),
    "redirect to a file": lambda _server: echo(302, Location=f"file:///x?token={SECRET}"),
    "redirect to no URL": lambda _server: echo(302, Location=f"http://[{SECRET}/x"),
    "redirects in a circle": lambda server: echo(302, Location=f"{server.origin}/x?sig={SECRET}"),
}


def where_in_query(server, _stack):
    return f"{server.origin}/a.tif?whatever={SECRET}&{SECRET}"


def where_signed(server, _stack):
    return f"{server.origin}/a.tif?sv=1&sig={SECRET}"


def where_password(server, _stack):
    return f"{server.origin}/a.tif".replace("://", f"://me:{SECRET}@")


def where_fragment(server, _stack):
    return f"{server.origin}/a.tif#{SECRET}"


def where_headers(server, stack):
    headers = {"Authorization": SECRET, "X-Key": SECRET}
    pr.configure_store(server.origin, storage_options={"headers": headers, "user_agent": SECRET})
    stack.callback(pr.configure_store, server.origin)
    return f"{server.origin}/a.tif"


def where_client(server, stack):
    client = stack.enter_context(httpx.Client(headers={"X-Key": SECRET}, params={"sig": SECRET}, auth=("me", SECRET)))
    pr.configure_store(server.origin, client=client)
    stack.callback(pr.configure_store, server.origin)
    return f"{server.origin}/a.tif"


def where_s3(server, stack, provider=None):
    keys = (
        {"aws_access_key_id": SECRET, "aws_secret_access_key": SECRET, "aws_session_token": SECRET}
        if provider is None
        else {}
    )
    bucket = f"s3://secrets-{next(_names)}/"
    options = {"aws_endpoint_url": server.origin, "aws_region": "eu-central-1", "allow_http": True, **keys}
    pr.configure_store(bucket, storage_options=options, credential_provider=provider)
    stack.callback(pr.configure_store, bucket)
    return f"{bucket}a.tif"


def where_provided(server, stack):
    keys = {"access_key_id": SECRET, "secret_access_key": SECRET, "token": SECRET, "expires_at": None}
    return where_s3(server, stack, lambda: keys)


def where_refused_by_provider(server, stack):
    def provider():
        raise RuntimeError(f"no credentials for {SECRET}")

    return where_s3(server, stack, provider)


def where_source(server, stack):
    class Source:
        def get(self, href, byte_start, byte_stop, *, etag):
            raise ValueError(f"GET {href} at {server.origin}?sig={SECRET} failed") from KeyError(href)

    prefix = f"own-{next(_names)}://x/"
    pr.configure_store(prefix, store=Source())
    stack.callback(pr.configure_store, prefix)
    return f"{prefix}a.tif?whatever={SECRET}"


WHERE = {
    "a query": where_in_query,
    "a signature": where_signed,
    "a password": where_password,
    "a fragment": where_fragment,
    "headers": where_headers,
    "a client": where_client,
    "keys of a bucket": where_s3,
    "a provider": where_provided,
}
HOPELESS = {
    "a provider that fails": where_refused_by_provider,
    "a source that fails": where_source,
    "no such scheme": lambda _server, _stack: f"nope://me:{SECRET}@host/a.tif?x={SECRET}",
    "a file": lambda _server, _stack: f"/nowhere/a.tif?sig={SECRET}",
    "a file URL": lambda _server, _stack: f"file:///nowhere/a.tif?sig={SECRET}",
    "a file of another host": lambda _server, _stack: f"file://me:{SECRET}@host/a.tif",
    "no URL": lambda _server, _stack: f"http://me:{SECRET}@[x/a.tif",
    "a port that is none": lambda _server, _stack: f"http://me:{SECRET}/x@127.0.0.1/a.tif",
    "vsicurl": lambda _server, _stack: f"/vsicurl/https://me:{SECRET}@host/a.tif?sig={SECRET}",
    "no bucket": lambda _server, _stack: f"s3://me:{SECRET}@b?sig={SECRET}",
}


def chain(error: BaseException) -> Iterator[str]:
    """Every text of an exception and of those behind it."""
    seen, todo = set(), [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield from (str(one), repr(one), repr(one.args), repr(getattr(one, "__notes__", None)), repr(vars(one)))
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    yield "".join(line for line in traceback.format_exception(error) if not line.startswith("  "))


def raised_by(act) -> Iterator[str]:
    try:
        act()
    except (pr.errors.RasteretError, pl.exceptions.PolarsError) as error:
        yield from chain(error)


def scenes_of(href) -> pl.LazyFrame:
    """A collection of one record, as somebody may have made it."""
    schema = pr.testing.example_scenes().collect_schema()
    tiles = pr.testing.example_scenes().collect()["red"].struct.field("tiles")[0]
    value = {"href": href, "band_index": 0, "transform": PLACE, "width": 64, "height": 64, "tiles": tiles}
    return pl.LazyFrame({"id": ["a"], "b": pl.Series([value], dtype=schema["red"])})


def said_by(href, tmp_path, caplog, capsys, server=None, fault=None) -> Iterator[tuple[str, str | bytes]]:
    """Give everything that the package says while a file is indexed and read, by channel."""
    caplog.set_level(logging.DEBUG)

    def build(**words):
        return pr.build_from_files([href], bands=["b"], **words).collect()

    told: list[pl.DataFrame] = []
    with warnings.catch_warnings(record=True) as warned, pr.profile() as profile, pr.options(timeout_s=0.4, retries=1):
        warnings.simplefilter("always")
        collections = [scenes_of(href)]
        with contextlib.suppress(pr.errors.RasteretError):
            collections.append(build(into=tmp_path / "c").lazy())
            yield "header_error", repr(collections[-1].collect()["header_error"].to_list())
        if all(mark not in href for mark in ("whatever", "#", "/nowhere", "[")):
            # Else it is a part of the address.
            yield from (("a written collection", path.read_bytes()) for path in tmp_path.rglob("*.parquet"))
        else:
            shutil.rmtree(tmp_path / "c", ignore_errors=True)
        if server is not None:
            server.fault = lambda _seen: fault
        for words in ({}, {"on_error": "raise", "progress": True}):
            yield from (("a build", text) for text in raised_by(lambda words=words: told.append(build(**words))))
        yield "header_error", repr([one["header_error"].to_list() for one in told])
        for scenes in collections:
            window = pl.col("b").raster.read_window(window=(0, 8, 0, 8))
            for query in (scenes.select(window), scenes.raster.sample_points(POINT, ["b"], crs="native")):
                yield "explain", query.explain()
                yield from (("a read", text) for text in raised_by(query.collect))
                with contextlib.suppress(pr.errors.RasteretError, pl.exceptions.PolarsError):
                    bill = pr.estimate(query)
                    yield "estimate", repr(bill) + str(bill) + repr(bill.by_host.rows()) + repr(bill.by_record.rows())
            with pr.options(on_error="null", progress=True):
                answer = scenes.raster.sample_points(POINT, ["b"], crs="native").collect()
                scenes.select(pl.col("b").raster.read_window(window=(0, 8, 0, 8))).collect()
            yield "read_error", repr(answer["read_error"].to_list())
    yield "warnings", repr([str(one.message) for one in warned])
    yield "profile", repr((profile.errors, profile.by_host.rows(), profile.summary().rows()))
    yield "logging", "\n".join(one.getMessage() for one in caplog.records)
    yield "output", "".join(capsys.readouterr())


def check(href, *channels):
    for channel, text in said_by(href, *channels):
        needle = SECRET.encode() if isinstance(text, bytes) else SECRET
        assert needle not in text, (channel, text)


SLOW_FAILURES = {"timeout", "429", "500", "reset"}
"""Their attempts run out, which takes a while."""
# Every failure meets two places, and every place four or so; all of them meet with -m slow.
CASES = [
    pytest.param(where, failure, marks=[] if (at - 3 * number) % len(WHERE) in (0, 4) else pytest.mark.slow)
    for number, failure in enumerate(one for one in FAILURES if one not in SLOW_FAILURES)
    for at, where in enumerate(WHERE)
]


@pytest.mark.parametrize(("where", "failure"), CASES)
def test_no_key_is_told_when_a_server_fails(where, failure, tmp_path, caplog, capsys):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RangeServer({"a.tif": FILE}))
        stack.callback(forget_keys, server.origin)
        href = WHERE[where](server, stack)
        if where in ("keys of a bucket", "a provider"):
            server.files[f"{href[5:].partition('/')[0]}/a.tif"] = FILE
        check(href, tmp_path, caplog, capsys, server, FAILURES[failure](server))


@pytest.mark.parametrize(
    ("where", "failure"), list(zip(["a query", "keys of a bucket"] * 2, sorted(SLOW_FAILURES), strict=True))
)
def test_no_key_is_told_when_attempts_run_out(where, failure, tmp_path, caplog, capsys):
    test_no_key_is_told_when_a_server_fails(where, failure, tmp_path, caplog, capsys)


@pytest.mark.parametrize("where", HOPELESS)
def test_no_key_is_told_of_what_was_never_there(where, tmp_path, caplog, capsys):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RangeServer({}))
        check(HOPELESS[where](server, stack), tmp_path, caplog, capsys)


@pytest.mark.parametrize(
    "options",
    [{"aws_virtual_hosted_style_request": SECRET}, {"aws_s3_express": SECRET}, {"aws_checksum_algorithm": SECRET}],
)
def test_no_value_of_an_option_is_told(options):
    bucket = f"s3://secrets-{next(_names)}/"
    pr.configure_store(bucket, storage_options=options)
    for act in (
        lambda: pr.build_from_files([f"{bucket}a.tif"], bands=["b"], on_error="raise"),
        lambda: pr.build_from_files(bucket, storage_options=options),
        lambda: pr.testing.example_scenes().raster.sink_collection(f"{bucket}c", storage_options=options),
    ):
        with pytest.raises((pr.errors.RasteretError, pl.exceptions.PolarsError)) as caught:
            act()
        assert not [text for text in chain(caught.value) if SECRET in text]
    pr.configure_store(bucket)
