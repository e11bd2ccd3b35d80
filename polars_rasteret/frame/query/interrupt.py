"""Has the user pressed Ctrl-C while a callback waits for pixels?

Python delivers a signal to the main thread only, between two of its bytecodes. Under the streaming engine the main thread is
inside Polars until every callback has returned, so a waiting callback must check for Ctrl-C itself. Polars keeps Ctrl-C in a
flag. Its operations check the flag on any thread and raise KeyboardInterrupt (measured on 2.1.0; a test keeps it). So a waiting
callback runs a tiny operation now and then. Under the in-memory engine callbacks run on the main thread, where Python suffices.
"""

from __future__ import annotations

import polars as pl

from polars_rasteret.engine.interruption import look_while_waiting

_ANYTHING = pl.Series([1, 0])


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed while a query runs; takes microseconds."""
    _ANYTHING.sort()


look_while_waiting(raise_if_interrupted)
