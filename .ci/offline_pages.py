"""Do the built pages ask any other host for a script, a style, a font or a picture? Prints what they ask for, and fails.

``python .ci/offline_pages.py SITE`` reads the folder that ``mkdocs build`` made. Links that a reader follows may lead anywhere.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADED = {
    "script": "src",
    "img": "src",
    "source": "srcset",
    "iframe": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
}
LOADED_LINKS = {"stylesheet", "icon", "preload", "preconnect", "modulepreload", "manifest"}
IN_STYLES = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")


class Loads(HTMLParser):
    """Addresses that a browser loads by itself with a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address of a tag that loads something."""
        given = dict(attrs)
        address = given.get(LOADED.get(tag, ""))
        if tag == "link" and LOADED_LINKS & set((given.get("rel") or "").split()):
            address = given.get("href")
        if address and re.match(r"(https?:)?//", address):
            self.found.append(address)


def main() -> int:
    """Print each page or style with what it loads from elsewhere, and return how many there are."""
    n_found = 0
    for path in sorted(Path(sys.argv[1]).rglob("*")):
        if path.suffix == ".html":
            loads = Loads()
            loads.feed(path.read_text())
            found = loads.found
        elif path.suffix in {".css", ".svg"}:
            found = IN_STYLES.findall(path.read_text())
        else:
            continue
        n_found += len(found)
        for one in found:
            print(f"{path} loads {one}")
    return min(n_found, 1)


if __name__ == "__main__":
    sys.exit(main())
