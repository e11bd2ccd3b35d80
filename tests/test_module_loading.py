"""Is the garbage collector as it was, once modules are imported?"""

from __future__ import annotations

import gc
import os
import threading

import pytest

from polars_rasteret.module_loading import loading


@pytest.fixture(autouse=True)
def enabled():
    gc.enable()
    yield
    gc.enable()


def import_what_is_not_there():
    with loading():
        assert not gc.isenabled()
        import polars_rasteret.no_such_module  # noqa: F401


def test_no_garbage_is_collected_in_a_block_also_a_failing_one():
    with pytest.raises(ImportError):
        import_what_is_not_there()
    assert gc.isenabled()


def test_a_collector_that_the_caller_disabled_stays_so():
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()


def test_of_blocks_on_several_threads_the_last_one_enables():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with loading():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    with loading():
        thread.start()
        assert entered.wait(60)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_beside_a_block_collects_and_has_blocks_of_its_own():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with loading():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(60)
    child = os.fork()
    if not child:
        before = gc.isenabled()
        with loading():
            inside = gc.isenabled()
        os._exit(before * 4 + inside * 2 + gc.isenabled())
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
