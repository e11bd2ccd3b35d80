"""How is a case run so that it can hurt nobody? In a process with a limit on memory and an alarm, told by lines on stdin.

Each line is ``<job> <seed or path>``; each is answered by ``> <job> <seed>`` before the case and a line of JSON after it. Time is
that of the processor, because the machine may be busy; a second alarm, by the clock, ends what only waits. Alarms end the
process, after the stacks of all threads went to stderr: a decoder that hangs would not let Python handle them.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

_MOST_BYTES = 500 << 20
_MOST_CPU_S = 2.0
_MOST_CLOCK_S = 20.0


def main(folder: str) -> None:
    """Run the cases that stdin names."""
    from tests.support.hostile.bases import read_bases

    bases = read_bases(Path(folder))
    jobs = _jobs(bases)
    if sys.argv[2] == "ours":
        _warm_up(bases)
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
        faulthandler.register(number, chain=True)
    print("ready", flush=True)
    for line in sys.stdin:
        job, case = line.rstrip("\n").split(" ", 1)
        print(f"> {job} {case}", flush=True)
        print(json.dumps(_bounded(jobs[job], case)), flush=True)


def _bounded(run, case: str) -> dict:
    _limit(int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + _MOST_BYTES)
    began, began_cpu = time.perf_counter(), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, _MOST_CPU_S)
    signal.setitimer(signal.ITIMER_REAL, _MOST_CLOCK_S)
    try:
        found = run(case)
    except BaseException:
        found = {"status": "fault", "told": traceback.format_exc(limit=-12)}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _limit(resource.RLIM_INFINITY)
    return {**found, "cpu_s": time.process_time() - began_cpu, "clock_s": time.perf_counter() - began}


def _limit(n_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (n_bytes, resource.RLIM_INFINITY))


def _jobs(bases: list[tuple[str, bytes]]) -> dict:
    """Each takes a seed or a path; what they import differs, because GDAL must not share a process with us."""
    from tests.support.hostile.mutants import mutant

    def direct(case: str) -> dict:
        from tests.support.hostile.reading import read_directly

        data = mutant(int(case), bases)[1]
        _fill_new_memory(0x55)
        first = read_directly(data)
        if first.status == "read":
            _fill_new_memory(0xA9)
            second = read_directly(data)
            assert (second.status, second.pixels) == (first.status, first.pixels), "pixels come from unwritten memory"
        return vars(first)

    def query(case: str) -> dict:
        from tests.support.hostile.reading import read_from_memory

        engine = ("streaming", "in-memory")[int(case) % 2]
        return vars(read_from_memory(mutant(int(case), bases)[1], case, engine))

    def file(case: str) -> dict:
        from tests.support.hostile.reading import read_by_query

        return vars(read_by_query(case, "streaming"))

    def table(case: str) -> dict:
        from tests.support.hostile.reading import unpack_mutant
        from tests.support.hostile.tables import table_mutant

        return vars(unpack_mutant(table_mutant(int(case), tables)))

    def giant(case: str) -> dict:
        from tests.support.hostile.giants import read_giant

        return vars(read_giant(case))

    def gdal(case: str) -> dict:
        from tests.support.hostile.gdal import read_with_gdal

        return read_with_gdal(mutant(int(case), bases)[1] if case.isdecimal() else Path(case).read_bytes())

    tables: list[bytes] = []
    if sys.argv[2] == "ours":
        from tests.support.hostile.tables import packed_tables

        tables += packed_tables(bases)
    return {"direct": direct, "query": query, "file": file, "table": table, "giant": giant, "gdal": gdal}


def _fill_new_memory(value: int) -> None:
    """Have the C library fill what it hands out, so that a decoder which reads what nobody wrote gives itself away."""
    ctypes.CDLL(None).mallopt(-6, value)  # M_PERTURB


def _warm_up(bases: list[tuple[str, bytes]]) -> None:
    """Start threads and fill what is filled once, with sound files, so that it does not count for the first case."""
    from tests.support.hostile.reading import read_directly, read_from_memory

    for name, data in bases[::5]:
        read_directly(data)
        if len(name) % 16 == 0:
            for engine in ("streaming", "in-memory"):
                read_from_memory(data, name, engine)


if __name__ == "__main__":
    main(sys.argv[1])
