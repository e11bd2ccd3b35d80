"""Which words of a store, a server or a caller's code may be repeated?

Stores put bodies of answers, options and the texts of credential providers into their errors, and some servers repeat the
request. So none of their texts is quoted: only words that are known to be harmless are picked out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polars_rasteret.hrefs import shown_text
from polars_rasteret.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = pattern(r"status code:? (\d{3})")
_KNOWN = (
    (pattern(r"<Code>([A-Za-z]{1,40})</Code>"), "{}"),
    (
        pattern(r"External \w+ credential provider: (\w+)"),
        "its credential provider raised {}; call it by itself to see why",
    ),
    (pattern(r"Configuration key: '([A-Za-z0-9_]+)' is not valid"), "there is no option {}"),
    (pattern(r'failed to parse ".*" as (\w+)', re.DOTALL), "the value of an option is not a {}"),
    (pattern(r'" is not a valid ([a-z ]+)'), "the value of an option is not a valid {}"),
    (pattern(r"Generic \w+ error: (Missing [A-Za-z ]+)"), "{}"),
    (
        pattern(r"(dns error|IncompleteBody|InvalidCertificate|UnknownIssuer|CaUsedAsEndEntity|NotValidForName)"),
        "{}",
    ),
    (pattern(r'message: "([A-Z][A-Za-z ]{1,60})"'), "{}"),  # of the operating system
    (pattern(r"kind: (Timeout)"), "{}"),
    (pattern(r"(Operation not supported|not supported|Not Implemented)"), "{}"),
)
_RANGE = pattern(r"(?i)bytes [\d*]{1,20}(?:-\d{1,20})?(?:/[\d*]{1,20})?")


def store_words(error: BaseException) -> str:
    """Return words for an error of obstore, without quoting its text.

    Examples
    --------
    >>> store_words(OSError("status code: 403 Forbidden: <Error><Code>AccessDenied</Code><Key>secret</Key>"))
    '403 Forbidden, AccessDenied'
    """
    text = str(error)
    found = STATUS.search(text)
    words = [status_words(int(found[1]))] if found else []
    words += [form.format(known[1]) for pattern, form in _KNOWN if (known := pattern.search(text)) is not None]
    return ", ".join(words) or type(error).__name__


def reworded(error: BaseException, words: str) -> BaseException:
    """Return the exception with its words replaced, so that it can be the cause of one of our errors."""
    error.args = (words,)
    return error


def status_words(status: int) -> str:
    """Return an HTTP status with the phrase of the standard, whatever phrase the server sent."""
    from http import HTTPStatus  # here, because only errors need it

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def content_range_words(text: str | None) -> str:
    """Return the text of a Content-Range header if it has the form of one, else ``(none)``."""
    return text if text is not None and _RANGE.fullmatch(text) else "(none)"


def without_key(error: BaseException, *hrefs: str) -> BaseException | None:
    """Return an exception of a caller's code unchanged, if neither it nor its causes hold a key; else None."""
    return error if all(shown_text(text, *hrefs) == text for text in _texts(error)) else None


def _texts(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield from (str(one), repr(one))
            todo += [one.__cause__, one.__context__]
