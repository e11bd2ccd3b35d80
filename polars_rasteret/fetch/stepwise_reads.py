"""How are many files read at once, each step by step?

Indexing reads thousands of headers. Each header is a short chain of ranges, where one answer tells which range comes next. A
`StepwiseRead` is a generator that yields a `FileRange` and is sent the answer; it goes on in the fetch thread that brought the
answer. The scheduler makes the requests, beside those of all other calls. Nothing about TIFF or tiles belongs here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduling.scheduler import process_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from polars_rasteret.errors import FetchError
    from polars_rasteret.fetch.scheduling.pending import Done
    from polars_rasteret.fetch.sources.byte_source import Answer, FileKey
    from polars_rasteret.options import ReadOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAKE_S = 0.2
"""How long a wait lasts before it looks for Ctrl-C."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of a file whose end may come before `byte_stop`."""

    file: FileKey
    byte_start: int
    byte_stop: int


StepwiseRead: TypeAlias = "Generator[FileRange, Answer, Result]"
"""Yields ranges and is sent their answers. A `FetchError` is thrown into it, or a `UsageError` where no source reads the href."""


def read_all(
    start: Callable[[Item], StepwiseRead[Result]],
    items: Sequence[Item],
    *,
    options: ReadOptions,
    admit: Callable[[FileKey, int], None] | None = None,
    arrived: Callable[[int], None] | None = None,
    look: Callable[[], object] | None = None,
) -> list[Result]:
    """Return the result of one stepwise read per item, in the order of `items`; many reads run at a time.

    Parameters
    ----------
    start
        ``start(item)`` returns the stepwise read of an item. The read runs on fetch threads: it must not wait, nor call Polars.
    items
        One entry per read.
    options
        ``timeout_s`` and ``retries`` of each request; ``max_concurrency`` reads are open at a time.
    admit
        ``admit(file, n_bytes)``, called before each request; raises to refuse, which ends all reads.
    arrived
        Called on the calling thread, from time to time, with the number of items answered since the last call.
    look
        Called on the calling thread, from time to time, while it waits; raises to end all reads.

    Raises
    ------
    BaseException
        The first error of any read, or Ctrl-C; the other reads end where they are.
    """
    batches = read_in_batches(start, items, [len(items)], options=options, admit=admit, arrived=arrived, look=look)
    return next(batches) if items else []


def read_in_batches(
    start: Callable[[Item], StepwiseRead[Result]],
    items: Sequence[Item],
    n_per_batch: Sequence[int],
    *,
    options: ReadOptions,
    admit: Callable[[FileKey, int], None] | None = None,
    arrived: Callable[[int], None] | None = None,
    look: Callable[[], object] | None = None,
) -> Generator[list[Result], None, None]:
    """Make one stepwise read per item, and yield the results of each batch once all of them are there, in order.

    Reads begin up to two batches ahead of the batch that was taken last. So the caller may be slow, and at most three batches of
    results are held.

    Parameters
    ----------
    start, items, options, admit, arrived, look
        As in `read_all`.
    n_per_batch
        Items of each batch; they add up to all items.

    Raises
    ------
    BaseException
        The first error of any read, or Ctrl-C.
    """
    reads = _Reads(start, items, n_per_batch, options, admit)
    told = 0
    try:
        for number in range(len(n_per_batch)):
            reads.allow(number)
            done = False
            while not done:
                done, n_answered = reads.wait(number)
                if arrived is not None and n_answered > told:
                    arrived(n_answered - told)
                    told = n_answered
                if look is not None:
                    look()
            yield reads.take(number)
    finally:
        reads.close()


class BegunReads(Generic[Result]):
    """Stepwise reads that go on while the caller does something else; take their results, or close them."""

    def __init__(
        self,
        start: Callable[[Item], StepwiseRead[Result]],
        items: Sequence[Item],
        *,
        options: ReadOptions,
        admit: Callable[[FileKey, int], None] | None = None,
    ) -> None:
        """Begin one stepwise read per item; arguments are as in `read_all`."""
        self._reads = _Reads(start, items, [len(items)], options, admit)
        self._reads.allow(0)

    def results(self) -> list[Result]:
        """Wait for all reads, and return their results in the order of the items.

        Raises
        ------
        BaseException
            The first error of any read, or Ctrl-C.
        """
        try:
            while not self._reads.wait(0)[0]:
                pass
            return self._reads.take(0)
        finally:
            self.close()

    def close(self) -> None:
        """End all reads where they are."""
        self._reads.close()


class _Reads(Generic[Item, Result]):
    """The stepwise reads of one call: which have begun, which have ended, and with which results."""

    def __init__(
        self,
        start: Callable[[Item], StepwiseRead[Result]],
        items: Sequence[Item],
        n_per_batch: Sequence[int],
        options: ReadOptions,
        admit: Callable[[FileKey, int], None] | None,
    ) -> None:
        self._start, self._items, self._admit = start, items, admit
        self._stops = [0, *accumulate(n_per_batch)]
        self._batch_of = [number for number, n in enumerate(n_per_batch) for _ in range(n)]
        self._n_missing = list(n_per_batch)
        self._most_open = options.max_concurrency
        self._changed = threading.Condition()
        self._open: dict[int, StepwiseRead[Result]] = {}
        self._results: dict[int, Result] = {}
        self._n_begun = self._n_ended = self._allowed = 0
        self._fault: BaseException | None = None
        self._ticket = process_scheduler().open(deliver=self._deliver, fail=self._fail, options=options)

    # -- the caller ---------------------------------------------------------------------------------------------------

    def allow(self, number: int) -> None:
        """Start reads up to two batches ahead of batch `number`."""
        with self._changed:
            self._allowed = self._stops[min(number + 2, len(self._stops) - 1)]
        self._begin_more()

    def wait(self, number: int) -> tuple[bool, int]:
        """Wait a while for a batch; return whether the batch is complete, and how many reads have ended."""
        with self._changed:
            if self._n_missing[number] and self._fault is None:
                self._changed.wait(_WAKE_S)
            if self._fault is not None:
                raise self._fault
            return not self._n_missing[number], self._n_ended

    def take(self, number: int) -> list[Result]:
        """Return the results of a batch, and hold them no longer."""
        with self._changed:
            return [self._results.pop(one) for one in range(self._stops[number], self._stops[number + 1])]

    def close(self) -> None:
        """End all reads where they are."""
        with self._changed:
            self._allowed = 0
            self._open.clear()
        self._ticket.abandon()

    # -- any thread ---------------------------------------------------------------------------------------------------

    def _begin_more(self) -> None:
        while True:
            with self._changed:
                if self._n_begun >= self._allowed or len(self._open) >= self._most_open or self._fault is not None:
                    return
                number = self._n_begun
                self._n_begun += 1
                read = self._open[number] = self._start(self._items[number])
            self._go_on(number, read, partial(next, read))

    def _deliver(self, number: int, answer: Answer, done: Done) -> None:
        read = self._open.get(number)
        ended = read is not None and self._go_on(number, read, partial(read.send, answer))
        done()
        if ended:
            self._begin_more()

    def _fail(self, number: int, error: FetchError) -> None:
        read = self._open.get(number)
        if read is not None and self._go_on(number, read, partial(read.throw, error)):
            self._begin_more()

    def _go_on(self, number: int, read: StepwiseRead[Result], step: Callable[[], FileRange]) -> bool:
        """Advance a read to its next range, which is queued, or to its end; return whether the read ended."""
        try:
            while True:
                wanted = step()
                if self._admit is not None:
                    self._admit(wanted.file, wanted.byte_stop - wanted.byte_start)
                try:
                    self._ticket.ask(number, wanted.file, wanted.byte_start, wanted.byte_stop)
                except UsageError as error:
                    step = partial(read.throw, error)
                else:
                    return False
        except StopIteration as stop:
            self._end(number, stop.value)
        except BaseException as error:  # noqa: BLE001 - raised again where the results are taken
            with self._changed:
                self._fault = self._fault or error
                self._changed.notify_all()
        return True

    def _end(self, number: int, result: Any) -> None:
        with self._changed:
            if self._open.pop(number, None) is None:
                return
            self._results[number] = result
            self._n_ended += 1
            batch = self._batch_of[number]
            self._n_missing[batch] -= 1
            if not self._n_missing[batch]:
                self._changed.notify_all()
