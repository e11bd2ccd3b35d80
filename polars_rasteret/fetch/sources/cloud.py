"""How is a bucket of a cloud provider read: with which options, and signed or not?

The keys of ``storage_options`` are Polars' keys (which are object_store's), so they go to obstore unchanged. Keys about the
HTTP client go to the client.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import obstore.exceptions
from obstore import store as obstore_store

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.places import BUCKET_SCHEMES, bucket_place, kind_of
from polars_rasteret.fetch.redaction import store_words
from polars_rasteret.fetch.sources.aws_profiles import has_profile, profile_credentials
from polars_rasteret.fetch.sources.credentials import AUTO, PLANETARY_COMPUTER, SharedCredentials, shared_credentials
from polars_rasteret.fetch.sources.httpx_source import plain_client
from polars_rasteret.fetch.sources.obstore_source import NO_RETRIES, ObstoreSource, client_options
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from polars_rasteret.fetch.hints import Hint
    from polars_rasteret.fetch.places import BucketPlace

_CLIENT_KEYS = frozenset(
    {
        "allow_http",
        "allow_invalid_certificates",
        "default_content_type",
        "default_headers",
        "headers",
        "http1_only",
        "http2_keep_alive_interval",
        "http2_keep_alive_timeout",
        "http2_keep_alive_while_idle",
        "http2_max_frame_size",
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

_PROVIDERS = ("aws_", "azure_storage_", "azure_", "google_", "gcs_")

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

_NO_ENDPOINT = pattern("msi_|metadata|fabric|relative_uri|full_uri|sts_")
"""Part of the names of options that name an endpoint for credentials, not for objects."""
_REGION_KEYS = frozenset({"region", "aws_region", "default_region", "aws_default_region"})
ACCOUNT_KEYS = frozenset({"account_name", "azure_storage_account_name", "azure_account_name"})

_REGION_TIMEOUT_S = 5.0

found_regions: dict[str, str] = {}
"""Regions of buckets, as S3 told them to this process."""


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the storage options in two parts: those of the HTTP client, and those of the store."""
    client = {name: value for key, value in options.items() if (name := without_provider(key)) in _CLIENT_KEYS}
    store = {key: value for key, value in options.items() if without_provider(key) not in _CLIENT_KEYS | _OUR_KEYS}
    if "headers" in client:
        client["default_headers"] = client.pop("headers")
    for key in ("pool_max_idle_per_host",):
        if key in client:
            client[key] = str(client[key])
    return client, store


def without_provider(key: str) -> str:
    """Return the name of an option, in lower case; ``aws_allow_http`` is ``allow_http``.

    obstore takes options of the client under both names, and panics where they are said of the store.
    """
    name = key.lower()
    return next((name.removeprefix(one) for one in _PROVIDERS if name.startswith(one)), name)


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


def bucket_source(
    place: BucketPlace,
    options: Mapping[str, Any],
    credential_provider: Any,
    *,
    hint: Hint | None = None,
    endpoint: str | None = None,
) -> ObstoreSource:
    """Return the source of one bucket or container.

    Parameters
    ----------
    place
        Any place in the bucket.
    options, credential_provider
        As given to `configure_store`.
    hint
        What a collection told of the place, for what the options do not say.
    endpoint
        The endpoint of the hint, where it counts; such a place is read anonymously.

    Raises
    ------
    UsageError
        For options that the store does not know, and for a profile that cannot be used.
    """
    make_store, credentials = bucket_store(place, options, credential_provider, hint=hint, endpoint=endpoint)
    return ObstoreSource(make_store, _key_of_web if place.is_web else bucket_key, credentials)


def bucket_store(
    place: BucketPlace,
    options: Mapping[str, Any],
    credential_provider: Any,
    *,
    hint: Hint | None = None,
    endpoint: str | None = None,
) -> tuple[Callable[[float], Any], SharedCredentials | None]:
    """Return a function that makes an obstore store of a bucket for a timeout, and the credentials that these stores share."""
    client, config = split_options(options)
    kind, name = place.kind, place.name or ""
    if place.kind == "az":
        _set_account(config, place)
    credentials: SharedCredentials | None = None
    if endpoint is not None:
        config |= {"endpoint": endpoint, "skip_signature": True}
    else:
        credentials = credentials_of(place, config, credential_provider, hint)
        if credentials is None and credential_provider != AUTO and not _has_credentials(kind, config):
            config["skip_signature"] = True
    if place.is_web:
        _set_web_endpoint(config, place)
    arguments: dict[str, Any] = {"config": config}
    if credentials is not None:
        arguments["credential_provider"] = credentials
    make: Any = {"s3": obstore_store.S3Store, "gs": obstore_store.GCSStore, "az": obstore_store.AzureStore}[kind]
    region_is_unknown = kind == "s3" and not _says_region(config)
    if region_is_unknown and hint is not None and hint.region is not None:
        config["region"], region_is_unknown = hint.region, False

    def make_store(timeout_s: float) -> Any:
        if region_is_unknown and "region" not in config:
            config["region"] = _bucket_region(name) or "us-east-1"
        return made(timeout_s)

    def made(timeout_s: float) -> Any:
        try:
            return make(name, client_options=client_options(timeout_s, **client), retry_config=NO_RETRIES, **arguments)
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            reason = store_words(error)
        raise UsageError(
            f"{place.bucket}: cannot make a store: {reason}. Mend its pr.configure_store(prefix, storage_options=...)."
        )

    made(1.0)  # for its complaints about the options, here rather than in a fetch thread
    return make_store, credentials


def credentials_of(
    place: BucketPlace, config: dict[str, Any], credential_provider: Any, hint: Hint | None = None
) -> SharedCredentials | None:
    """Return the credentials of a provider that is called here; None where obstore finds its own, or none are needed.

    A profile is taken out of `config`, because obstore does not know the word.
    """
    profile = next((config.pop(key) for key in list(config) if key.lower() in ("aws_profile", "profile")), None)
    if (shared := shared_credentials(credential_provider)) is not None:
        return shared
    if credential_provider == PLANETARY_COMPUTER or (
        credential_provider is None and is_signed_by_hint(place, hint) and not _names_credentials(config)
    ):
        if place.kind != "az" or place.account is None:
            raise UsageError(
                f"{place.bucket}: credential_provider='planetary-computer' needs account and container in the href, as in "
                "https://account.blob.core.windows.net/container/ or abfss://container@account.dfs.core.windows.net/"
            )
        return planetary_computer_credentials(place.account, place.name or "")
    if place.kind != "s3" or _names_credentials(config):
        return None
    if profile is not None:
        return SharedCredentials(profile_credentials(str(profile), said_by="storage_options"))
    if any(os.environ.get(name) for name in _CREDENTIAL_ENV["s3"]):
        return None  # as in AWS's own tools, keys of the environment rank above its profile
    if named := os.environ.get("AWS_PROFILE"):
        return SharedCredentials(profile_credentials(named, said_by="AWS_PROFILE"))
    if credential_provider == AUTO and has_profile("default"):
        return SharedCredentials(profile_credentials("default", said_by="credential_provider='auto'"))
    return None


@lru_cache(maxsize=1_024)
def planetary_computer_credentials(account: str, container: str) -> SharedCredentials:
    """Return the credentials of a container of the Planetary Computer; one cache for the whole process."""
    from polars_rasteret.fetch.sources.planetary_computer import PlanetaryComputerToken

    return SharedCredentials(PlanetaryComputerToken(account, container))


def _set_account(config: dict[str, Any], place: BucketPlace) -> None:
    if place.account is None:
        return
    name, _, served = place.account.partition(".")
    if not name.isalnum():
        raise UsageError(
            f"{place.bucket}: what follows the @ names no storage account; expected abfss://container@account.host/path"
        )
    if not any(key.lower() in ACCOUNT_KEYS for key in config):
        config["azure_storage_account_name"] = name
    if served and own_endpoint(config) is None:
        config["endpoint"] = f"https://{name}.{served.replace('dfs.', 'blob.', 1)}"


def _set_web_endpoint(config: dict[str, Any], place: BucketPlace) -> None:
    """Set the endpoint of a bucket that was named by its provider's address, where the environment names another one."""
    if own_endpoint(config) is not None:
        if place.region is not None and region_of(config) is None:
            config["region"] = place.region
        return
    if place.region is not None:
        for key in [key for key in config if key.lower() in _REGION_KEYS]:
            del config[key]
        config["region"] = place.region
    is_china = place.region is not None and place.region.startswith("cn-")
    if endpoint_of(place.kind, {}) is None and not is_china:
        return
    if place.kind == "s3":
        region = place.region or region_of(config) or "us-east-1"
        config["endpoint"] = f"https://s3.{region}.amazonaws.com{'.cn' if is_china else ''}"
    elif place.kind == "az":
        config["endpoint"] = f"https://{place.account}.blob.core.windows.net"
    else:
        config["base_url"] = "https://storage.googleapis.com"


def _key_of_web(href: str) -> str:
    place = bucket_place(href)
    assert place is not None
    return place.path


def _has_credentials(kind: str, config: Mapping[str, Any]) -> bool:
    """Return whether options or environment name credentials, or say that there are none."""
    return _names_credentials(config) or any(os.environ.get(name) for name in _CREDENTIAL_ENV[kind])


def _names_credentials(config: Mapping[str, Any]) -> bool:
    return any(word in key.lower() for key in config for word in _CREDENTIAL_WORDS)


def is_signed_by_hint(place: BucketPlace, hint: Hint | None) -> bool:
    """Return whether a hint brings the credentials of a place; keys of the environment count for its own account only."""
    if hint is None or hint.signing != PLANETARY_COMPUTER or place.kind != "az" or place.account is None:
        return False
    has_own = place.account == env_account() and any(os.environ.get(name) for name in _CREDENTIAL_ENV["az"])
    return place.name is not None and not has_own


def is_signed(place: BucketPlace, options: Mapping[str, Any], hint: Hint | None) -> bool:
    """Return whether requests to a bucket are signed, with these options and no provider among them."""
    config = split_options(options)[1]
    if any("skip_signature" in key.lower() and str(value).lower() in ("true", "1") for key, value in config.items()):
        return False
    has_profile_named = any("profile" in key.lower() for key in config) or "AWS_PROFILE" in os.environ
    return is_signed_by_hint(place, hint) or has_profile_named or _has_credentials(place.kind, config)


def env_account() -> str | None:
    """Return the storage account that the environment names."""
    return os.environ.get("AZURE_STORAGE_ACCOUNT_NAME") or os.environ.get("AZURE_ACCOUNT_NAME") or None


def is_about_the_client(options: Mapping[str, Any]) -> bool:
    """Return whether storage options speak of the HTTP client only, and of nothing that a provider's store needs."""
    return all(without_provider(key) in _CLIENT_KEYS | _OUR_KEYS for key in options)


def own_endpoint(options: Mapping[str, Any]) -> str | None:
    """Return the endpoint that options name for the objects of a bucket; None where they name none."""
    return next(
        (
            str(value)
            for key, value in options.items()
            if value
            and ("endpoint" in key.lower() or "base_url" in key.lower())
            and not _NO_ENDPOINT.search(key.lower())
        ),
        None,
    )


def endpoint_of(scheme: str, options: Mapping[str, Any]) -> str | None:
    """Return the endpoint that options or environment name for buckets of a scheme; None: the endpoint of the provider."""
    if (named := own_endpoint(options)) is not None:
        return named
    names = _ENDPOINT_ENV[kind_of(scheme)] if scheme in BUCKET_SCHEMES else ()
    return next((one for one in map(os.environ.get, names) if one), None)


def region_of(options: Mapping[str, Any]) -> str | None:
    """Return the region that options name."""
    return next((str(options[key]) for key in options if key.lower() in _REGION_KEYS), None)


def _says_region(config: Mapping[str, Any]) -> bool:
    if region_of(config) is not None or endpoint_of("s3", config) is not None:
        return True
    return any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))


def _bucket_region(bucket: str) -> str | None:
    """Return the region of a bucket, which S3 tells everybody, whatever the status; None when S3 cannot be asked."""
    if bucket in found_regions:
        return found_regions[bucket]
    import httpx

    try:
        answer = httpx.head(f"https://s3.amazonaws.com/{bucket}", timeout=_REGION_TIMEOUT_S)
    except httpx.HTTPError:
        return None
    region: str | None = answer.headers.get("x-amz-bucket-region")
    if region is not None:
        found_regions[bucket] = region
    return region
