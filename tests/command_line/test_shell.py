"""What does the shell see of a command: exit codes, streams, signals, and no secret?"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import tomllib

import pytest

import polars_rasteret as pr
from polars_rasteret.command_line import pixel_commands
from polars_rasteret.command_line.main import main
from tests.support.child_process import environment
from tests.support.range_server import Fault, RangeServer
from tests.support.shell_world import CALIFORNIA, POINTS, ROOT

COMMAND = [sys.executable, "-m", "polars_rasteret.command_line.main"]
SECRET = "hunter2secret"


def shell(*words: str, cwd, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def test_the_entry_point_is_this_function():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"polars-rasteret": "polars_rasteret.command_line.main:shell"}
    assert f"{main.__module__}:shell" == project["scripts"]["polars-rasteret"]


def test_version_and_help(run):
    said = run("--version")
    assert (said.code, said.out) == (0, f"polars-rasteret {pr.__version__}\n")
    assert run("--help").code == 0
    assert "COMMAND" in run("collections", "--help").out


def test_no_package_is_imported_to_understand_the_words(world):
    code = (
        "import sys; from polars_rasteret.command_line.main import main; main(['--version']);"
        "print(sorted(sys.modules.keys() & {'xarray', 'shapely', 'pyproj', 'pyarrow', 'httpx', 'obstore', 'imagecodecs'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[1:] == ["[]"]


def test_results_and_progress_and_errors_have_streams_of_their_own(world):
    with shell("sample", "points.csv", "-c", "naip", "--crs", "4326", "--bands", "R", "--progress", cwd=world) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0
    assert out.splitlines()[0] == "name,lon,lat,record_id,datetime,R"
    assert len(out.splitlines()) == 1 + POINTS.height
    assert "tile" in err
    with shell("sample", "points.csv", "-c", "naip", "--bands", "R", cwd=world) as child:
        out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (2, "")
    assert err.startswith("polars-rasteret: ")
    assert len(err.splitlines()) == 1


def test_an_interrupt_ends_with_130_and_leaves_no_file(world, tmp_path):
    with RangeServer({"a.tif": (world / CALIFORNIA).read_bytes()}) as server:
        came = threading.Event()
        server.fault = lambda seen: came.set() or Fault(stall_after=10)
        words = ["sample", str(world / "points.csv"), "-c", server.url("a.tif"), "--crs", "4326", "-o", "out.parquet"]
        with shell(*words, cwd=tmp_path) as child:
            assert came.wait(120)
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "polars-rasteret: interrupted"
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_is_no_traceback(world):
    with shell("sample", "points.csv", "-c", "naip", "--crs", "4326", cwd=world) as child:
        child.stdout.close()
        err = child.stderr.read()
    assert (child.returncode, err) == (1, "")


@pytest.mark.parametrize(
    "words",
    [
        ["sample", f"https://u:{SECRET}@h.example/p.csv?sig={SECRET}"],
        [
            "sample",
            "points.csv",
            "-c",
            f"https://127.0.0.1:1/c.parquet?sig={SECRET}",
            "--storage-option",
            "max_retries=0",
        ],
        ["sample", "points.csv", "-c", f"https://127.0.0.1:1/a.tif?token={SECRET}"],
        ["sample", "points.csv", "-c", "naip", "--storage-option", SECRET],
        ["sample", "points.csv", "-c", "naip", f"aws_secret_access_key={SECRET}"],
        ["sample", "points.csv", "-c", "naip", "--storage-option", f"no_such_option={SECRET}", "--crs", "4326"],
        ["sample", "points.csv", "-c", "naip", "--store", "s3://b/", SECRET],
        ["sample", "points.csv", "-c", "naip", "--store", "s3://b/", f"no_such_option={SECRET}"],
        [
            "sample",
            "points.csv",
            "-c",
            "s3://b/c.parquet",
            "--storage-option",
            f"aws_endpoint_url=http://u:{SECRET}@127.0.0.1:1",
            "--storage-option",
            "max_retries=0",
        ],
        [
            "collections",
            "import",
            f"https://127.0.0.1:1/t.txt?sig={SECRET}",
            "/nowhere/c",
            "--storage-option",
            "max_retries=0",
        ],
        ["collections", "list", f"https://127.0.0.1:1/?sig={SECRET}"],
        ["collections", "delete", f"https://h/?sig={SECRET}", "--yes"],
    ],
)
def test_no_message_holds_a_secret(words, run):
    said = run(*words)
    assert SECRET not in said.err + said.out


def test_a_warning_is_a_line_without_a_place_in_the_code(world, tmp_path):
    source = f"https://127.0.0.1:1/a.tif?sig={SECRET}"
    words = ["collections", "import", source, str(tmp_path / "c"), "--bands", "R"]
    with shell(*words, cwd=world) as child:
        out, err = child.communicate(timeout=120)
    assert child.returncode == 0
    assert "header errors" in out
    assert SECRET not in out + err
    assert all(line.startswith("polars-rasteret: warning: ") for line in err.splitlines() if line)


def test_a_fault_of_ours_is_told_as_one(run, monkeypatch):
    monkeypatch.setattr(pixel_commands, "write_rows", lambda *_args, **_words: {}["a key"])
    words = ["sample", "points.csv", "-c", "naip", "--crs", "4326"]
    said = run(*words)
    assert said.code == 1
    assert "POLARS_RASTERET_TRACEBACK=1" in said.err
    monkeypatch.setenv("POLARS_RASTERET_TRACEBACK", "1")
    with pytest.raises(KeyError, match="a key"):
        main(words)
