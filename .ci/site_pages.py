"""Which pages of the site are files of the repository? A hook of MkDocs: each text has one place.

No text is written here. A page of `docs` that is named in `PAGES` holds a comment alone; its text is that of the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "https://github.com/polars-rasteret/polars-rasteret/blob/main/"
PAGES = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
    "changelog.md": "CHANGELOG.md",
    "coming-from/rasteret.md": "examples/from_rasteret.md",
}
ABOUT: dict[str, dict[str, Any]] = {
    "index.md": {"hide": ["navigation"]},
    "coming-from/rasteret.md": {"title": "rasteret"},
}
LINK = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)#\s]+)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the text of the file that a page stands for, with links that lead within the site; other pages as they are."""
    of_page = page.file.src_uri
    if of_page not in PAGES:
        return markdown
    source = PAGES[of_page]
    page.meta.update(ABOUT.get(of_page, {}))
    return LINK.sub(lambda found: found[1] + _target(found[2], source, of_page), (ROOT / source).read_text())


def _target(link: str, source: str, of_page: str) -> str:
    """Return the link from a page of the site for one of a file of the repository."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    pages = {file: name for name, file in PAGES.items()}
    inside = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return SOURCE + path if inside is None else posixpath.relpath(inside, posixpath.dirname(of_page) or ".")
