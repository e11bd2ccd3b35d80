"""An Azure on loopback: containers that want a token, and the service of the Planetary Computer that gives tokens."""

from __future__ import annotations

import datetime as dt
import json
from urllib.parse import parse_qs, quote, urlsplit

from tests.support.planted_secrets import planted
from tests.support.range_server import Fault, Handler, RangeServer, Seen

TOKENS = "sas/token"


class _BlobHandler(Handler):
    owner: BlobServer

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server asks for
        with self.running() as seen:
            if not seen.path.startswith(f"{TOKENS}/"):
                self._answer(seen)
                return
            self.owner.keys.append(self.headers.get("Ocp-Apim-Subscription-Key"))
            if self.owner.token_faults:
                fault = self.owner.token_faults.pop(0)
                self.send(fault.status or 500, fault.body, dict(fault.headers))
                return
            account, container = seen.path.split("/")[2:]
            told = json.dumps(self.owner.new_token(account, container)).encode()
            self.send(200, told, {"Content-Type": "application/json"})


class BlobServer(RangeServer):
    """Serve ``account/container/path`` to whoever has the newest token of that container, or an older one that lasts.

    Attributes
    ----------
    tokens
        Account and container of the tokens that were given, in order.
    keys
        The subscription keys that came with the requests for tokens.
    lifetime
        How long tokens last.
    """

    handler = _BlobHandler

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.tokens: list[tuple[str, str]] = []
        self.keys: list[str | None] = []
        self.lifetime = dt.timedelta(hours=1)
        self.token_faults: list[Fault] = []
        self._valid: dict[str, tuple[str, dt.datetime]] = {}
        self.fault = self._refusal

    def new_token(self, account: str, container: str) -> dict[str, str]:
        with self.lock:
            self.tokens.append((account, container))
            number = len(self.tokens)
        signature = planted(f"s1gn/{account}+{container}={number}")
        expiry = dt.datetime.now(dt.UTC) + self.lifetime
        self._valid[signature] = (f"{account}/{container}/", expiry)
        fields = {
            "st": "2024-01-01T00:00:00Z",
            "se": f"{expiry:%Y-%m-%dT%H:%M:%SZ}",
            "sp": "rl",
            "sv": "2021-06-08",
            "sr": "c",
        }
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in {**fields, "sig": signature}.items())
        return {"msft:expiry": f"{expiry:%Y-%m-%dT%H:%M:%S.%fZ}", "token": query}

    def signature(self, seen: Seen) -> str | None:
        """Return the signature of a request; None where it has none."""
        return parse_qs(urlsplit(seen.target).query).get("sig", [None])[0]

    def _refusal(self, seen: Seen) -> Fault | None:
        if seen.path.startswith(f"{TOKENS}/"):
            return None
        signature = self.signature(seen)
        if signature is None:
            return Fault(status=409, body=b"<?xml version='1.0'?><Error><Code>PublicAccessNotPermitted</Code></Error>")
        container, expiry = self._valid.get(signature, ("", dt.datetime.now(dt.UTC)))
        if not container or not seen.path.startswith(container) or expiry <= dt.datetime.now(dt.UTC):
            return Fault(status=403, body=b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>")
        return None
