"""Is S3 read with real signatures, and does its trouble look like that of any server?"""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.scheduling.scheduler import clear_cache
from tests.support.small_archive import Archive
from tests.support.workloads import (
    EACH_TILE_ALONE,
    N_POINTS,
    N_WINDOWS,
    check_null,
    check_raise,
    sample,
    windows,
    windows_truth,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

moto_server = pytest.importorskip("moto.server")
BUCKET = "scenes"


class Bucket:
    """An S3 of moto that checks signatures and rights, and misbehaves before it answers."""

    def __init__(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        self._app = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        self.rate = 0.0
        self.kinds: tuple[str, ...] = ("500", "503", "429", "reset", "cut", "wrong range")
        self.n_faults = self.n_requests = 0
        self.signed: set[str] = set()
        self._chance = random.Random(8)
        self._lock = threading.Lock()
        quiet = type("Quiet", (WSGIRequestHandler,), {"log": lambda *_args: None, "protocol_version": "HTTP/1.1"})
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=quiet)
        self._server.handle_error = lambda *_args: None
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._fill()

    def close(self) -> None:
        self.set_checks(10**9)  # moto keeps this for the process: other tests have users of their own
        self.s3.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _fill(self) -> None:
        import boto3
        import httpx

        def client(kind: str) -> Any:
            return boto3.client(
                kind,
                endpoint_url=self.endpoint,
                region_name="eu-central-1",
                aws_access_key_id="setup",
                aws_secret_access_key="setup",
            )

        iam, self.s3 = client("iam"), client("s3")
        iam.create_user(UserName="reader")
        allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
        policy = {"Version": "2012-10-17", "Statement": [allowed]}
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        iam.close()
        self.options = {
            "aws_endpoint_url": self.endpoint,
            "aws_allow_http": "true",
            "aws_region": "eu-central-1",
            "aws_access_key_id": key["AccessKeyId"],
            "aws_secret_access_key": key["SecretAccessKey"],
            "aws_virtual_hosted_style_request": "false",
        }
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.set_checks = lambda after: httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=str(after))
        self.put(Archive().files)

    def put(self, files: dict[str, bytes]) -> None:
        self.set_checks(10**6)
        for name, data in files.items():
            self.s3.put_object(Bucket=BUCKET, Key=name, Body=data)
        assert self.set_checks(0).status_code == 200

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self._lock:
            fault = None
            if environ["REQUEST_METHOD"] == "GET":
                self.n_requests += 1
                self.signed.add(environ.get("HTTP_AUTHORIZATION", "").split(" ")[0])
                if self._chance.random() < self.rate:
                    self.n_faults += 1
                    fault = self._chance.choice(self.kinds)
        if fault in ("500", "503", "429"):
            start_response(f"{fault} No", [("Content-Length", "0")])
            return [b""]
        if fault == "reset":
            connection = environ["werkzeug.socket"]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return []
        if fault == "wrong range":  # the request is signed, so the answer is what is changed
            honest = start_response

            def start_response(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                said = dict(headers)
                start, stop, size = re.findall(r"\d+", said["content-range"])
                said["content-range"] = f"bytes {int(start) + 8}-{int(stop) + 8}/{size}"
                return honest(status, list(said.items()), *more)

        body = self._app(environ, start_response)
        if fault == "cut":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RD)
            return [b"".join(body)[:7]]
        return body


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    pr.configure_store(f"s3://{BUCKET}/", storage_options=bucket.options)
    yield bucket
    pr.configure_store(f"s3://{BUCKET}/")
    bucket.close()


@pytest.fixture
def records(bucket, archive):
    bucket.rate = 0.0
    clear_cache()
    return archive.records(f"s3://{BUCKET}/").collect().lazy()


def test_every_request_is_signed_and_checked(bucket, archive, records):
    bucket.signed.clear()
    points = archive.points(300)
    check_raise(sample(records, points, "verb"), archive.sampled(points), "streaming", prefix="s3://", within_s=30)
    assert bucket.signed == {"AWS4-HMAC-SHA256"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aws_secret_access_key": "wrong"}, "403"),
        ({"aws_access_key_id": "AKIAUNKNOWN"}, "403"),
        ({"aws_skip_signature": "true"}, "403"),
    ],
)
def test_a_wrong_signature_is_refused_and_says_what_to_do(bucket, records, archive, change, words):
    pr.configure_store(f"s3://{BUCKET}/", storage_options={**bucket.options, **change})
    try:
        with pytest.raises(pr.errors.FetchError, match=rf"s3://{BUCKET}/\d/.*{words}.*configure_store"):
            sample(records, archive.points(3), "verb").collect()
    finally:
        pr.configure_store(f"s3://{BUCKET}/", storage_options=bucket.options)


def test_credentials_may_come_from_a_callable(bucket, records, archive):
    asked = []

    def provider():
        asked.append(1)
        return {
            "access_key_id": bucket.options["aws_access_key_id"],
            "secret_access_key": bucket.options["aws_secret_access_key"],
            "expires_at": None,
        }

    plain = {name: value for name, value in bucket.options.items() if "key" not in name}
    pr.configure_store(f"s3://{BUCKET}/", storage_options=plain, credential_provider=provider)
    try:
        points = archive.points(20)
        truth = archive.sampled(points)
        assert check_raise(sample(records, points, "verb"), truth, "streaming", prefix="s3://", within_s=30) == "exact"
        assert asked
    finally:
        pr.configure_store(f"s3://{BUCKET}/", storage_options=bucket.options)


@pytest.mark.parametrize(
    ("face", "engine"), [("verb", "streaming"), pytest.param("expression", "in-memory", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("what", ["points", "windows"])
def test_answers_are_exact_or_the_error_names_the_bytes(bucket, records, archive, what, face, engine):
    points = archive.points(N_POINTS if what == "points" else N_WINDOWS)
    bucket.rate, bucket.n_faults = 0.2, 0
    with pr.options(timeout_s=60, retries=10, **EACH_TILE_ALONE):
        asked = sample(records, points, face) if what == "points" else windows(records, points, face)
    truth = archive.sampled(points) if what == "points" else windows_truth(archive, points)
    outcome = check_raise(asked, truth, engine, prefix=f"s3://{BUCKET}/", within_s=90)
    assert bucket.n_faults > 50, outcome


def test_every_null_has_its_reason(bucket, records, archive):
    points = archive.points(N_POINTS)
    bucket.rate = 0.2
    with pr.options(timeout_s=60, retries=0, on_error="null", **EACH_TILE_ALONE):
        asked = sample(records, points, "verb")
    assert check_null(asked, archive.sampled(points), "streaming", "verb", within_s=90) > 0


def test_a_replaced_object_is_a_stale_index(bucket, records, archive):
    data = archive.files["3/red.tif"]
    bucket.put({"3/red.tif": data[:-1] + bytes([data[-1] ^ 1])})
    try:
        with pytest.raises(pr.errors.StaleIndexError, match=rf"s3://{BUCKET}/3/red.tif: asked for bytes .*refresh"):
            sample(records, archive.points(100), "verb").collect()
    finally:
        bucket.put({"3/red.tif": data})
