"""How does a line of a shell become a call, and what becomes of its errors?"""

from __future__ import annotations

import argparse
import contextvars
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

import polars_rasteret as pr
from polars_rasteret.command_line import collection_commands, dataset_commands, pixel_commands, quickstart
from polars_rasteret.errors import RasteretError, UsageError
from polars_rasteret.hrefs import shown_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORTEST_SECRET = 4
_secrets: contextvars.ContextVar[Sequence[str]] = contextvars.ContextVar("polars_rasteret_secrets", default=())
DONE, FAILED, WRONG_WORDS, INTERRUPTED = 0, 1, 2, 130
TRACEBACK = "POLARS_RASTERET_TRACEBACK"
"""Variable of the environment that lets a fault of this package end in a traceback."""
_NEGATIVE = re.compile(r"-\.?\d")
_ASSIGNED = re.compile(r"\b([\w.\-]+)=\S+")


class _Parser(argparse.ArgumentParser):
    """A parser whose messages hold no secret, and that does not guess at abbreviated options."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**{**words, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        # An option of a store that stands in the wrong place may hold a key.
        shown_message = _ASSIGNED.sub(r"\1=...", shown_text(message))
        self.exit(WRONG_WORDS, f"{self.prog}: error: {_without_secrets(shown_message)}\n")


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    result = _Parser(
        prog="polars-rasteret",
        description="Read pixels from cloud GeoTIFFs, and keep collections of them.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong words, 130 interrupted.",
    )
    result.add_argument("--version", action="version", version=f"polars-rasteret {pr.__version__}")
    commands = result.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (quickstart, pixel_commands, dataset_commands, collection_commands):
        group.add_to(commands)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code.

    Parameters
    ----------
    argv
        Words of the command line, without the name of the program; None: those of this process.

    Examples
    --------
    >>> main(["--version"])
    polars-rasteret ...
    0
    """
    words = pixel_commands.with_kind(_joined(sys.argv[1:] if argv is None else argv))
    _secrets.set(_secrets_in(words))
    try:
        args = parser().parse_args(words)
    except SystemExit as error:  # argparse has said what is wrong, or shown what was asked for
        return int(error.code or DONE)
    try:
        with warnings.catch_warnings(), pr.options(progress=_shows_progress(args)):
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning
            args.run(args)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader of the pipe has gone; what is left in the buffer would fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        return _failed(_in_words_of_shell(str(error), args), WRONG_WORDS)
    except (RasteretError, pl.exceptions.PolarsError, OSError, ImportError, MemoryError, ValueError) as error:
        return _failed(str(error).strip().partition("\n")[0] or type(error).__name__, FAILED)
    except (AttributeError, LookupError, RuntimeError, TypeError, AssertionError) as error:
        if os.environ.get(TRACEBACK):
            raise
        return _failed(f"a fault of polars-rasteret: {type(error).__name__}; {TRACEBACK}=1 shows where", FAILED)
    return DONE


def _failed(message: str, code: int) -> int:
    print(f"polars-rasteret: {_without_secrets(shown_text(message))}", file=sys.stderr)
    return code


def _in_words_of_shell(message: str, args: argparse.Namespace) -> str:
    """Return a message with ``crs=4326`` as ``--crs 4326``, for the options of the command."""
    for word in vars(args).keys() - {"run", "query_of", "suffixes", "into", "source", "output"}:
        option = f"--{word.replace('_', '-')}"
        message = re.sub(rf"\b{word}=(?=[\s,.;:)]|$)", option, message)
        message = re.sub(rf"\b{word}=", f"{option} ", message)
    # Tuples and texts of Python, as a shell takes them.
    message = re.sub(r"(--[\w-]+) \(([-\d., ]+)\)", lambda found: f"{found[1]} {found[2].replace(' ', '')}", message)
    return re.sub(r"(--[\w-]+) '([^' ]*)'", r"\1 \2", message)


def _without_secrets(message: str) -> str:
    for secret in _secrets.get():
        message = message.replace(secret, "...")
    return message


def _secrets_in(words: Sequence[str]) -> list[str]:
    """Return the texts of a line that no message may show: queries of URLs, their users, values of options of stores."""
    found: set[str] = set()
    for at, word in enumerate(words):
        scheme, _, rest = word.partition("://")
        query = rest.partition("?")[2]
        found |= {query, *(one.partition("=")[2] for one in query.split("&"))}
        user, host, _ = (
            rest.partition("/")[0].rpartition("@") if scheme.rpartition("=")[2] in ("http", "https") else ("",) * 3
        )
        found |= set(user.split(":")) if host else set()
        if any(one.startswith(("--storage-option", "--store")) for one in words[max(at - 2, 0) : at + 1]):
            found.add(word.rpartition("=")[2])
    return sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)


def _show_warning(message: Warning | str, category: type[Warning], *_where: Any, **_words: Any) -> None:
    del category
    print(f"polars-rasteret: warning: {_without_secrets(shown_text(str(message)))}", file=sys.stderr)


def _shows_progress(args: argparse.Namespace) -> bool:
    return bool(sys.stderr.isatty() if args.progress is None else args.progress)


def _joined(words: Sequence[str]) -> list[str]:
    """Return the words with values that begin with a minus joined to their options: ``--bbox -122,37,-121,38``."""
    result: list[str] = []
    for word in words:
        if result and result[-1].startswith("--") and "=" not in result[-1] and _NEGATIVE.match(word):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def shell() -> NoReturn:
    """Run the command of this process, and end it with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    shell()
