"""Is a bucket that checks signatures read with every kind of credentials, and told apart from one that is refused?"""

from __future__ import annotations

import datetime as dt
import http.server
import json
import os
import sys
import threading

import boto3
import numpy as np
import obstore.auth.boto3
import obstore.auth.earthdata
import polars as pl
import pytest
import requests

import polars_rasteret as pr
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.hints import Hint, forget_hints, register_hints
from polars_rasteret.fetch.sources.settings import setting_for
from polars_rasteret.ingest.remembered_stores import remember_stores
from polars_rasteret.testing import make_cog
from tests.support.planted_secrets import planted, secrets_in
from tests.support.signed_bucket import SignedBucket

PLACE, HREF = "s3://signed-scenes/", "s3://signed-scenes/a.tif"
WEB_HREF = "https://signed-scenes.s3.us-west-2.amazonaws.com/a.tif"
FILE = make_cog(np.arange(64, dtype="uint8").reshape(8, 8), transform=(1.0, 0.0, 0.0, 0.0, -1.0, 8.0))
ACCESS_KEY = "access_key_id"


@pytest.fixture(scope="module")
def bucket():
    with SignedBucket("signed-scenes", {"a.tif": FILE}) as one:
        yield one


@pytest.fixture(autouse=True)
def no_other_credentials(bucket, monkeypatch, tmp_path):
    """Keep the credentials of this machine out, and every configuration in."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket.requests.clear()
    yield
    pr.configure_store(PLACE)
    forget_hints()


def profile(bucket, tmp_path, monkeypatch, name="scenes"):
    path = tmp_path / "credentials"
    path.write_text(f"[{name}]\naws_access_key_id={bucket.key_id}\naws_secret_access_key={bucket.secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))


def read(href=HREF, **how):
    """Read a pixel: the header as the build reads it, the pixel with what the build remembered."""
    with pr.options(retries=0):
        scenes = pr.build_from_files([href], bands=["b"], on_error="raise", **how)
        return (
            scenes.select(pl.col("b").raster.read_window(window=(0, 1, 0, 2)).struct.field("pixels"))
            .collect()
            .item()
            .to_list()
        )


def in_obstore_words(bucket):
    return {ACCESS_KEY: bucket.key_id, "secret_access_key": bucket.secret, "expires_at": None}


def in_polars_words(bucket):
    expiry = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).timestamp()
    return {"aws_access_key_id": bucket.key_id, "aws_secret_access_key": bucket.secret}, int(expiry)


PROVIDERS = {
    "a callable in obstore's words": lambda bucket: lambda: in_obstore_words(bucket),
    "a callable in Polars' words": lambda bucket: lambda: in_polars_words(bucket),
    "a callable in Polars' words without expiry": lambda bucket: lambda: (in_polars_words(bucket)[0], None),
    "Polars' own": lambda _bucket: pl.CredentialProviderAWS(profile_name="scenes", region_name="us-west-2"),
    "obstore's own": lambda _bucket: obstore.auth.boto3.Boto3CredentialProvider(boto3.Session(profile_name="scenes")),
}


@pytest.mark.parametrize("how", ["configure_store", "a build", "configure_store, by its address"])
@pytest.mark.parametrize("kind", PROVIDERS)
def test_every_kind_of_provider_means_the_same_everywhere(kind, how, bucket, tmp_path, monkeypatch):
    profile(bucket, tmp_path, monkeypatch)
    provider = PROVIDERS[kind](bucket)
    if how == "a build":
        assert read(storage_options=bucket.place, credential_provider=provider) == [0, 1]
    else:
        prefix = PLACE if how == "configure_store" else WEB_HREF.removesuffix("a.tif")
        pr.configure_store(prefix, storage_options=bucket.place, credential_provider=provider)
        assert [read(one) for one in ([HREF] if prefix == PLACE else [HREF, WEB_HREF])] == [[0, 1]] * (
            1 + (prefix != PLACE)
        )
    assert {one.key_id for one in bucket.requests} == {bucket.key_id}


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_collection_in_a_bucket_is_written_and_scanned_with_every_kind_of_provider(
    kind, bucket, tmp_path, monkeypatch
):
    profile(bucket, tmp_path, monkeypatch)
    how = {"storage_options": bucket.place, "credential_provider": PROVIDERS[kind](bucket)}
    target = f"{PLACE}{len(kind)}"
    pr.build_from_files([HREF], bands=["b"], into=target, on_error="raise", **how)
    assert pr.scan_collection(target, **how).select("id").collect().item() == "a"


def test_a_collection_in_a_bucket_is_written_and_scanned_with_a_profile(bucket, tmp_path, monkeypatch):
    profile(bucket, tmp_path, monkeypatch)
    options = {**bucket.place, "aws_profile": "scenes"}
    built = pr.build_from_files([HREF], bands=["b"], into=f"{PLACE}profile", on_error="raise", storage_options=options)
    assert built.select("id").collect().item() == "a"
    assert pr.list_collections(PLACE, storage_options=options)["name"].to_list()[-1] == "profile"


def test_a_build_asks_its_provider_once_and_keeps_what_it_gave(bucket):
    asked = []

    def provider():
        asked.append(1)
        return in_obstore_words(bucket)

    for _ in range(3):
        assert read(storage_options=bucket.place, credential_provider=provider) == [0, 1]
    assert len(asked) == 1


WEB_PLACES = [WEB_HREF.removesuffix("a.tif"), "https://s3.us-west-2.amazonaws.com/signed-scenes/"]


@pytest.mark.parametrize("place", WEB_PLACES)
def test_a_build_signs_for_a_bucket_that_goes_by_its_address(place):
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": planted("k3y/of+the=caller")}
    remember_stores([f"{place}a.tif"], {**keys, "azure_storage_account_name": "mine"}, None)
    assert setting_for(f"{place}a.tif").storage_options == keys
    assert setting_for(f"{place}a.tif").prefix == place
    pr.configure_store(place)


def test_options_for_another_service_leave_the_address_of_a_bucket_alone(bucket):
    for place in WEB_PLACES:
        remember_stores([f"{place}a.tif"], {**bucket.place, **bucket.keys}, None)
        remember_stores([f"{place}a.tif"], {"azure_storage_account_key": "a2V5a2V5"}, None)
        assert setting_for(f"{place}a.tif") is None
    remember_stores([HREF], {**bucket.place, **bucket.keys}, None)
    assert setting_for(HREF) is not None


@pytest.mark.parametrize("how", ["options", "environment", "a profile in options", "a profile in the environment"])
@pytest.mark.parametrize("auto", [None, "auto"])
def test_keys_and_profiles_are_found(how, auto, bucket, tmp_path, monkeypatch):
    options = dict(bucket.place)
    if how == "options":
        options |= bucket.keys
    elif how == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    else:
        profile(bucket, tmp_path, monkeypatch)
        if how == "a profile in options":
            options["aws_profile"] = "scenes"
        else:
            monkeypatch.setenv("AWS_PROFILE", "scenes")
    assert read(storage_options=options, credential_provider=auto) == [0, 1]
    pr.configure_store(PLACE, storage_options=options, credential_provider=auto)
    assert read() == [0, 1]
    assert {one.key_id for one in bucket.requests} == {bucket.key_id}


def test_the_default_profile_is_used_with_auto_only(bucket, tmp_path, monkeypatch):
    profile(bucket, tmp_path, monkeypatch, name="default")
    with pytest.raises(FetchError, match="403"):
        read(storage_options=bucket.place)
    assert {one.key_id for one in bucket.requests} == {None}
    assert read(storage_options=bucket.place, credential_provider="auto") == [0, 1]


def test_keys_of_the_options_rank_above_the_environment_and_its_keys_above_its_profile(bucket, tmp_path, monkeypatch):
    wrong = planted("wr0ng/secret+of=env")
    (tmp_path / "credentials").write_text(
        f"[wrong]\naws_access_key_id={bucket.key_id}\naws_secret_access_key={wrong}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "wrong")
    with pytest.raises(FetchError, match="SignatureDoesNotMatch"):
        read(storage_options=bucket.place)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    assert read(storage_options=bucket.place) == [0, 1]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    with pytest.raises(FetchError, match="SignatureDoesNotMatch"):
        read(storage_options=bucket.place)
    assert read(storage_options={**bucket.place, **bucket.keys}) == [0, 1]


def test_without_credentials_requests_are_not_signed_and_the_answer_names_the_way(bucket):
    with pytest.raises(FetchError, match=r"403.*Give credentials: pr.configure_store\('s3://signed-scenes/'"):
        read(storage_options=bucket.place)
    assert {one.key_id for one in bucket.requests} == {None}


def test_skip_signature_reads_anonymously_whatever_the_environment_holds(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret)
    with pytest.raises(FetchError, match="403"):
        read(storage_options={**bucket.place, "aws_skip_signature": "true"})
    assert {one.key_id for one in bucket.requests} == {None}


def test_a_wrong_secret_is_told_without_it(bucket):
    wrong = planted("wr0ng/secret+key=")
    with pytest.raises(FetchError, match="SignatureDoesNotMatch") as caught:
        read(storage_options={**bucket.place, **bucket.keys, "aws_secret_access_key": wrong})
    assert secrets_in(repr(caught.value)) == []


@pytest.mark.parametrize("said_by", ["storage_options", "AWS_PROFILE"])
@pytest.mark.parametrize("fault", ["no boto3", "no such profile"])
def test_a_profile_that_cannot_be_used_is_named_before_any_request(said_by, fault, bucket, monkeypatch):
    options = dict(bucket.place)
    if said_by == "storage_options":
        options["aws_profile"] = "scenes"
    else:
        monkeypatch.setenv("AWS_PROFILE", "scenes")
    if fault == "no boto3":
        monkeypatch.setitem(sys.modules, "boto3", None)
    words = "pip install boto3" if fault == "no boto3" else "ProfileNotFound"
    with pytest.raises(UsageError, match=rf"{said_by} names the AWS profile 'scenes'.*{words}"):
        read(storage_options=options)
    assert bucket.requests == []


def test_a_profile_without_keys_is_told(bucket, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("[profile scenes]\nregion = us-west-2\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(FetchError, match=r"no credentials in the AWS profile 'scenes'"):
        read(storage_options={**bucket.place, "aws_profile": "scenes"})


@pytest.fixture
def instance(bucket):
    """A metadata service, as machines in a cloud have one, that gives the keys of a role."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args):
            pass

        def do_PUT(self):
            self.answer(b"session")

        def do_GET(self):
            asked.append(self.path)
            role = {
                "AccessKeyId": bucket.role[0],
                "SecretAccessKey": bucket.role[1],
                "Token": bucket.role[2],
                "Expiration": f"{dt.datetime.now(dt.UTC) + dt.timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
                "Code": "Success",
            }
            self.answer(b"role" if self.path.endswith("/") else json.dumps(role).encode())

        def answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.asked, server.options = asked, {"aws_metadata_endpoint": f"http://127.0.0.1:{server.server_address[1]}"}
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_instance_is_asked_with_auto_only(bucket, instance):
    with pytest.raises(FetchError, match="403"):
        read(storage_options={**bucket.place, **instance.options})
    assert instance.asked == []
    assert {one.key_id for one in bucket.requests} == {None}
    assert read(storage_options={**bucket.place, **instance.options}, credential_provider="auto") == [0, 1]
    assert instance.asked
    assert bucket.requests[-1].key_id == bucket.role[0]


def test_who_reads_pays_only_where_the_caller_says_so(bucket):
    register_hints({HREF: Hint(signing="requester-pays")})
    assert read(storage_options={**bucket.place, **bucket.keys}) == [0, 1]
    assert not [one for one in bucket.requests if "x-amz-request-payer" in one.headers]
    bucket.requests.clear()
    assert read(storage_options={**bucket.place, **bucket.keys, "aws_request_payer": "true"}) == [0, 1]
    assert {one.headers["x-amz-request-payer"] for one in bucket.requests} == {"requester"}


@pytest.mark.parametrize("href", [HREF, WEB_HREF])
def test_a_refusal_of_a_bucket_where_the_reader_pays_says_so(href, bucket):
    register_hints({HREF: Hint(signing="requester-pays")})
    pr.configure_store(WEB_HREF.removesuffix("a.tif"), storage_options=bucket.place)
    with pytest.raises(FetchError, match=r"403.*requester pays.*aws_request_payer"):
        read(href)


def test_the_provider_of_nasa_gives_keys_to_the_store(bucket):
    """The provider of obstore asks the archive for keys, with a token of its user."""
    token = planted("earthd4ta+token/of=user")

    class Archive(requests.adapters.BaseAdapter):
        def send(self, request, **_how):
            answer = requests.Response()
            answer.request, answer.url = request, request.url
            answer.status_code = 200 if request.headers["Authorization"] == f"Bearer {token}" else 401
            told = {
                "accessKeyId": bucket.role[0],
                "secretAccessKey": bucket.role[1],
                "sessionToken": bucket.role[2],
                "expiration": f"{dt.datetime.now(dt.UTC) + dt.timedelta(hours=1):%Y-%m-%d %H:%M:%S+00:00}",
            }
            answer._content = json.dumps(told).encode()
            return answer

        def close(self):
            pass

    with requests.Session() as session:
        session.mount("https://", Archive())
        provider = obstore.auth.earthdata.NasaEarthdataCredentialProvider(
            "https://archive.invalid/s3credentials", auth=token, session=session
        )
        assert read(storage_options=bucket.place, credential_provider=provider) == [0, 1]
    assert bucket.requests[-1].key_id == bucket.role[0]


def test_a_provider_that_fails_is_told_without_its_words(bucket):
    secret = planted("pr0vider/said+this=")

    def provider():
        raise RuntimeError(f"no keys for {secret}")

    with pytest.raises(FetchError, match=r"its credential provider raised RuntimeError; call it by itself") as caught:
        read(storage_options=bucket.place, credential_provider=provider)
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert [text for one in chain for text in secrets_in(repr(one))] == []
    assert bucket.requests == []


@pytest.mark.parametrize("given", ["a text", None, 7, ("a", "b", "c"), ({ACCESS_KEY: "a"}, "tomorrow")])
def test_what_is_no_credential_is_told(given, bucket):
    with pytest.raises(FetchError, match="credential provider returned"):
        read(storage_options=bucket.place, credential_provider=lambda: given)
    assert bucket.requests == []
