"""Where do tests find the files whose pixels rasterio has told?

`tests/data` is part of the repository: a clone proves exactness with it, and a file missing there is a failure. Where a larger
set of the same kind lies beside the repository, tests read that one in its place; it contains all files of `tests/data`.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.engines import ENGINES
from tests.support.far_stores import near
from tests.support.secret_watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUNDLED_DATA = Path(__file__).resolve().parent / "data"
LARGER_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


# The suite draws the same examples in every run, so that a failure is the fault of a change. New examples are drawn with
# --hypothesis-profile=explore, and by the tests marked slow, whose seeds are their parameters.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile("suite")


MANY_CASES = 3


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the engines take turns in tests of many cases, each asked on both: the other half runs with -m slow."""
    cases: dict[str, dict[str, dict[str, pytest.Item]]] = {}
    for item in items:
        if item.get_closest_marker("slow") is not None:
            continue
        function, _, parameters = item.nodeid.removesuffix("]").partition("[")
        words = parameters.split("-")
        for engine in ENGINES:
            parts = engine.split("-")
            at = next((at for at in range(len(words)) if words[at : at + len(parts)] == parts), None)
            if at is not None:
                case = "-".join((*words[:at], *words[at + len(parts) :]))
                cases.setdefault(function, {}).setdefault(case, {})[engine] = item
    for its_cases in cases.values():
        both = [one for one in its_cases.values() if len(one) == len(ENGINES)]
        if len(both) >= MANY_CASES:
            for at, one in enumerate(both):
                one[ENGINES[at % len(ENGINES)]].add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def stores_are_near() -> Iterator[None]:
    """Let recorded requests not depend on the load of this machine; tests of rounds fetched ahead say that stores are far."""
    with near():
        yield


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the thousands of collected tests: a full collection among them takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """End what a test leaves behind: under a limit Polars leaves a source running, and may pull it again after the answer."""
    yield
    if "polars_rasteret.fetch.scheduling.scheduler" in sys.modules:
        from tests.support.quiet import end_all_reads

        end_all_reads()


@pytest.fixture(scope="session", autouse=True)
def no_secret_comes_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search what the whole run wrote, logged, warned of and raised for every secret that its tests planted."""
    with Watch() as watch:
        yield
    assert watch.found_below(tmp_path_factory.getbasetemp()) == []


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def bundled_data() -> Path:
    return BUNDLED_DATA


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with `tiff`, `derived`, `broken` and `reference.json`: the larger set where it is, else the bundled one."""
    return LARGER_DATA if (LARGER_DATA / "reference.json").is_file() else BUNDLED_DATA


@pytest.fixture(scope="session")
def reference(shared_data: Path) -> dict[str, dict]:
    """What rasterio and tifffile say of each file of `shared_data`, by its name."""
    return json.loads((shared_data / "reference.json").read_text())["files"]


@pytest.fixture(scope="session")
def shared_file(shared_data: Path) -> Callable[[str], Path]:
    """Give the path of a file by its name; skip the test where only the larger set has the file."""

    def path_of(name: str) -> Path:
        path = shared_data / name
        if shared_data == BUNDLED_DATA and not path.exists():
            pytest.skip(f"{name} is not bundled: it is large, and smaller files show the same features")
        return path

    return path_of
