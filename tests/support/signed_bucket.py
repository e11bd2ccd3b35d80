"""An S3 that checks signatures and rights (moto), and remembers the requests for objects."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.planted_secrets import planted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

REGION = "us-west-2"


@dataclass(frozen=True)
class SignedRequest:
    """A request for an object."""

    path: str
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""

    @property
    def key_id(self) -> str | None:
        """The id of the key that signed the request; None where none did."""
        _, mark, rest = self.headers.get("authorization", "").partition("Credential=")
        return rest.partition("/")[0] if mark else None


class SignedBucket:
    """A bucket that only its user may read, by signed requests."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        moto_server = pytest.importorskip("moto.server")
        import boto3
        from werkzeug.serving import WSGIRequestHandler, make_server

        self.requests: list[SignedRequest] = []
        self._app = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        quiet = type("Quiet", (WSGIRequestHandler,), {"log": lambda *_args: None, "protocol_version": "HTTP/1.1"})
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=quiet)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        words = {
            "endpoint_url": self.endpoint,
            "region_name": REGION,
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
        }
        iam, s3 = boto3.client("iam", **words), boto3.client("s3", **words)
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        for path, data in files.items():
            s3.put_object(Bucket=name, Key=path, Body=data)
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
        sts = boto3.client("sts", **words)
        given = sts.assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
        self.role = (given["AccessKeyId"], planted(given["SecretAccessKey"]), planted(given["SessionToken"]))
        for client in (iam, s3, sts):
            client.close()
        self.key_id, self.secret = key["AccessKeyId"], planted(key["SecretAccessKey"])
        self.place = {"aws_endpoint_url": self.endpoint, "aws_region": REGION}
        self.keys = {"aws_access_key_id": self.key_id, "aws_secret_access_key": self.secret}
        answer = httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=b"0").json()
        self._before = answer["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            headers = {
                name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
            }
            self.requests.append(SignedRequest(environ["PATH_INFO"], headers))
        return self._app(environ, start_response)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        # moto keeps this for the process: other tests have users of their own.
        httpx.post(f"{self.endpoint}/moto-api/reset-auth", content=str(self._before).encode())
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
