"""Which token opens a container of the Planetary Computer?

Account and container come from the href of the file, never from its collection: MODIS items lie in ``modis-061-cogs``. The
words of the environment are those of Microsoft's package: ``PC_SDK_SAS_URL`` and ``PC_SDK_SUBSCRIPTION_KEY``.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

from polars_rasteret.bundles import bundle
from polars_rasteret.errors import FetchError, UsageError
from polars_rasteret.fetch.client_logs import without_keys_in_logs
from polars_rasteret.fetch.failures import TransientFetchError
from polars_rasteret.fetch.redaction import status_words
from polars_rasteret.hrefs import shown
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    import httpx

_SAS_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
_ACCOUNT = pattern(r"[a-z0-9]{3,24}")
_CONTAINER = pattern(r"[a-z0-9$-]{1,63}")
_TIMEOUT_S = 20.0


@bundle(kw_only=False, eq=True)
class PlanetaryComputerToken:
    """A credential provider for one container: it asks the Planetary Computer for a token that lasts about an hour."""

    account: str
    container: str

    def __post_init__(self) -> None:
        if not _ACCOUNT.fullmatch(self.account) or not _CONTAINER.fullmatch(self.container):
            raise UsageError(
                f"{self.account!r} and {self.container!r} are no storage account and container of Azure; expected an href like "
                "https://account.blob.core.windows.net/container/file.tif"
            )

    def __call__(self) -> dict[str, Any]:
        """Return a token in obstore's words.

        Raises
        ------
        FetchError
            When the Planetary Computer gives none; a `TransientFetchError` where it may give one later.
        """
        import httpx

        base = os.environ.get("PC_SDK_SAS_URL") or _SAS_URL
        key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
        url = f"{base.rstrip('/')}/{self.account}/{self.container}"
        failed = f"no token for container {self.container!r} of account {self.account!r} from {shown(base)}"
        try:
            with without_keys_in_logs():
                answer = httpx.get(url, headers={"Ocp-Apim-Subscription-Key": key} if key else {}, timeout=_TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure: FetchError = TransientFetchError(
                f"{failed}: {type(error).__name__}. Check the network and PC_SDK_SAS_URL."
            )
        else:
            if answer.status_code == 200:
                return _token(answer, failed)
            failure = _refusal(answer, failed)
        raise failure  # here, because the exception knows the request, with the key

    def __repr__(self) -> str:
        return f"PlanetaryComputerToken({self.account!r}, {self.container!r})"


def _token(answer: httpx.Response, failed: str) -> dict[str, Any]:
    try:
        told = answer.json()
        token, expiry = str(told["token"]).removeprefix("?"), dt.datetime.fromisoformat(told["msft:expiry"])
    except (ValueError, TypeError, KeyError):
        token, expiry = "", dt.datetime.now(dt.UTC)
    if not token:
        raise FetchError(f"{failed}: its answer is no JSON with 'token' and 'msft:expiry'. Check PC_SDK_SAS_URL.")
    return {"sas_token": token, "expires_at": expiry if expiry.tzinfo is not None else expiry.replace(tzinfo=dt.UTC)}


def _refusal(answer: httpx.Response, failed: str) -> FetchError:
    status, came = answer.status_code, f"it answered {status_words(answer.status_code)}"
    if status == 429 or status >= 500:
        wait = answer.headers.get("Retry-After", "")
        return TransientFetchError.after(
            f"{failed}: {came}. It may pass; a subscription key in PC_SDK_SUBSCRIPTION_KEY raises the limit.",
            float(wait) if wait.isdecimal() else None,
        )
    if status in (401, 403):
        return FetchError(f"{failed}: {came}. Check the subscription key in PC_SDK_SUBSCRIPTION_KEY.")
    return FetchError(
        f"{failed}: {came}. It signs for its own containers only; give credentials with pr.configure_store."
    )
