"""Which configuration of stores may travel to workers, and which must be made there?

Keys, tokens, clients and store objects are never sent. A function by its import path, the environment or a role of the workers
gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.hints import is_plain
from polars_rasteret.fetch.signing import as_signed
from polars_rasteret.fetch.sources.cloud import without_provider
from polars_rasteret.fetch.sources.settings import settings_of
from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polars_rasteret.fetch.sources.settings import Setting

_PLAIN = frozenset(
    {
        "account_name",
        "allow_http",
        "allow_invalid_certificates",
        "default_region",
        "endpoint",
        "endpoint_url",
        "profile",
        "region",
        "request_payer",
        "requester_pays",
        "skip_signature",
        "user_agent",
        "virtual_hosted_style_request",
    }
)
"""Options, without the provider that they begin with, that are no secret."""


def plain_stores(hrefs: Iterable[str], *, setup: str | None) -> dict[str, dict[str, Any]]:
    """Return what ``configure_store`` must be told in workers, by prefix, for some hrefs to be read there.

    Parameters
    ----------
    hrefs
        The files of a query.
    setup
        Function that configures stores in the workers; None: there is none.

    Raises
    ------
    UsageError
        When this process has a configuration for one of the hrefs that must not travel, or a key that it cut from the href, and
        no `setup` makes it there.
    """
    hrefs, found = list(hrefs), {}
    if setup is None and (signed := next((href for href in hrefs if as_signed(href) != href), None)) is not None:
        raise UsageError(
            f"{shown(signed)} came to this process with a key, which it kept to itself, and which workers need, too. Configure "
            "the store of that file with pr.configure_store in a function that workers can import, and name it: "
            'setup="my_module:my_function" of the engine.'
        )
    for setting in settings_of(hrefs):
        if (kept_back := _kept_back(setting)) is None:
            found[setting.prefix] = {
                "storage_options": dict(setting.storage_options) or None,
                "credential_provider": setting.credential_provider,
            }
        elif setup is None:
            raise UsageError(
                f"pr.configure_store({shown(setting.prefix)!r}, ...) told this process {kept_back}, which workers need, too, and "
                "which is never sent to them. Put that call in a function that workers can import, and name it: "
                'setup="my_module:my_function" of the engine; or let the environment, a profile or a role of the workers give '
                "credentials, and do not configure them here."
            )
    return found


def _kept_back(setting: Setting) -> str | None:
    """Return what of a setting must not travel; None where all of it may."""
    if setting.store is not None:
        return "a store object"
    if setting.client is not None:
        return "an httpx.Client"
    if setting.credential_provider is not None and not isinstance(setting.credential_provider, str):
        return "a credential provider"
    secret = [name for name, value in setting.storage_options.items() if not _may_travel(name, value)]
    return ", ".join(sorted(secret)) or None


def _may_travel(name: str, value: Any) -> bool:
    plain = without_provider(name)
    if plain not in _PLAIN or not isinstance(value, str | bool | int):
        return False
    return not plain.startswith("endpoint") or is_plain(str(value))
