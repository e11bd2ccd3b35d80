"""How is the package of a checkout cut into modules: who imports whom, which imports run in circles, how long is each package?

Sources are read with `ast`, never imported, so that any commit can be asked. Imports in functions and under
``if TYPE_CHECKING:`` count. How modules call each other at run time is told by ``journeys.py``.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGE = "polars_rasteret"
PAIRING_WORDS = ("match", "at", "tolerance", "valid", "unmatched")
"""Arguments that say which records answer a row."""
PUBLIC_FACES = "namespaces"
"""The package whose signatures users see: a default must stand there."""


@dataclass(frozen=True, slots=True)
class Default:
    """One place where a module outside the public faces writes a default of a pairing word."""

    module: str
    line: int
    word: str


class Structure:
    """Modules of the package below `checkout`; names are relative to the package, a package is its ``__init__``."""

    def __init__(self, checkout: Path) -> None:
        self.root = checkout / PACKAGE
        if not self.root.is_dir():
            raise SystemExit(f"{checkout} has no folder {PACKAGE}; give the path of a checkout of this repository")

    @cached_property
    def sources(self) -> dict[str, str]:
        return {module_name(path, self.root): path.read_text("utf-8") for path in sorted(self.root.rglob("*.py"))}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Modules of ours that each module imports."""
        return {name: self._imported(name, ast.parse(source)) for name, source in self.sources.items()}

    def _imported(self, module: str, tree: ast.Module) -> set[str]:
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
                targets = [ast.literal_eval(node.args[0])] if isinstance(node.args[0], ast.Constant) else []
            else:
                continue
            found |= {self._module_of(target) for target in targets if f"{target}.".startswith(f"{PACKAGE}.")}
        return found - {module}

    def _module_of(self, target: str) -> str:
        words = target.split(".")[1:]
        while words and ".".join(words) not in self.sources:
            words.pop()
        return ".".join(words) or "__init__"

    @cached_property
    def circles(self) -> list[set[str]]:
        """Sets of modules that import each other, directly or through others of the set."""
        reached = {name: self._reachable(name) for name in self.imports}
        found: list[set[str]] = []
        for name in self.imports:
            if name in reached[name] and not any(name in circle for circle in found):
                found.append({other for other in reached[name] if name in reached[other]})
        return found

    def _reachable(self, name: str) -> set[str]:
        found: set[str] = set()
        open_ = [name]
        while open_:
            new = self.imports[open_.pop()] - found
            found |= new
            open_ += new
        return found

    @cached_property
    def lines_by_package(self) -> dict[str, int]:
        lines: dict[str, int] = {}
        for name, source in self.sources.items():
            package = name.split(".")[0] if (self.root / name.split(".")[0]).is_dir() else "(modules at the top)"
            lines[package] = lines.get(package, 0) + len(source.splitlines())
        return lines

    @cached_property
    def pairing_defaults(self) -> list[Default]:
        """Defaults of `PAIRING_WORDS` in functions and classes outside the public faces."""
        found = []
        for name, source in self.sources.items():
            if name.split(".")[0] == PUBLIC_FACES:
                continue
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.FunctionDef):
                    arguments = node.args
                    plain = [*arguments.posonlyargs, *arguments.args]
                    pairs = list(zip(plain[::-1], arguments.defaults[::-1], strict=False))
                    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
                    words = [argument.arg for argument, default in pairs if default is not None]
                elif isinstance(node, ast.ClassDef):
                    words = [
                        one.target.id
                        for one in node.body
                        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None
                    ]
                else:
                    continue
                found += [Default(name, node.lineno, word) for word in words if word in PAIRING_WORDS]
        return found


def module_name(path: Path, root: Path) -> str:
    words = path.relative_to(root).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" and len(words) > 1 else words)
