"""Which pages of the site are files of the repository? A hook of MkDocs: each text has one place.

No text is written here. A page of `docs` that is named in `PAGES` holds a comment where the text of the file comes.
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
    "coming-from/rasteret.md": {"title": "rasteret", "hide": ["toc"]},
    "benchmarks.md": {"hide": ["navigation"]},
}
ENTRY = re.compile(
    r'<li class="doc-section-item field-body">\s*<b><code>(?P<name>\w+)</code></b>(?:(?!</li>).)*?'
    r'<div class="doc-md-description">(?P<described>(?:(?!</div>).)*)</div>\s*</li>',
    re.DOTALL,
)
TOGETHER = '<li class="doc-section-item field-body">{} &ndash; <div class="doc-md-description">{}</div></li>'
MARK = re.compile(r"^<!-- The text of .* -->$", re.MULTILINE)
HEADING = re.compile(r"^(?=#+ )", re.MULTILINE)
LINK = re.compile(r"(\]\()(?!https?://|#|mailto:)([^)#\s]+)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page with the text of the file that it stands for, its links leading within the site; other pages as they are."""
    of_page = page.file.src_uri
    if of_page not in PAGES:
        return markdown
    page.meta.update(ABOUT.get(of_page, {}))
    source = PAGES[of_page]
    text = LINK.sub(lambda found: found[1] + _target(found[2], source, of_page), (ROOT / source).read_text())
    if markdown.startswith("#"):  # the page has a title of its own
        text = HEADING.sub("#", text)
    return MARK.sub(lambda _: text, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Return a page on which parameters that a docstring describes together (``x, y, crs``) have one entry."""
    shown: list[str] = []
    names: list[str] = []
    end = 0
    described = None
    for entry in ENTRY.finditer(html):
        between = html[end : entry.start()]
        is_next = not between.strip() and entry["described"] == described
        names = [*names, entry["name"]] if is_next else [entry["name"]]
        if is_next:
            shown[-1] = TOGETHER.format(", ".join(f"<b><code>{name}</code></b>" for name in names), described)
        else:
            shown += [between, entry[0]]
        end, described = entry.end(), entry["described"]
    return "".join([*shown, html[end:]])


def _target(link: str, source: str, of_page: str) -> str:
    """Return the link from a page of the site for one of a file of the repository."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    pages = {file: name for name, file in PAGES.items()}
    inside = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return SOURCE + path if inside is None else posixpath.relpath(inside, posixpath.dirname(of_page) or ".")
