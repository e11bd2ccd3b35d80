"""Does no test see what one before it left in the process?"""

import os

import pytest

import polars_rasteret as pr
from polars_rasteret.fetch.hints import Hint, has_hints, register_hints
from polars_rasteret.fetch.signing import as_signed, kept_back
from polars_rasteret.fetch.sources.settings import is_configured, prices_for
from polars_rasteret.testing import MemorySource
from tests.support.process_state import as_before

HREF = "memory://state-of-the-process/a.tif"


def test_what_a_test_configured_or_learnt_is_forgotten():
    had_hints = has_hints()
    with as_before():
        pr.configure_store("memory://state-of-the-process/", store=MemorySource({}), usd_per_gb=1.0)
        register_hints({"s3://state-of-the-process/": Hint(region="eu-west-3")})
        plain = kept_back("https://state.example/a.tif?sig=1&sv=2024-11-04")
        assert is_configured(HREF)
        assert prices_for(HREF).usd_per_gb == 1.0
        assert as_signed(plain) != plain
        assert has_hints()
    assert not is_configured(HREF)
    assert prices_for(HREF).usd_per_gb is None
    assert as_signed(plain) == plain
    assert has_hints() == had_hints


def test_what_was_configured_before_stays():
    pr.configure_store("memory://state-of-the-process/", store=MemorySource({}))
    with as_before():
        pr.configure_store("memory://state-of-the-process/")
        assert not is_configured(HREF)
    assert is_configured(HREF)


def test_options_variables_and_the_current_directory_must_be_left_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_OF_THE_PROCESS", "before")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for change, name in (
        (lambda: pr.options(retries=7), "pr.options"),
        (lambda: os.environ.update(STATE_OF_THE_PROCESS="after"), "os.environ"),
        (lambda: os.chdir("other"), "the current directory"),
    ):
        left = None
        with pytest.raises(AssertionError, match=name), as_before():
            left = change()
        if left is not None:
            left.__exit__(None, None, None)
        os.chdir(tmp_path)
        os.environ["STATE_OF_THE_PROCESS"] = "before"
