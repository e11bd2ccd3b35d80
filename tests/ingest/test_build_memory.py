"""Does the memory of a build stay the same however many files there are?"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CODE = """
    import json, sys
    import numpy as np
    import polars as pl
    import polars_rasteret as pr
    from polars_rasteret.testing import make_cog

    data = [make_cog(np.full((1, 64, 64), n, dtype="uint8"), transform=(10.0, 0.0, 3e5, 0.0, -10.0, 5e6)) for n in range(7)]

    class Endless:
        def get(self, href, byte_start, byte_stop, *, etag):
            return data[int(href[-9:-4]) % 7][byte_start:byte_stop]

    pr.configure_store("memory://endless/", store=Endless())
    n_files = int(sys.argv[2])
    into = None if sys.argv[1] == "memory" else sys.argv[1]
    found = pr.build_from_files([f"memory://endless/{n:05}.tif" for n in range(n_files)], bands=["b"], into=into)
    # Not ru_maxrss: it starts with what the parent process had.
    status = open("/proc/self/status").read()
    peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    assert found.select(pl.len()).collect().item() == n_files
    assert found.select(pl.col("header_error").count()).collect().item() == 0
    print(json.dumps({"peak_mb": peak_mb}))
"""


def peak_mb(into: str, n_files: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), into, str(n_files)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])["peak_mb"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_a_build_of_50000_files_needs_little_more_memory_than_one_of_10000(tmp_path):
    few, many = (peak_mb(str(tmp_path / str(n)), n) for n in (10_000, 50_000))
    # 40,000 hrefs, ids and keys are about 20 MB; 40,000 headers would be about 100 MB.
    assert many - few < 50, (few, many)
    in_memory = peak_mb("memory", 50_000)
    assert many < in_memory, (many, in_memory)
    print(f"peak MB: {few:.0f} for 10,000 files, {many:.0f} for 50,000, {in_memory:.0f} for 50,000 without into=")
