"""Are the bundled files all there, unchanged, with their provenance and licence?"""

from __future__ import annotations

import csv
import hashlib
import json

LICENCES = ("MIT", "MIT-CMU", "BSD-3-Clause", "Apache-2.0", "as source")


def test_every_bundled_file_is_there_unchanged_with_its_provenance(bundled_data):
    with (bundled_data / "MANIFEST.csv").open(newline="") as file:
        manifest = {row["file"]: row for row in csv.DictReader(file)}
    reference = json.loads((bundled_data / "reference.json").read_text())["files"]
    folders = ("tiff", "derived", "broken", "vector")
    there = {f"{folder}/{path.name}" for folder in folders for path in (bundled_data / folder).iterdir()}
    assert there == set(manifest)
    assert set(reference) == {name for name in manifest if not name.startswith("vector/")}
    for name, row in manifest.items():
        assert hashlib.sha256((bundled_data / name).read_bytes()).hexdigest() == row["sha256"], name
        assert row["licence"].startswith(LICENCES)
        assert row["repo"] or row["licence"] == "as source"


def test_the_bundled_files_show_every_feature_of_the_larger_set(bundled_data):
    reference = json.loads((bundled_data / "reference.json").read_text())["files"]
    n_ok = sum(facts["status"] == "ok" for facts in reference.values())
    assert n_ok >= 250
    assert {facts["dtype"] for facts in reference.values() if facts["status"] == "ok"} >= {
        *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"),
    }
