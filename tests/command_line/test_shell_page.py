"""Do the commands of the page of the shell run, and do they print what it says?"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import polars as pl

from polars_rasteret.command_line.main import main
from tests.support.shell_world import ROOT


def test_the_commands_of_the_page_run(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples" / "data", tmp_path / "examples" / "data")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "guide" / "shell.md").read_text()
    lines = re.search(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1].splitlines()
    printed = []
    for line in lines:
        if line.startswith("polars-rasteret "):
            assert main(shlex.split(line)[1:]) == 0, line
        else:
            subprocess.run(line, shell=True, check=True)
        printed.append(capsys.readouterr().out)
    assert printed[2] == re.search(r"^```csv\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    assert pl.read_parquet("values.parquet")["nir"].to_list() == [135, None]
