"""Print the table of modules for ARCHITECTURE.md, from the first sentences of their docstrings; ``--write`` puts it there."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "polars_rasteret"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- modules: begin -->\n", "<!-- modules: end -->\n"


def questions() -> dict[str, str]:
    """Return the first sentence of every module's docstring, by its name below the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        words = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(words[:-1] if words[-1] == "__init__" and len(words) > 1 else words)
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        first_line = docstring.partition("\n")[0]
        sentence = re.match(r".*?[?.](?=\s|$)", first_line)
        found[name] = sentence[0] if sentence else first_line
    return found


def table() -> str:
    """Return the Markdown table, a package before its modules."""
    names = questions()
    lines = ["| Module | Question |", "|---|---|"]
    for name in sorted(names):
        if name != "__init__" and "." not in name:
            lines += [f"| **`{name}`** | {names[name]} |"]
            lines += [f"| `{other}` | {names[other]} |" for other in sorted(names) if other.startswith(f"{name}.")]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return the text of ARCHITECTURE.md with the table of today."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        ARCHITECTURE.write_text(with_table(ARCHITECTURE.read_text("utf-8")), "utf-8")
    else:
        print(table(), end="")
