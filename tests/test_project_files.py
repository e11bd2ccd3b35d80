"""Do the files around the package say what is there: releases that are locked, tests that are run, modules on the map?"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line)
        found.setdefault(requirement.name, []).append(requirement)
    return found


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["test"], *extras["dev"]]
    return [one for one in map(Requirement, texts) if one.name != project["name"]]


def test_every_declared_dependency_is_locked_to_one_release_that_is_allowed():
    lock = locked()
    for requirement in declared():
        for one in lock[re.sub(r"[-_.]+", "-", requirement.name).lower()]:
            (pin,) = one.specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), f"{one} is locked, {requirement} is declared"


def test_the_tests_that_each_interpreter_runs_are_there():
    part = re.search(r"quick_tests=\((.*?)\)", (ROOT / ".ci" / "run").read_text(), re.DOTALL)
    assert part is not None
    assert [path for path in part[1].split() if not (ROOT / path).exists()] == []
