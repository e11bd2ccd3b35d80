"""Which keys of stores does a plan hold, so that it must not be written down for workers?

Polars keeps ``storage_options`` and credential providers of a scan in its plan, as they were given. What is no key is listed
here by its name in a plan; all else counts as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.fetch.hints import is_plain
from polars_rasteret.frame.query.plan_tree import as_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_KEYS = frozenset(
    {
        "AllowHttp",
        "AllowInvalidCertificates",
        "Bucket",
        "Checksum",
        "ConditionalPut",
        "DefaultRegion",
        "DisableTagging",
        "Region",
        "RequestPayer",
        "S3Express",
        "SkipSignature",
        "UnsignedPayload",
        "UseFabricEndpoint",
        "UserAgent",
        "VirtualHostedStyleRequest",
    }
)
_URLS = frozenset({"BaseUrl", "Endpoint"})
"""Options whose value is no key unless user, password or a query stand in it."""
_MADE_BY_POLARS = b"AutoInit"
"""Stands in the pickled form of the providers that look for credentials where they run."""


def keys_in_plan(tree: Any) -> list[str]:
    """Return what a plan, as `plan_tree` returns it, holds of keys: in words without them, none where it holds none.

    Examples
    --------
    >>> import polars as pl
    >>> from polars_rasteret.frame.query.plan_tree import plan_tree
    >>> options = {"aws_region": "eu-west-1", "aws_secret_access_key": "..."}
    >>> table = pl.scan_parquet("s3://bucket/table.parquet", storage_options=options, schema={"a": pl.Int64})
    >>> keys_in_plan(plan_tree(table))
    ['SecretAccessKey of s3://bucket/table.parquet']
    """
    return sorted({word for scan in _scans(tree) for word in _keys_of(scan)})


def _scans(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        if "cloud_options" in node.get("unified_scan_args", {}):
            yield node
        for value in node.values():
            yield from _scans(value)
    elif isinstance(node, list):
        for value in node:
            yield from _scans(value)


def _keys_of(scan: Any) -> Iterator[str]:
    paths = list(_texts(scan.get("sources", {}).get("Paths", [])))
    where = "a scan" if not paths else paths[0] if is_plain(paths[0]) else "a scan of a signed URL"
    if any("://" in path and not is_plain(path) for path in paths):
        yield f"the query of {where}"
    options = scan["unified_scan_args"]["cloud_options"] or {}
    for name, value in _settings(options.get("config")):
        if name not in _NO_KEYS and not (name in _URLS and is_plain(value)):
            yield f"{name} of {where}"
    provider = options.get("credential_provider")
    if provider is not None and _MADE_BY_POLARS not in as_bytes(provider):
        yield f"the credential provider of {where}"


def _settings(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the options of a provider: ``{"Aws": [[name, value], ...]}``, or headers: ``{"Http": {"headers": ...}}``."""
    for provider, settings in (config or {}).items():
        if isinstance(settings, dict):
            for name, values in settings.items():
                yield from ((f"{name}", "") for _ in values or [])
        elif isinstance(settings, list):
            for name, value in settings:
                yield (name["Client"] if isinstance(name, dict) and "Client" in name else str(name)), str(value)
        else:
            yield str(provider), ""


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from _texts(value)
