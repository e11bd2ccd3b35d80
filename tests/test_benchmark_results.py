"""Is every table of results that a script printed in `benchmarks/RESULTS.md` as it was printed?"""

from __future__ import annotations

import doctest
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def module():
    """Return `benchmarks/save.py`, which is in no package."""
    spec = importlib.util.spec_from_file_location("save", BENCHMARKS / "save.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


SAVE = module()
KEPT = sorted((BENCHMARKS / "kept").glob("*.json"))


def test_examples_of_keeping_results():
    found = doctest.testmod(SAVE)
    assert found.attempted >= 2
    assert found.failed == 0


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_section_of_results_is_what_was_kept(path):
    kept, page = json.loads(path.read_text()), SAVE.PAGE.read_text()
    assert page == SAVE.with_section(page, path.stem, kept["text"])
    assert kept["tables"] == SAVE.tables(kept["text"])
    assert kept["tables"]
    assert kept["date"][:2] == "20"


def test_a_run_is_kept_with_what_it_printed(tmp_path):
    for name in ("save.py", "RESULTS.md"):
        (tmp_path / name).write_text((BENCHMARKS / name).read_text())
    script = 'import sys\nprint("| a | b |\\n|---|---:|\\n| %s | 2 |" % sys.argv[1])\nsys.exit("--fail" in sys.argv)\n'
    (tmp_path / "mine.py").write_text(script)
    call = [sys.executable, tmp_path / "save.py", "mine"]
    assert subprocess.run([*call, "x", "--fail"], check=False, capture_output=True, timeout=60).returncode == 1
    assert not (tmp_path / "kept").exists()
    for value in ("x", "y"):  # the second run takes the place of the first
        subprocess.run([*call, value], check=True, capture_output=True, timeout=60)
        kept = json.loads((tmp_path / "kept" / "mine.json").read_text())
        assert kept["tables"] == [[{"a": value, "b": "2"}]]
        page = (tmp_path / "RESULTS.md").read_text()
        assert page.count(f"| {value} | 2 |") == page.count("<!-- mine -->") == 1
        assert page.startswith((BENCHMARKS / "RESULTS.md").read_text().rstrip())
