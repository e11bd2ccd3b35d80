"""Has the user pressed Ctrl-C while a callback waits for pixels?

Python delivers a signal to the main thread only, between two of its bytecodes. Under the streaming engine the main thread is
inside Polars until every callback has returned, so a callback that waits must notice by itself. Polars takes note of Ctrl-C in
a flag that its operations look at, from any thread, and raise KeyboardInterrupt (measured on 2.1.0; a test keeps it). So a
tiny operation now and then is how to ask. Under the in-memory engine callbacks run on the main thread, where Python suffices.
"""

from __future__ import annotations

import polars as pl

from polars_rasteret.engine.interruption import look_while_waiting

_ANYTHING = pl.Series([1, 0])


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed while a query runs; takes microseconds."""
    _ANYTHING.sort()


look_while_waiting(raise_if_interrupted)
