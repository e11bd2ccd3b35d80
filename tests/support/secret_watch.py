"""What did the package log, warn of, raise and write while tests ran, and does a planted secret stand in any of it?"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from polars_rasteret.errors import RasteretError
from tests.support.planted_secrets import are_planted, secrets_in, secrets_in_file

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

SUFFIXES = (".parquet", ".pkl", ".log")


class _Collector(logging.Handler):
    """A handler that keeps each distinct message."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += logging.Formatter().formatException(record.exc_info)
        self._texts.setdefault(text, f"the log of {record.name}")


class Watch:
    """Keep every distinct text that leaves the package inside the ``with`` block."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """Text, to where it was first seen."""

    def __enter__(self) -> Self:
        texts = self.texts
        self._init, self._warn, self._handler = RasteretError.__init__, warnings.warn, _Collector(texts)
        self._level = logging.getLogger("httpx").level
        init, warn = self._init, self._warn

        def watched_init(error: RasteretError, *args: Any, **words: Any) -> None:
            texts.setdefault(repr(args), f"a {type(error).__name__}")
            init(error, *args, **words)

        def watched_warn(message: Any, category: Any = None, stacklevel: int = 1, *args: Any, **words: Any) -> None:
            texts.setdefault(str(message), "a warning")
            warn(message, category, stacklevel + 1, *args, **words)

        RasteretError.__init__ = watched_init
        warnings.warn = watched_warn
        logging.getLogger().addHandler(self._handler)
        logging.getLogger("httpx").setLevel(logging.INFO)
        return self

    def __exit__(self, *_error: object) -> None:
        RasteretError.__init__ = self._init
        warnings.warn = self._warn
        logging.getLogger().removeHandler(self._handler)
        logging.getLogger("httpx").setLevel(self._level)

    def found_below(self, folder: Path) -> list[str]:
        """Give where a planted secret was found: among the texts, and in the files below a folder."""
        if not are_planted():
            return []
        found = []
        if secrets_in("\0".join(self.texts)):
            found += [f"{where}: {one}" for text, where in self.texts.items() for one in secrets_in(text)]
        for path in sorted(folder.rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                found += [f"{path}: {one}" for one in secrets_in_file(path)]
        return found
