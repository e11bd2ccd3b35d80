"""Which credentials does a profile of AWS's configuration files hold?

boto3 reads these files, and knows single sign-on, assumed roles and processes; it is imported only when a profile is asked for.
"""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import FetchError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_ASKED_AGAIN = dt.timedelta(minutes=10)
"""How long credentials of a profile are kept; boto3 renews those of roles and sign-ons ten minutes before they expire."""
_KEPT_EARLY = dt.timedelta(minutes=5)


def profile_credentials(profile: str, *, said_by: str) -> Callable[[], dict[str, Any]]:
    """Return a provider of the credentials of a profile.

    Parameters
    ----------
    profile
        Name of the profile.
    said_by
        Who named the profile, for messages.

    Raises
    ------
    UsageError
        When boto3 is not installed, or there is no such profile.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise UsageError(
            f"{said_by} names the AWS profile {profile!r}, and boto3, which reads profiles, is not installed: pip install boto3. "
            "Or give aws_access_key_id and aws_secret_access_key, or aws_skip_signature='true' to read anonymously."
        ) from error
    try:
        session = boto3.Session(profile_name=profile)
    except BotoCoreError as error:
        raise UsageError(
            f"{said_by} names the AWS profile {profile!r}, which boto3 cannot use: {type(error).__name__}. Check ~/.aws/config "
            "and ~/.aws/credentials."
        ) from None
    lock = threading.Lock()
    found: list[Any] = []

    def credentials() -> dict[str, Any]:
        try:
            with lock:
                if not found:
                    found.append(session.get_credentials())
                frozen = None if found[0] is None else found[0].get_frozen_credentials()
        except BotoCoreError as error:
            name = type(error).__name__
            frozen, reason = None, f"boto3 raised {name}; aws sso login --profile {profile} may help"
        else:
            reason = "it holds none"
        if frozen is None:
            raise FetchError(f"no credentials in the AWS profile {profile!r}: {reason}")
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": dt.datetime.now(dt.UTC) + _ASKED_AGAIN + _KEPT_EARLY,
        }

    return credentials


def has_profile(profile: str) -> bool:
    """Return whether boto3 is installed and AWS's configuration files have a profile."""
    try:
        import boto3
    except ImportError:
        return False
    return profile in boto3.Session().available_profiles
