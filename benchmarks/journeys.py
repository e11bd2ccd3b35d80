"""Through how many modules does a query pass, and how often does one module call another?

Each journey runs in a process of its own, with the package of the checkout that is asked about. All modules are imported
before, so only what functions do is counted:

modules
    Modules of the package of which at least one function runs.
calls
    Distinct pairs of functions, caller and callee in different modules. A caller is the nearest function of ours below
    the callee on the stack, so a call that comes through Polars, the standard library or a context manager has one, too.
    Threads race, so the number changes by two or three from run to run.

    python benchmarks/journeys.py                          # this checkout
    python benchmarks/journeys.py ../other --against ../before
    python benchmarks/journeys.py --list points            # every call of one journey

What can be counted without running anything is counted by ``structure.py`` and stands in the same table.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from against import described
from structure import PACKAGE, PAIRING_WORDS, Structure, module_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

JOURNEYS = {
    "points": "`sample_points(...).filter(...).collect()`",
    "windows": "`read_windows(match=, valid=, shape=)`",
    "expression": "`pl.col(band).raster.read_window(...)`",
    "build": "`build_from_files(into=)`, and again with one file more",
}
MANY_IMPORTS = 10
ABOVE_ENGINE = ("grids", "pixels", "pairing", "frame")
"""Packages between the engine and the public faces."""
FAKES = ("testing", "tiff.cog_writer")
"""What stands in for files is no part of a journey."""
_CO_OPTIMIZED = 1
"""Flag of code of functions; bodies of modules and classes have it not."""


class Recorder:
    """Profile function that notes which functions of the package run, and which call which across modules."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_recording = False
        self._names: dict[CodeType, tuple[str, str] | None] = {}
        self.functions: set[tuple[str, str]] = set()
        self.calls: set[tuple[tuple[str, str], tuple[str, str]]] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or (callee := self._name(frame.f_code)) is None:
            return
        self.functions.add(callee)
        above = frame.f_back
        while above is not None:
            if (caller := self._name(above.f_code)) is not None:
                if caller[0] != callee[0]:
                    self.calls.add((caller, callee))
                return
            above = above.f_back

    def _name(self, code: CodeType) -> tuple[str, str] | None:
        if code not in self._names:
            path = Path(code.co_filename)
            is_ours = path.is_relative_to(self._root) and code.co_flags & _CO_OPTIMIZED
            name = module_name(path, self._root) if is_ours else ""
            is_fake = name.startswith(FAKES)
            self._names[code] = (name, code.co_qualname) if is_ours and not is_fake else None
        return self._names[code]

    def everywhere(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, recorded also on threads of Polars, for which no profile function can be set beforehand."""

        def recorded(*args: Any, **kwargs: Any) -> Any:
            self.here()
            answer = function(*args, **kwargs)
            return self._frames(answer) if hasattr(answer, "__next__") else answer

        return recorded

    def _frames(self, frames: Iterator[Any]) -> Iterator[Any]:
        while True:
            self.here()
            try:
                frame = next(frames)
            except StopIteration:
                return
            yield frame

    def here(self) -> None:
        if self._is_recording and sys.getprofile() is not self:
            sys.setprofile(self)

    @contextmanager
    def recording(self) -> Iterator[None]:
        self._is_recording = True
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
            self._is_recording = False


def record_callbacks_of_polars(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have Polars call everything that the package gives to it through `wrap`; to be called before the package is imported."""
    import polars as pl
    from polars.io import plugins

    register, map_batches, map_one = plugins.register_io_source, pl.map_batches, pl.Expr.map_batches

    def registered(io_source: Any, **kwargs: Any) -> Any:
        return register(wrap(io_source), **kwargs)

    def mapped(exprs: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        return map_batches(exprs, wrap(function), *args, **kwargs)

    def mapped_one(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        return map_one(self, wrap(function), *args, **kwargs)

    plugins.register_io_source, pl.map_batches, pl.Expr.map_batches = registered, mapped, mapped_one  # type: ignore[assignment]


def prepare(folder: Path) -> None:
    """Write three small files of two bands, a mask band among them, and a collection of the first two."""
    import numpy as np
    import polars as pl

    import polars_rasteret as pr

    red = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    for at, name in enumerate(("first", "second", "third")):
        bands = np.stack([red + 1000 * (at + 1), red % 4])
        (folder / f"{name}.tif").write_bytes(pr.testing.make_cog(bands, nodata=0, n_overviews=1))
    table = pl.DataFrame(
        {
            "id": ["first", "second"],
            "image": [str(folder / "first.tif"), str(folder / "second.tif")],
            "datetime": ["2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z"],
            "eo:cloud_cover": [5.0, 50.0],
        }
    )
    scenes = pr.build_from_table(table, bands={"red": ("image", 0), "scl": ("image", 1)})
    scenes.raster.sink_collection(folder / "scenes.parquet")


def travel(journey: str, folder: Path, recorder: Recorder) -> None:
    """Run one journey on what `prepare` wrote. Opening the collection is no part of a query."""

    import polars_rasteret as pr

    scenes = pr.scan_collection(folder / "scenes.parquet")
    with recorder.recording():
        if journey == "build":
            _build_twice(folder)
        elif journey == "points":
            _points(scenes)
        elif journey == "windows":
            _windows(scenes)
        else:
            _expression(scenes)


def _build_twice(folder: Path) -> None:
    import polars_rasteret as pr

    for n_files in (2, 3):
        files = [str(folder / f"{name}.tif") for name in ("first", "second", "third")[:n_files]]
        built = pr.build_from_files(files, bands=["red", "scl"], into=folder / "built")
        assert built.select("id").collect().height == n_files


def _points(scenes: Any) -> None:
    import polars as pl

    points = pl.DataFrame({"plot": ["a", "b"], "x": [500_105.0, 500_605.0], "y": [4_999_895.0, 4_999_395.0]})
    samples = scenes.raster.sample_points(points, ["red"], x="x", y="y", crs=32632)
    assert samples.filter(pl.col("red") > 1000).collect().height == 4


def _windows(scenes: Any) -> None:
    import polars as pl

    windows = scenes.raster.read_windows(
        _boxes(), ["red"], geometry="box", crs=32632, match="latest", valid=pl.col("scl") > 0, shape=(32, 32)
    )
    assert windows.collect()["record_id"].to_list() == ["second"]


def _expression(scenes: Any) -> None:
    import polars as pl

    pairs = scenes.raster.pair(_boxes(), geometry="box", crs=32632)
    chips = pairs.select(pl.col("red").raster.read_window("box", crs=32632, shape=(32, 32)))
    assert chips.collect().height == 2


def _boxes() -> Any:
    import polars as pl

    box = {"xmin": 500_100.0, "ymin": 4_999_100.0, "xmax": 500_900.0, "ymax": 4_999_900.0}
    return pl.DataFrame({"field": ["a"], "box": [box]})


def record(journey: str, folder: Path, checkout: Path) -> dict[str, Any]:
    """Run one journey and return its functions and calls, as lists of module and function names."""
    recorder = Recorder(checkout / PACKAGE)
    record_callbacks_of_polars(recorder.everywhere)
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an optional library that is not installed: no journey needs it
            if str(error.name).startswith(PACKAGE):
                raise
    travel(journey, folder, recorder)
    return {"functions": sorted(recorder.functions), "calls": sorted(recorder.calls)}


def run_once(checkout: Path, journey: str, folder: Path) -> dict[str, Any]:
    """Run this script in a new interpreter that imports the package from `checkout`."""
    command = [sys.executable, str(Path(__file__).resolve()), str(checkout), "--once", journey, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def journeys(checkout: Path, *names: str) -> dict[str, dict[str, Any]]:
    """Run the journeys named, all by default, and return the functions and calls of each."""
    with tempfile.TemporaryDirectory() as folder:
        run_once(checkout, "prepare", Path(folder))
        return {name: run_once(checkout, name, Path(folder)) for name in names or JOURNEYS}


def package_of(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def figures(checkout: Path) -> dict[str, str]:
    """Return the value of every row of the table for one checkout."""
    found = {}
    for journey, what in journeys(checkout).items():
        modules = {module for module, _ in what["functions"]}
        by_package = Counter(package_of(module) for module in modules)
        found[f"{JOURNEYS[journey]}: modules"] = str(len(modules))
        found[f"{JOURNEYS[journey]}: modules by package"] = ", ".join(f"{n} {p}" for p, n in by_package.most_common())
        found[f"{JOURNEYS[journey]}: modules above engine/"] = str(
            sum(n for p, n in by_package.items() if p in ABOVE_ENGINE)
        )
        found[f"{JOURNEYS[journey]}: calls"] = str(len(what["calls"]))
        crossing = sum(package_of(a[0]) != package_of(b[0]) for a, b in what["calls"])
        found[f"{JOURNEYS[journey]}: calls between packages"] = str(crossing)
    structure = Structure(checkout)
    counts = {name: len(imported) for name, imported in structure.imports.items() if name != "__init__"}
    many = sorted(((n, name) for name, n in counts.items() if n > MANY_IMPORTS), reverse=True)
    found["modules"] = str(len(structure.sources))
    found[f"modules that import more than {MANY_IMPORTS} of ours"] = str(len(many))
    above = [f"{name} {n}" for n, name in many if package_of(name) in ABOVE_ENGINE]
    found["of these above engine/"] = "; ".join([str(len(above)), *above])
    found["the most imports"] = ", ".join(f"{name} {n}" for n, name in many[:3])
    circles = [", ".join(sorted(circle)) for circle in structure.circles]
    found["circles of imports"] = str(len(circles)) + "".join(f"; {circle}" for circle in circles)
    words = Counter(default.word for default in structure.pairing_defaults)
    found["defaults of pairing words outside namespaces/"] = ", ".join(
        f"{words[word]} {word}" for word in PAIRING_WORDS
    )
    for package, lines in sorted(structure.lines_by_package.items()):
        found[f"lines: {package}"] = str(lines)
    found["lines: all"] = str(sum(structure.lines_by_package.values()))
    return found


def listing(checkout: Path, journey: str) -> Iterator[str]:
    """Yield each module of a journey with the calls that enter it."""
    what = journeys(checkout, journey)[journey]
    for module in sorted({module for module, _ in what["functions"]}):
        yield module
        for caller, callee in what["calls"]:
            if callee[0] == module:
                yield f"    {callee[1]}  <-  {caller[0]}.{caller[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("checkout", type=Path, nargs="?", default=here, help="path of a checkout; else this one")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another one, for a column before")
    parser.add_argument("--list", choices=JOURNEYS, help="print the calls of one journey")
    parser.add_argument("--once", nargs=2, metavar=("JOURNEY", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    checkout = given.checkout.resolve()
    if given.once:
        journey, folder = given.once[0], Path(given.once[1])
        print(json.dumps(prepare(folder) if journey == "prepare" else record(journey, folder, checkout)))
        return
    if given.list:
        print("\n".join(listing(checkout, given.list)))
        return
    columns = {described(one): figures(one) for one in (given.against and given.against.resolve(), checkout) if one}
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    print(f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {row} | {' | '.join(column.get(row, '-') for column in columns.values())} |")


if __name__ == "__main__":
    main()
