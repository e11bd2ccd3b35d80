"""How do windows become pixels? The engine is the only part that knows all stages.

====================  ====================================================================================================
`reading`             runs the stages: which tiles, their bytes, their pixels
`fetching_ahead`      tiles of reads that may be made later, and their cost
`decoding`            the pool of threads that decodes tiles while the caller waits
`ahead`               what a thread loads while a first query looks for its records
`budget`              how much a read may fetch, and how much memory its answer may take
`dry_run`             the reads that a dry run writes down instead of making them
`interruption`        how our code ends early: Ctrl-C, the end of the interpreter, a fork
`unpacked_tables`     tile tables that this process has unpacked already
`header_reads`        the header of one file, range by range
`borrowed_tables`     the real tables of files whose collection has borrowed ones
`progress`            one progress bar for all reads that run at the same time
====================  ====================================================================================================

No Polars call belongs here: a Polars callback may be waiting for these threads. `header_reads` and `borrowed_tables` are imported
by those who need them, since most reads need no header.
"""

from polars_rasteret.engine.ahead import load_ahead
from polars_rasteret.engine.budget import NO_COST, Budget, Cost, Spending, admission, check_answer_size, check_budget
from polars_rasteret.engine.decoding import decoding_s
from polars_rasteret.engine.dry_run import DryRunLog, dry_run_log, open_dry_run_log
from polars_rasteret.engine.interruption import running
from polars_rasteret.engine.reading import StartedRead, WindowAnswer, begin_windows, cost_of, read_windows
from polars_rasteret.engine.unpacked_tables import unpacked
from polars_rasteret.plan.windows import Out, PixelReference, WindowRead, used_references

__all__ = [
    "NO_COST",
    "Budget",
    "Cost",
    "DryRunLog",
    "Out",
    "PixelReference",
    "Spending",
    "StartedRead",
    "WindowAnswer",
    "WindowRead",
    "admission",
    "begin_windows",
    "check_answer_size",
    "check_budget",
    "cost_of",
    "decoding_s",
    "dry_run_log",
    "load_ahead",
    "open_dry_run_log",
    "read_windows",
    "running",
    "unpacked",
    "used_references",
]
