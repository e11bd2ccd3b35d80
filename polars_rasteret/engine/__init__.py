"""The engine: the only part that knows all stages from windows to pixels.

``reading`` runs the stages, ``decoding`` is the pool that decodes while the caller waits, ``tables`` remembers unpacked tables,
``ledger`` takes what an estimate would read.
"""

from polars_rasteret.engine.answer_size import check_answer_size
from polars_rasteret.engine.decoding import decoding_s
from polars_rasteret.engine.ledger import Ledger, ledger_of, open_ledger
from polars_rasteret.engine.reading import WindowAnswer, bill_of, read_windows
from polars_rasteret.engine.spending import NOTHING, Bill, Budget, Spending, admission, check_budget
from polars_rasteret.engine.tables import unpacked
from polars_rasteret.plan.windows import Out, PixelReference, WindowRead

__all__ = [
    "NOTHING",
    "Bill",
    "Budget",
    "Ledger",
    "Out",
    "PixelReference",
    "Spending",
    "WindowAnswer",
    "WindowRead",
    "admission",
    "bill_of",
    "check_answer_size",
    "check_budget",
    "decoding_s",
    "ledger_of",
    "open_ledger",
    "read_windows",
    "unpacked",
]
