"""Which blocks of code do README and the pages of the site have?"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INCLUDED = re.compile(r'^( *)--8<-- "(.+)"$', re.MULTILINE)
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    """Give the text of a page with the files that it includes."""
    return INCLUDED.sub(lambda one: textwrap.indent((ROOT / one[2]).read_text().rstrip("\n"), one[1]), page.read_text())


def snippets(page: Path) -> list[tuple[str, str | None]]:
    """Give each Python block with the text block that follows it directly."""
    blocks = [(language, textwrap.dedent(code)) for _, language, code in BLOCK.findall(text_of(page))]
    pairs = []
    for at, (language, code) in enumerate(blocks):
        if language == "python":
            following = blocks[at + 1] if at + 1 < len(blocks) else ("", "")
            pairs.append((code, following[1] if following[0] == "text" else None))
    return pairs
