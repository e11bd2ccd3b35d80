"""Run the examples, and keep their pictures, in 256 colours, in docs/pictures."""

import importlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ["points_with_time", "training_chips", "zonal_statistics", "cloud_free_mosaic", "cluster_run"]


def main() -> None:
    """Write the picture of each example that is there."""
    sys.path.insert(0, str(ROOT / "examples"))
    folder = ROOT / "docs" / "pictures"
    folder.mkdir(exist_ok=True)
    for name in EXAMPLES:
        if not (ROOT / "examples" / f"{name}.py").exists():
            continue
        with TemporaryDirectory() as scratch:
            importlib.import_module(name).main(Path(scratch))
            with Image.open(Path(scratch) / f"{name}.png") as picture:
                picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
                    folder / f"{name}.png", optimize=True
                )


if __name__ == "__main__":
    main()
