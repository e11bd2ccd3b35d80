"""What may the log of the HTTP client say of the requests that are made here?

httpx logs the whole URL of each request at level INFO, with the signature in its query. httpcore logs headers at level DEBUG,
with the place of a redirect and whatever a server repeats. The caller's own requests are logged as ever.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polars_rasteret.hrefs import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

_ours = threading.local()
_PARTS_OF_HTTPCORE = ("connection", "http11", "http2", "proxy", "socks")


@contextmanager
def without_keys_in_logs() -> Iterator[None]:
    """Keep keys out of what the client logs on this thread inside the block."""
    _ours.depth = getattr(_ours, "depth", 0) + 1
    try:
        yield
    finally:
        _ours.depth -= 1


def _masked(record: logging.LogRecord) -> bool:
    if getattr(_ours, "depth", 0):
        # Method, URL, version, status, and the phrase that the server chose.
        args = record.args if isinstance(record.args, tuple) else ()
        record.args = tuple(one if isinstance(one, int) else shown(str(one)) for one in args[:4]) + ("",) * len(
            args[4:]
        )
    return True


def _not_ours(_record: logging.LogRecord) -> bool:
    return not getattr(_ours, "depth", 0)


logging.getLogger("httpx").addFilter(_masked)
for _name in _PARTS_OF_HTTPCORE:
    logging.getLogger(f"httpcore.{_name}").addFilter(_not_ours)
