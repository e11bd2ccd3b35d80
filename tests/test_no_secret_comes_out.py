"""Does the search over a whole run find what it looks for, and is there nothing to find in what users pass on?"""

from __future__ import annotations

import base64
import io
import logging
import pickle
import warnings
from urllib.parse import quote

import cloudpickle
import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.sources.credentials import shared_credentials
from polars_rasteret.fetch.sources.settings import setting_for
from polars_rasteret.fetch.sources.stores import source_for
from polars_rasteret.testing import make_cog
from tests.support import planted_secrets
from tests.support.planted_secrets import forms, planted, secrets_in, secrets_in_file
from tests.support.range_server import RangeServer
from tests.support.secret_watch import Watch

ON_PURPOSE = "p1anted/on+purpose="
PLACE = (10.0, 0.0, 300_000.0, 0.0, -10.0, 5_000_000.0)
FILE = make_cog(np.arange(64 * 64, dtype="uint16").reshape(64, 64), transform=PLACE, epsg=32632)
POINT = pl.DataFrame({"x": [300_005.0], "y": [4_999_995.0]})


def parquet(tmp_path, name, frame, **how):
    path = tmp_path / f"{name}.parquet"
    frame.write_parquet(path, **how)
    return path


NESTED = pl.Struct({"a": pl.List(pl.Struct({"b": pl.String}))})
PLACES = {
    "a value": lambda one: (pl.DataFrame({"a": ["x", one]}), {}),
    "inside a longer value": lambda one: (
        pl.DataFrame({"a": [f"https://host/a.tif?x=1&sig={quote(one, safe='')}&y=2"]}),
        {},
    ),
    "a nested value": lambda one: (pl.DataFrame({"a": pl.Series([{"a": [{"b": one}]}], dtype=NESTED)}), {}),
    "bytes": lambda one: (pl.DataFrame({"a": [b"\0\1" + one.encode()]}), {}),
    "base64 of bytes around it": lambda one: (
        pl.DataFrame({"a": [base64.b64encode(b"me:" + one.encode() + b"!").decode()]}),
        {},
    ),
    "the name of a column": lambda one: (pl.DataFrame({one: [1]}), {}),
    "the metadata": lambda one: (pl.DataFrame({"a": [1]}), {"metadata": {"key": f"it is {one}"}}),
    "many values": lambda one: (pl.DataFrame({"a": [f"{n}{one}" for n in range(1_000)]}), {"compression": "zstd"}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_that_is_planted_in_a_table_is_found(place, tmp_path):
    frame, how = PLACES[place](ON_PURPOSE)
    path = parquet(tmp_path, "t", frame, **how)
    assert secrets_in_file(path, [ON_PURPOSE]) == [ON_PURPOSE]
    assert secrets_in_file(path, ["an0ther/secret"]) == []


@given(st.binary(max_size=9), st.binary(max_size=9), st.text("aZ0/+=-_%", min_size=8, max_size=30))
def test_every_form_is_found_at_every_position(before, after, secret):
    raw = secret.encode()
    for text in (
        before + raw + after,
        base64.b64encode(before + raw + after),
        base64.urlsafe_b64encode(before + raw + after),
        before + quote(secret, safe="").encode() + after,
        before + quote(secret, safe="").lower().encode() + after,
        before + quote(quote(secret, safe=""), safe="").encode() + after,
    ):
        assert secrets_in(text, [secret]) == [secret]
    assert all(len(form) >= 8 for form in forms(secret))


def test_the_search_over_a_run_finds_what_is_planted_in_each_channel(tmp_path, monkeypatch):
    monkeypatch.setattr(planted_secrets, "_secrets", {ON_PURPOSE})
    logging.getLogger("polars_rasteret.test").setLevel(logging.DEBUG)
    with Watch() as watch:
        FetchError(f"failed with {ON_PURPOSE}")
        UsageError(f"failed again with {quote(ON_PURPOSE, safe='')}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.warn(f"beware of {ON_PURPOSE}", UserWarning, stacklevel=1)
        logging.getLogger("polars_rasteret.test").debug("sent %s", ON_PURPOSE)
    FetchError(f"not watched {ON_PURPOSE}")
    parquet(tmp_path, "t", pl.DataFrame({"a": [ON_PURPOSE]}))
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"a": ON_PURPOSE}))
    found = [one.removesuffix(f": {ON_PURPOSE}").removeprefix(f"{tmp_path}/") for one in watch.found_below(tmp_path)]
    assert sorted(found) == [
        "a FetchError",
        "a UsageError",
        "a warning",
        "p.pkl",
        "t.parquet",
        "the log of polars_rasteret.test",
    ]


SECRETS = [
    planted(f"c0nfigured/{name}+of=user") for name in ("key", "token", "header", "password", "signature", "given")
]
KEY, TOKEN, HEADER, PASSWORD, SIGNATURE, GIVEN = SECRETS


@pytest.fixture
def scenes(tmp_path):
    """A collection whose files are read with a secret of every kind."""
    with (
        RangeServer({"a.tif": FILE}) as server,
        httpx.Client(headers={"X-Key": HEADER}, auth=("me", PASSWORD)) as client,
    ):
        options = {
            "aws_access_key_id": "id",
            "aws_secret_access_key": KEY,
            "aws_session_token": TOKEN,
            "aws_region": "us-west-2",
        }
        pr.configure_store("s3://told-nobody/", storage_options=options)
        pr.configure_store(
            "s3://given/", credential_provider=lambda: {"access_key_id": "id", "secret_access_key": GIVEN}
        )
        pr.configure_store(f"{server.origin}/", client=client)
        with pytest.warns(UserWarning, match="hold a signature"):
            lf = pr.build_from_files(
                [f"{server.url('a.tif')}?sig={quote(SIGNATURE, safe='')}"], bands=["b"], into=tmp_path / "c"
            )
        source_for("s3://told-nobody/a.tif")
        yield lf
        for prefix in ("s3://told-nobody/", "s3://given/", f"{server.origin}/"):
            pr.configure_store(prefix)


def everything_of(lf):
    """Yield what a user may print, store or send to another process, by its name."""
    window = pl.col("b").raster.read_window(window=(0, 2, 0, 2))
    sampled = lf.raster.sample_points(POINT, ["b"], crs=32632)
    queries = {
        "a scan": lf,
        "an expression": lf.select(window),
        "a verb": sampled,
        "pairs": lf.raster.pair(POINT, crs=32632),
    }
    for name, query in queries.items():
        yield name, query.explain() + query.explain(optimized=False) + repr(query)
        buffer = io.BytesIO()
        query.serialize(buffer)
        yield f"{name}, serialized", buffer.getvalue()
        yield f"{name}, pickled", cloudpickle.dumps(query)
        yield f"{name}, answered", repr(query.collect().rows())
    yield "the estimate", repr(pr.estimate(sampled)) + repr(pr.estimate(sampled).by_host.rows())
    with pr.profile() as profile:
        sampled.collect()
    yield "the profile", repr(profile) + repr(profile.by_host.rows())
    handle = next(iter(lf.raster.iter_rasters()))
    yield "a handle", repr(handle) + repr(handle.metadata("b"))
    yield "a Dataset", repr(lf.raster.to_xarray((300_000, 4_999_900, 300_100, 5_000_000), crs=32632))
    yield "describe", repr(lf.raster.describe()) + lf.raster.describe()._repr_html_()
    yield "the options", repr(pr.options)


def test_reprs_pickles_and_plans_hold_no_secret(scenes):
    for name, told in everything_of(scenes):
        assert secrets_in(told) == [], name


def test_reprs_of_settings_and_providers_hold_no_secret(scenes):
    del scenes
    for href in ("s3://told-nobody/a.tif", "s3://given/a.tif"):
        assert secrets_in(repr(setting_for(href)) + str(setting_for(href))) == []
        assert secrets_in(repr(source_for(href))) == []
    assert secrets_in(repr(shared_credentials(lambda: {"token": TOKEN}))) == []


def test_the_log_of_the_client_holds_no_signature_of_ours_and_stays_the_callers(caplog):
    caplog.set_level(logging.DEBUG)
    with RangeServer({"a.tif": FILE}) as server:
        with pytest.warns(UserWarning, match="hold a signature"):
            pr.build_from_files([f"{server.url('a.tif')}?sig={quote(SIGNATURE, safe='')}"])
        ours = [one.getMessage() for one in caplog.records if one.name.startswith(("httpx", "httpcore"))]
        assert [one for one in ours if secrets_in(one)] == []
        assert [one for one in ours if f"{server.url('a.tif')}?..." in one]
        caplog.clear()
        httpx.get(f"{server.url('a.tif')}?mine=1")
    assert [one for one in caplog.records if one.name == "httpx" and "?mine=1" in one.getMessage()]
    assert [one for one in caplog.records if one.name == "httpcore.connection"]
