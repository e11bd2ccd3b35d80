"""Which table does a script print, and where is it kept?

``python benchmarks/save.py floor --links direct`` runs floor.py and keeps what it prints.

The output goes to ``kept/floor.json``, with its tables as rows, and takes its place in ``RESULTS.md``, between
``<!-- floor -->`` and ``<!-- /floor -->``. Words around these marks are written by people, and stay.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent
PAGE = HERE / "RESULTS.md"
KEPT = HERE / "kept"
_RULE = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")


def tables(text: str) -> list[list[dict[str, str]]]:
    """Return the tables of a text, each a list of rows: column to what the cell says.

    Examples
    --------
    >>> tables("| way | s |\\n|---|---:|\\n| ours | 1.5 |")
    [[{'way': 'ours', 's': '1.5'}]]
    """
    found: list[list[dict[str, str]]] = []
    names: list[str] | None = None
    lines = text.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if not line.startswith("|"):
            names = None
        elif names is None and _RULE.fullmatch(below.strip()):
            names = _cells(line)
            found.append([])
        elif names is not None and not _RULE.fullmatch(line.strip()):
            found[-1].append(dict(zip(names, _cells(line), strict=False)))
    return found


def with_section(page: str, name: str, text: str) -> str:
    """Return a page whose section `name` holds a text; a section that is not there yet comes last.

    Examples
    --------
    >>> print(with_section("# Results\\n\\n<!-- floor -->\\nold\\n<!-- /floor -->\\nWords.\\n", "floor", "new"))
    # Results
    <BLANKLINE>
    <!-- floor -->
    <BLANKLINE>
    new
    <BLANKLINE>
    <!-- /floor -->
    Words.
    <BLANKLINE>
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {name}\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    _, is_closed, after = rest.partition(end)
    if not is_closed:
        raise ValueError(f"RESULTS.md has {begin} and no {end}")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def keep(name: str, text: str, about: Mapping[str, Any]) -> None:
    """Keep the text of a section, and what is known of its run."""
    kept = {**about, "tables": tables(text), "text": text.strip()}
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(with_section(PAGE.read_text(), name, text))


def machine() -> dict[str, Any]:
    """Return where and with what results were measured; nothing that tells one machine from others of its kind."""
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("polars", "numpy", "obstore", "imagecodecs")},
    }


def _told(about: Mapping[str, Any]) -> str:
    return f"{about['date']}, {about['cores']} cores, load {about['load']} at the start."


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def main() -> int:
    """Run a script, show what it prints, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a script beside this one, without .py")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what it is called with")
    given = parser.parse_args()
    about = machine()
    script = [sys.executable, str(HERE / f"{given.name}.py"), *given.arguments]
    lines = []
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        return process.returncode
    called = " ".join(["python", f"benchmarks/{given.name}.py", *given.arguments])
    keep(given.name, f"`{called}`, {_told(about)}\n\n{''.join(lines)}", {"command": called, **about})
    return 0


if __name__ == "__main__":
    sys.exit(main())
