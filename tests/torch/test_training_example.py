"""Does the example of training learn something, and draw it?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from imagecodecs import png_decode

from tests.support.child_process import environment

pytest.importorskip(
    "torch", reason="PyTorch is not installed; `.ci/run torch` installs it where a CPU build can be had"
)
ROOT = Path(__file__).resolve().parents[2]


def test_colours_around_a_place_tell_whether_plants_grow_there(tmp_path):
    script = ROOT / "examples" / "training_chips.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    right, commoner = (int(one) for one in re.findall(r"(\d+)%", done.stdout))
    assert right > commoner + 15
    picture = png_decode((tmp_path / "chips.png").read_bytes())
    assert picture.shape[1:] == (20 * 38, 3)
    frames = picture[1::38, 1::38].reshape(-1, 3)  # framed by what the places are: the likely green ones come last
    is_green = (frames == (0, 150, 60)).all(axis=1)
    assert is_green[-100:].mean() > 0.9
    assert is_green[:60].mean() < 0.1
