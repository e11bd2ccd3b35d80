"""Where does a host lead: to this machine, to its link, or elsewhere?

Link-local addresses and the metadata services of clouds give credentials to any process that asks from inside. Services on
loopback trust their machine. A host is checked by every address that it stands for, in whatever spelling.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from polars_rasteret.fetch.failures import RefusedHrefError
from polars_rasteret.hrefs import shown
from polars_rasteret.patterns import pattern

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


class Reach(Enum):
    """The kind of place that an address leads to."""

    LINK = "a link-local address or a metadata service"
    LOOPBACK = "this machine"
    ELSEWHERE = "elsewhere"


_LINK = [ipaddress.ip_network(one) for one in ("169.254.0.0/16", "fe80::/10")]
_METADATA = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"))
)
"""Addresses of the metadata services of Alibaba, Oracle, Azure, AWS and Google."""
_LOOPBACK = [ipaddress.ip_network(one) for one in ("127.0.0.0/8", "0.0.0.0/8", "::1/128", "::/128")]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_NUMBER = pattern(r"0[xX][0-9a-fA-F]*|\d+")
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})
REMEMBERED_S = 60.0
"""How long the addresses of a name are remembered."""
_MOST_REMEMBERED = 10_000

_known: dict[str, tuple[float, frozenset[Reach]]] = {}
_lock = threading.Lock()


def reach_of(address: Address) -> Reach:
    """Return the kind of place that an address leads to; an IPv4 address inside an IPv6 one counts as itself."""
    for one in (address, *_inner(address)):
        if one in _METADATA or any(one in network for network in _LINK):
            return Reach.LINK
        if any(one in network for network in _LOOPBACK):
            return Reach.LOOPBACK
    return Reach.ELSEWHERE


def written_address(host: str) -> Address | None:
    """Return the address that a host spells out; None for a name.

    Spellings are dotted, short, decimal, octal or hexadecimal IPv4, and IPv6 in brackets.

    Examples
    --------
    >>> [str(written_address(host)) for host in ("127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]")]
    ['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1', '::1']
    >>> written_address("a.com")
    """
    host = _plain(host)
    if host.startswith("[") or ":" in host:
        try:
            return ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
        except ValueError:
            return None
    pieces = host.split(".")
    if len(pieces) > 4 or not all(_NUMBER.fullmatch(piece) for piece in pieces):
        return None
    try:
        *first, last = (_number(piece) for piece in pieces)
    except ValueError:
        return None
    if any(one > 255 for one in first) or last >= 256 ** (4 - len(first)):
        return None
    return ipaddress.IPv4Address(sum(one << (24 - 8 * at) for at, one in enumerate(first)) + last)


def reaches_of(host: str, *, is_looked_up: bool = True) -> frozenset[Reach]:
    """Return the kinds of places that a host leads to: an address by itself, a name by all its addresses.

    The result is empty where the name is not known. Answers of the name server are kept for a minute.
    """
    if (reach := _written_reach(host)) is not None:
        return frozenset({reach})
    if not is_looked_up:
        return frozenset()
    now = time.monotonic()
    known = _known.get(host)
    if known is None or known[0] < now:
        known = (now + REMEMBERED_S, _looked_up(_plain(host)))
        with _lock:
            if len(_known) >= _MOST_REMEMBERED:
                _known.clear()
            _known[host] = known
    return known[1]


@lru_cache(maxsize=4_096)
def _written_reach(host: str) -> Reach | None:
    """Return the kind of place of a host that needs no name server: an address, or a local name; None for other names."""
    if (address := written_address(host)) is not None:
        return reach_of(address)
    host = _plain(host)
    return Reach.LOOPBACK if host in _LOCAL_NAMES or host.endswith(".localhost") else None


def refuse_link(href: str, address: str) -> None:
    """Refuse a connection whose other end is link-local, whatever address its name had before.

    Raises
    ------
    RefusedHrefError
        When the other end is link-local; the message names the address.
    """
    peer = written_address(address)
    if peer is not None and reach_of(peer) is Reach.LINK:
        raise refusal(f"{shown(href)} (at {peer})", Reach.LINK)


def refusal(where: str, reach: Reach) -> RefusedHrefError:
    """Return the error for a place that is read only when the caller allows it."""
    next_step = (
        "name its prefix in pr.configure_store"
        if reach is Reach.LINK
        else "allow it with pr.options(allowed_hrefs=[...]), or name its prefix in pr.configure_store"
    )
    return RefusedHrefError(
        f"{where} leads to {reach.value}, where services trust whoever asks, so it is not read. If that is meant, {next_step}."
    )


def _looked_up(host: str) -> frozenset[Reach]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(reach_of(ipaddress.ip_address(str(one[4][0]).partition("%")[0])) for one in found)


def _plain(host: str) -> str:
    """Return a host as name servers read it: other forms of letters and digits become ASCII, and a last dot is dropped."""
    if not host.isascii():
        import unicodedata  # here, because few hosts need it

        host = unicodedata.normalize("NFKC", host).replace("\u3002", ".")
    return host.strip().lower().removesuffix(".")


def _number(piece: str) -> int:
    if piece[:2] in ("0x", "0X"):
        return int(piece[2:] or "0", 16)
    return int(piece, 8) if piece.startswith("0") else int(piece)


def _inner(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    if address.teredo is not None:
        inner += address.teredo
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner
