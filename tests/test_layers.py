"""Do the imports of the package run one way, and does each module keep to its place?

The package is read with `ast`, never imported. The order is written once, in `RANK`; an exception is an entry with a
reason in `CLOCKS_AND_THREADS_ALLOWED`.
"""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "polars_rasteret"

RANK = {
    "errors": 0,
    "hrefs": 0,
    "schema": 0,
    "options": 0,
    "profile": 0,
    "proj_thread": 0,
    "arguments": 0,
    "bundles": 0,
    "patterns": 0,
    "module_loading": 0,
    "display": 0,
    "geo": 1,
    "tiff": 1,
    "plan": 2,
    "fetch": 2,
    "assemble": 2,
    "engine": 3,
    "grids": 4,
    "pixels": 5,
    "pairing": 6,
    "cubes": 7,
    "frame": 7,
    "rasteret_format": 7,
    "collection": 8,
    "catalog": 8,
    "ingest": 9,
    "stac": 9,
    "chips": 10,
    "distribute": 10,
    "export": 10,
    "handles": 10,
    "pictures": 10,
    "xarray_datasets": 10,
    "namespaces": 11,
    "testing": 11,  # as something to import; what it may import itself is TESTING_MAY_IMPORT
    "__init__": 12,
    "command_line": 13,
}
"""Part of the package to its layer. An import may go to a lower layer or stay in its own."""

STRANGERS = {
    "plan": {"fetch", "assemble"},
    "fetch": {"plan", "assemble", "tiff"},
    "assemble": {"plan", "fetch"},
    "cubes": {"frame"},
}
"""Parts whose layers would allow an import, but which must not know each other."""

TESTING_MAY_IMPORT = {part for part, rank in RANK.items() if rank < RANK["namespaces"]}
WITHOUT_POLARS = {"geo", "tiff", "plan", "fetch", "assemble", "engine"}
FREE_IN_TYPE_CHECKING = {"errors", "schema"}

CLOCKS_AND_THREADS = {"_thread", "asyncio", "concurrent", "multiprocessing", "queue", "sched", "threading", "time"}
CLOCKS_AND_THREADS_ALLOWED = {
    "fetch": "the only effects: transport, scheduler, cache",
    "engine": "one decode pool",
    "geo.coverage.kept_weights": "threads of Polars share the weights of zones",
    "cubes.kept_blocks": "blocks of one cube are read on many threads, and share what is kept",
    "profile": "counts and times what every thread reports",
    "collection.storage.parts": "a store answers each footer after a round trip, so footers are read side by side",
    "chips.parallel_blocks": "samples of TorchGeo have a grid each, and are read at the same time",
    "options": "process-wide options are set under a lock",
    "module_loading": "one switch of the process, which several threads may turn",
    "proj_thread": "PROJ runs on one thread of its own",
    "xarray_datasets.lazy_arrays": "the async twin of a read, so that an event loop is not blocked",
    "handles": "the async twins of reads run on a pool of threads, so that an event loop is not blocked",
    "distribute": "worker processes, their pipes, and how long a part takes",
    "testing": "fakes that count under a lock and answer late on purpose",
}
"""Part, or dotted module below the package, to the reason why it may import a clock or a thread."""

NARROW_PARTS = {"grids", "pixels", "pairing", "frame"}
"""Parts whose modules import at most `MAX_OWN_IMPORTS` modules of the package."""
LIKE_STANDARD_LIBRARY = {"bundles", "patterns"}
"""Modules that stand for `dataclasses` and `re`, and count as little."""
MAX_OWN_IMPORTS = 10
STILL_WIDE: dict[str, int] = {}
"""Modules that import more, and how many. The list may only shrink."""

FORBIDDEN_WORDS = {"utils", "helpers", "core", "common", "base", "manager"}
MAX_LINES = 400
MAX_FIRST_LINE = 130
"""Characters of the first line of a docstring, without its indentation."""

VAGUE_FIRST_WORDS = {"Give", "Gives", "Say", "Says", "Tell", "Tells", "Take", "Takes", "Let", "Lets"}
"""A docstring begins with what is returned or done ("Return the tiles ..."), or with a noun that names its thing."""
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file of the package; `name` is dotted and relative to the package (`fetch.sources`)."""

    name: str
    source: str

    @property
    def part(self) -> str:
        return self.name.split(".")[0]

    @property
    def is_known_part(self) -> bool:
        return self.part in RANK

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, filename=self.name, feature_version=OLDEST_PYTHON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One imported name; `target` is dotted and absolute."""

    target: str
    line: int
    type_checking: bool = False
    relative: bool = False

    @property
    def root(self) -> str:
        return self.target.split(".")[0]

    @property
    def part(self) -> str | None:
        """Part of our package, ``__init__`` for a public name of it, None for a foreign import."""
        if self.root != PACKAGE:
            return None
        words = self.target.split(".")
        return words[1] if len(words) > 1 and words[1] in RANK else "__init__"


class _Collector(ast.NodeVisitor):
    """Collects imports on every level: module, function, `if TYPE_CHECKING:` and `import_module("...")`."""

    def __init__(self) -> None:
        self.found: list[Import] = []
        self._type_checking = False

    def _add(self, target: str, line: int, *, relative: bool = False) -> None:
        self.found.append(Import(target=target, line=line, type_checking=self._type_checking, relative=relative))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._add(f"{node.module or ''}.{alias.name}", node.lineno, relative=node.level > 0)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
            self._add(str(node.args[0].value), node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        before = self._type_checking
        self._type_checking = before or ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for child in node.body:
            self.visit(child)
        self._type_checking = before
        for child in node.orelse:
            self.visit(child)


def imports(module: Module) -> list[Import]:
    collector = _Collector()
    collector.visit(module.tree)
    return collector.found


def arrow_violations(module: Module) -> list[str]:
    """Name every import of `module` that leaves its layer upwards, or that knows a stranger."""
    if not module.is_known_part:
        return [f"{module.name}: '{module.part}' has no layer; add it to RANK"]
    found = []
    for one in imports(module):
        where = f"{module.name}:{one.line}"
        if one.relative:
            found.append(f"{where}: relative import of {one.target}")
        if one.part is None or (one.type_checking and one.part in FREE_IN_TYPE_CHECKING):
            continue
        if module.part == "testing":
            allowed = one.part in TESTING_MAY_IMPORT | {"testing"}
        else:
            allowed = RANK[one.part] <= RANK[module.part] and one.part not in STRANGERS.get(module.part, set())
        if not allowed:
            found.append(f"{where}: {module.part} must not know {one.part} ({one.target})")
    return found


def polars_violations(module: Module) -> list[str]:
    """Name every import of Polars in a part that runs on engine threads or on arrays alone."""
    return [
        f"{module.name}:{one.line}: {module.part} works on NumPy columns only ({one.target})"
        for one in imports(module)
        if module.part in WITHOUT_POLARS and one.root == "polars"
    ]


def clock_violations(module: Module) -> list[str]:
    """Name every import of a thread or a clock outside the parts that own them."""
    if {module.part, module.name} & CLOCKS_AND_THREADS_ALLOWED.keys():
        return []
    return [
        f"{module.name}:{one.line}: {one.target} belongs under fetch/ or in engine.py"
        for one in imports(module)
        if one.root in CLOCKS_AND_THREADS
    ]


def shape_violations(module: Module) -> list[str]:
    """Name what is wrong with a module's name, docstring and length."""
    found = []
    for word in module.name.replace(".", "_").split("_"):
        if word in FORBIDDEN_WORDS:
            found.append(f"{module.name}: '{word}' says nothing about the one question the module answers")
    docstring = (ast.get_docstring(module.tree) or "").strip()
    if not docstring:
        found.append(f"{module.name}: no module docstring")
    elif module.name != "__init__" and "?" not in docstring.split("\n\n")[0]:
        found.append(f"{module.name}: the module docstring does not begin with the one question the module answers")
    n_lines = len(module.source.splitlines())
    if n_lines > MAX_LINES:
        found.append(f"{module.name}: {n_lines} lines, more than {MAX_LINES}; look for the second question")
    return found


def first_lines(module: Module) -> list[tuple[int, str]]:
    """Return line number and first docstring line of the module, its classes, functions and attributes."""
    found = []
    for node in ast.walk(module.tree):
        for child in ast.iter_child_nodes(node):
            is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if is_text and isinstance(child.value.value, str) and child.value.value.strip():
                found.append((child.lineno, child.value.value.strip().splitlines()[0]))
    return found


def vague_docstrings(module: Module) -> list[str]:
    """Name every docstring of `module` that begins with a vague word."""
    return [
        f"{module.name}:{line}: {text!r} begins with a vague word; begin with 'Return ...', or with what is done"
        for line, text in first_lines(module)
        if text.split()[0] in VAGUE_FIRST_WORDS
    ]


def long_first_lines(module: Module) -> list[str]:
    """Name every docstring of `module` whose first line is too long."""
    return [
        f"{module.name}:{line}: the first line has {len(text)} characters, more than {MAX_FIRST_LINE}; write two sentences"
        for line, text in first_lines(module)
        if len(text) > MAX_FIRST_LINE
    ]


def package_modules() -> list[Module]:
    modules = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        words = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        name = ".".join(words[:-1] if words[-1] == "__init__" and len(words) > 1 else words)
        modules.append(Module(name=name, source=path.read_text(encoding="utf-8")))
    return modules


@pytest.mark.parametrize(
    "violations",
    [
        pytest.param(arrow_violations, id="imports point one way"),
        pytest.param(polars_violations, id="no Polars on engine threads"),
        pytest.param(clock_violations, id="threads and clocks live under fetch"),
        pytest.param(shape_violations, id="a module has a telling name, a docstring and at most 400 lines"),
        pytest.param(vague_docstrings, id="a docstring begins with what is returned or done"),
        pytest.param(long_first_lines, id="the first line of a docstring is short"),
    ],
)
def test_every_module_keeps_to_its_place(violations):
    modules = package_modules()
    assert modules, f"no modules under {ROOT / PACKAGE}"
    assert [line for module in modules for line in violations(module)] == []


def own_imports(modules: list[Module]) -> dict[str, set[str]]:
    """Return the modules of the package that each module imports, imports for types included."""
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        graph[module.name] = set()
        for one in imports(module):
            words = one.target.split(".")[1:] if one.root == PACKAGE else []
            # The longest part of a target that is a module: the rest is a name in it.
            known = (".".join(words[:n]) for n in range(len(words), 0, -1))
            if one.root == PACKAGE:
                graph[module.name].add(next((name for name in known if name in names), "__init__"))
        graph[module.name].discard(module.name)
    return graph


def circles(graph: dict[str, set[str]]) -> set[str]:
    """Return the modules that import each other, directly or around, and modules between them."""
    left = {name: targets & graph.keys() for name, targets in graph.items()}
    while True:
        imported = set().union(*left.values()) if left else set()
        # A module that imports none of the others, or that none imports, is in no circle.
        outer = {name for name, targets in left.items() if not targets or name not in imported}
        if not outer:
            return set(left)
        left = {name: targets - outer for name, targets in left.items() if name not in outer}


def width_violations(graph: dict[str, set[str]], still_wide: dict[str, int]) -> list[str]:
    """Name the modules that import too many others, and entries of the list that are no longer needed."""
    found = []
    graph = {name: targets - LIKE_STANDARD_LIBRARY for name, targets in graph.items()}
    for name, targets in graph.items():
        allowed = still_wide.get(name, MAX_OWN_IMPORTS)
        if name.split(".")[0] in NARROW_PARTS and len(targets) > allowed:
            found.append(f"{name}: imports {len(targets)} modules of the package, more than {allowed}")
    for name in still_wide:
        if len(graph.get(name, ())) <= MAX_OWN_IMPORTS:
            found.append(f"{name}: imports no more than {MAX_OWN_IMPORTS}; take it out of STILL_WIDE")
    return found


def test_no_modules_import_each_other_not_even_for_types():
    assert circles(own_imports(package_modules())) == set()


def test_no_module_between_engine_and_faces_imports_many_others():
    assert width_violations(own_imports(package_modules()), STILL_WIDE) == []


def test_no_two_modules_of_a_layer_have_one_name():
    by_name: dict[tuple[int, str], list[str]] = {}
    for module in package_modules():
        if module.name.count("."):
            by_name.setdefault((RANK[module.part], module.name.rsplit(".", 1)[-1]), []).append(module.name)
    assert [names for names in by_name.values() if len(names) > 1 and not _are_faces(names)] == []


def _are_faces(names: list[str]) -> bool:
    """Return whether modules of one name are a verb and an expression of one product."""
    return {tuple(name.split(".")[:2]) for name in names} <= {
        ("frame", "verbs"),
        ("frame", "expressions"),
        ("frame", "columns"),
    }


def test_every_exception_for_clocks_and_threads_names_a_module_that_exists():
    written = {module.name for module in package_modules()}
    parts = RANK.keys()
    assert [name for name in CLOCKS_AND_THREADS_ALLOWED if name not in written and name not in parts] == []


def _module(name: str, source: str) -> Module:
    return Module(name=name, source=textwrap.dedent(source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        pytest.param("tiff.header", "from polars_rasteret.plan.tiles import x", id="tiff to plan"),
        pytest.param("plan.tiles", "import polars_rasteret.fetch.sources.byte_source", id="plan to fetch"),
        pytest.param("fetch.sources", "from polars_rasteret.tiff import codec", id="fetch to tiff"),
        pytest.param("assemble.points", "from polars_rasteret import plan", id="a part named in the import"),
        pytest.param("engine", "from polars_rasteret.frame import verbs", id="engine to frame"),
        pytest.param("frame.verbs", "def f():\n    from polars_rasteret.collection import scan", id="in a function"),
        pytest.param("geo.crs", "import importlib\nimportlib.import_module('polars_rasteret.engine')", id="by name"),
        pytest.param("schema", "if TYPE_CHECKING:\n    from polars_rasteret.frame import verbs", id="type checking"),
        pytest.param("plan.tiles", "if x:\n    pass\nelse:\n    import polars_rasteret.engine", id="in an else"),
        pytest.param("handles", "from polars_rasteret.namespaces import x", id="handles to namespaces"),
        pytest.param("export.torch", "import polars_rasteret as pr", id="the package itself"),
        pytest.param("export.torch", "from polars_rasteret import scan_collection", id="a public name"),
        pytest.param("frame.verbs", "from polars_rasteret.testing import make_cog", id="fakes in the package"),
        pytest.param("testing", "from polars_rasteret.namespaces import verbs", id="testing to namespaces"),
        pytest.param("plan.tiles", "from . import windows", id="relative"),
        pytest.param("stuff", "import numpy", id="a part without a layer"),
    ],
)
def test_the_arrow_check_fails_on(name, source):
    assert arrow_violations(_module(name, source))


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("engine", "from polars_rasteret.fetch import scheduler\nfrom polars_rasteret.tiff.codecs.tile_codec import x"),
        ("plan.tiles", "from polars_rasteret.geo.affine import x\nfrom polars_rasteret.plan import windows"),
        ("frame.verbs", "from polars_rasteret import engine, schema"),
        ("profile", "if TYPE_CHECKING:\n    from polars_rasteret.errors import UsageError"),
        (
            "testing",
            "from polars_rasteret.tiff.tags import x\nfrom polars_rasteret.fetch.sources.byte_source import y",
        ),
        ("__init__", "from polars_rasteret import namespaces, testing"),
        ("fetch.sources", "import httpx, polars_rasteret_tools"),
    ],
)
def test_the_arrow_check_passes(name, source):
    assert arrow_violations(_module(name, source)) == []


@pytest.mark.parametrize("source", ["import polars as pl", "from polars.io import x", "def f():\n    import polars"])
@pytest.mark.parametrize(
    "name", ["engine", "plan.tiles", "fetch.cache", "assemble.zonal", "geo.crs", "tiff.codecs.tile_codec"]
)
def test_the_polars_check_fails_in(name, source):
    assert polars_violations(_module(name, source))
    assert polars_violations(_module("frame.verbs", source)) == []


@pytest.mark.parametrize("source", ["import threading", "from time import monotonic", "import concurrent.futures"])
def test_the_clock_check_fails_on(source):
    assert clock_violations(_module("plan.tiles", source))
    assert clock_violations(_module("frame.verbs", source))
    assert clock_violations(_module("fetch.scheduler", source)) == []


def test_the_shape_check_fails_on_a_vague_name_a_missing_docstring_and_a_long_module():
    good = '"""What does this answer?"""\n'
    assert shape_violations(_module("plan.tiles", good)) == []
    assert shape_violations(_module("plan.tile_helpers", good))
    assert shape_violations(_module("frame.base", good))
    assert shape_violations(_module("plan.tiles", "x = 1\n"))
    assert shape_violations(_module("plan.tiles", '"""Tiles of windows."""\n'))
    assert shape_violations(_module("plan.tiles", good + "x = 1\n" * MAX_LINES))


def test_the_circle_check_finds_circles_through_types_packages_and_other_modules():
    typed = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from polars_rasteret.pixels.reading import BandRows"
    )
    modules = [
        _module("grids.windows", typed),
        _module("pixels.reading", "from polars_rasteret.pixels import column"),
        _module("pixels.column", "import polars_rasteret.grids.windows"),
        _module("pixels", ""),
        _module("errors", "import math"),
        _module("frame.verbs", "from polars_rasteret.pixels.column import x"),
    ]
    assert circles(own_imports(modules)) == {"grids.windows", "pixels.reading", "pixels.column"}
    assert circles(own_imports(modules[1:])) == set()


def test_the_width_check_fails_on_a_wide_module_and_on_a_needless_exception():
    graph = {
        "pixels.wide": {str(at) for at in range(11)},
        "pixels.narrow": {"a"},
        "engine.wide": {*map(str, range(20))},
    }
    assert [line.split(":")[0] for line in width_violations(graph, {})] == ["pixels.wide"]
    assert width_violations(graph, {"pixels.wide": 11}) == []
    assert width_violations(graph, {"pixels.wide": 12, "pixels.narrow": 12, "pixels.gone": 12})


def test_the_docstring_checks_fail_on_a_vague_word_and_a_long_first_line():
    assert vague_docstrings(_module("plan.tiles", 'def f():\n    """Return the tiles."""')) == []
    assert vague_docstrings(_module("plan.tiles", 'def f():\n    """Give the tiles."""'))
    assert vague_docstrings(_module("plan.tiles", 'class A:\n    x: int\n    """Says how many."""'))
    assert long_first_lines(_module("plan.tiles", f'"""{"x" * MAX_FIRST_LINE}"""')) == []
    assert long_first_lines(_module("plan.tiles", f'"""{"x" * (MAX_FIRST_LINE + 1)}"""'))
