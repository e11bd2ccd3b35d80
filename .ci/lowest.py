"""Print the lowest releases that pyproject.toml declares, of dependencies and of the extra stac, as constraints for pip."""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text())["project"]

for dependency in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["stac"]]:
    found = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9.]+)", dependency)
    if found is None:
        raise SystemExit(
            f"pyproject.toml declares {dependency!r}; expected name>=version, the lowest release that works"
        )
    print(f"{found[1]}=={found[2]}")
