"""How is a bucket of a cloud provider read: with which options, and signed or not?

The keys of ``storage_options`` are Polars' keys (which are object_store's), so they go to obstore unchanged. Keys about the
HTTP client go to the client.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx
import obstore.exceptions
from obstore import store as obstore_store

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.redaction import store_words
from polars_rasteret.fetch.sources.credentials import shared_credentials
from polars_rasteret.fetch.sources.httpx_source import plain_client
from polars_rasteret.fetch.sources.obstore_source import NO_RETRIES, ObstoreSource, client_options
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_S3, _GS, _AZ = frozenset({"s3", "s3a"}), frozenset({"gs"}), frozenset({"az", "azure", "adl", "abfs", "abfss"})
BUCKET_SCHEMES = _S3 | _GS | _AZ

_CLIENT_KEYS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "default_headers",
        "headers",
        "http1_only",
        "http2_only",
        "pool_idle_timeout",
        "pool_max_idle_per_host",
        "proxy_ca_certificate",
        "proxy_excludes",
        "proxy_url",
        "randomize_addresses",
        "root_certificate",
        "user_agent",
    }
)
# Ours count, and are seen in the profile: pr.options(timeout_s=, retries=).
_OUR_KEYS = frozenset(
    {
        "connect_timeout",
        "max_retries",
        "read_timeout",
        "retry_base_multiplier",
        "retry_init_backoff_ms",
        "retry_max_backoff_ms",
        "retry_timeout",
        "retry_timeout_ms",
        "timeout",
    }
)

# Any of these tells object_store where to find credentials; without one it would ask the metadata service of a cloud machine,
# which takes seconds to fail anywhere else.
_CREDENTIAL_ENV = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
           "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_SKIP_SIGNATURE"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SKIP_SIGNATURE",
           "GOOGLE_APPLICATION_CREDENTIALS", "SERVICE_ACCOUNT"),
    "az": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN",
           "AZURE_STORAGE_TOKEN", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
           "AZURE_USE_AZURE_CLI", "AZURE_SKIP_SIGNATURE", "IDENTITY_ENDPOINT"),
}  # fmt: skip
_CREDENTIAL_WORDS = (
    "access_key", "secret", "token", "service_account", "application_credentials", "account_key", "sas", "master_key",
    "client_id", "use_azure_cli", "credentials", "role_arn", "skip_signature", "msi_endpoint", "identity", "use_emulator",
)  # fmt: skip

_ENDPOINT_ENV = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}

_REGION_TIMEOUT_S = 5.0


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the storage options in two parts: those of the HTTP client, and those of the store."""
    client = {key: value for key, value in options.items() if key.lower() in _CLIENT_KEYS}
    store = {key: value for key, value in options.items() if key.lower() not in _CLIENT_KEYS | _OUR_KEYS}
    if "headers" in client:
        client["default_headers"] = client.pop("headers")
    for key in ("pool_max_idle_per_host",):
        if key in client:
            client[key] = str(client[key])
    return client, store


def httpx_client(client: Mapping[str, Any]) -> httpx.Client:
    """Return an httpx client with the same headers, proxy and certificate checks as the one of obstore."""
    headers = dict(client.get("default_headers", {}))
    if "user_agent" in client:
        headers["User-Agent"] = client["user_agent"]
    return plain_client(
        headers=headers,
        proxy=client.get("proxy_url"),
        verify=str(client.get("allow_invalid_certificates", False)).lower() != "true",
    )


def bucket_key(href: str) -> str:
    """Return the key of an object: the text after the bucket (``s3://bucket/key``), unchanged."""
    return href.split("://", 1)[1].partition("/")[2]


def cloud_source(origin: str, options: Mapping[str, Any], credential_provider: Any) -> ObstoreSource:
    """Return the source of one bucket (``s3://bucket``, ``gs://bucket``, ``az://container``, ``abfss://container@account.host``).

    Raises
    ------
    UsageError
        For options that the store does not know.
    """
    scheme, _, bucket = origin.partition("://")
    client, config = split_options(options)
    kind = "s3" if scheme in _S3 else "gs" if scheme in _GS else "az"
    if not _has_credentials(kind, config, credential_provider):
        config["skip_signature"] = True
    arguments: dict[str, Any] = {"config": config}
    if (shared := shared_credentials(credential_provider)) is not None:
        arguments["credential_provider"] = shared
    make: Any
    if kind == "s3":
        make = obstore_store.S3Store
    elif kind == "gs":
        make = obstore_store.GCSStore
    else:
        make = obstore_store.AzureStore
        container, at, account = bucket.partition("@")
        if at:
            bucket = container
            name = account.split(".", 1)[0]
            if not name.isalnum():
                raise UsageError(
                    f"{shown(origin)}: what follows the @ names no storage account; expected abfss://container@account.host/path"
                )
            config.setdefault("azure_storage_account_name", name)

    region_is_unknown = kind == "s3" and not _says_region(config)

    def make_store(timeout_s: float) -> Any:
        if region_is_unknown and "region" not in config:
            config["region"] = _bucket_region(bucket) or "us-east-1"
        return made(timeout_s)

    def made(timeout_s: float) -> Any:
        try:
            return make(
                bucket, client_options=client_options(timeout_s, **client), retry_config=NO_RETRIES, **arguments
            )
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            reason = store_words(error)
        raise UsageError(
            f"{shown(origin)}: cannot make a store: {reason}. Mend its pr.configure_store(prefix, storage_options=...)."
        )

    made(1.0)  # for its complaints about the options, here rather than in a fetch thread
    return ObstoreSource(make_store, bucket_key)


def _has_credentials(kind: str, config: Mapping[str, Any], credential_provider: Any) -> bool:
    if credential_provider is not None:
        return True
    if any(word in key.lower() for key in config for word in _CREDENTIAL_WORDS):
        return True
    return any(os.environ.get(name) for name in _CREDENTIAL_ENV[kind])


def endpoint_of(scheme: str, options: Mapping[str, Any]) -> str | None:
    """Return the endpoint that options or environment name for buckets of a scheme; None: the endpoint of the provider."""
    named = [str(value) for key, value in options.items() if "endpoint" in key.lower()]
    names = (
        _ENDPOINT_ENV["s3" if scheme in _S3 else "gs" if scheme in _GS else "az"] if scheme in BUCKET_SCHEMES else ()
    )
    return next((one for one in (*named, *map(os.environ.get, names)) if one), None)


def _says_region(config: Mapping[str, Any]) -> bool:
    if any("region" in key.lower() for key in config) or endpoint_of("s3", config) is not None:
        return True
    return any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))


def _bucket_region(bucket: str) -> str | None:
    """Return the region of a bucket, which S3 tells everybody, whatever the status; None when S3 cannot be asked."""
    try:
        answer = httpx.head(f"https://s3.amazonaws.com/{bucket}", timeout=_REGION_TIMEOUT_S)
    except httpx.HTTPError:
        return None
    region: str | None = answer.headers.get("x-amz-bucket-region")
    return region
