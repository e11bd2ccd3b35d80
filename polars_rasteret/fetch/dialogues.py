"""How are many files asked at once, each step by step?

Indexing reads thousands of headers; each is a short chain of ranges, of which the next follows from the last. A chain is a
generator that yields a `Wish` and is sent the answer; it goes on in the fetch thread that brought the answer. The requests are
made by the scheduler, beside those of everybody else. Knows nothing about TIFF and nothing about tiles.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from polars_rasteret.errors import UsageError
from polars_rasteret.fetch.scheduler import process_scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from polars_rasteret.errors import FetchError
    from polars_rasteret.fetch.jobs import Done
    from polars_rasteret.fetch.sources import Answer, FileKey
    from polars_rasteret.options import ReadOptions

Item = TypeVar("Item")
Result = TypeVar("Result")

_WAKE_S = 0.2
"""How long a wait lasts before Ctrl-C is looked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A range of a file whose end may come before `byte_stop`."""

    file: FileKey
    byte_start: int
    byte_stop: int


Dialogue: TypeAlias = "Generator[Wish, Answer, Result]"
"""Yields wishes; the answer is sent, or a `FetchError` (for hrefs that nothing reads, a `UsageError`) is thrown into it."""


def ask_all(
    talk: Callable[[Item], Dialogue[Result]],
    items: Sequence[Item],
    *,
    options: ReadOptions,
    admit: Callable[[FileKey, int], None] | None = None,
    arrived: Callable[[int], None] | None = None,
) -> list[Result]:
    """Hold one dialogue per item, many at a time, and give what they return, in the order of `items`.

    Parameters
    ----------
    talk
        Makes the dialogue of an item. It runs on fetch threads: it must not wait, and not call Polars.
    items
        What to call it with.
    options
        ``timeout_s`` and ``retries`` of each request; ``max_concurrency`` dialogues are held at a time.
    admit
        ``admit(file, n_bytes)`` before each request; raises to refuse, which ends all.
    arrived
        Called on the calling thread, from time to time, with the number of items answered since the last call.

    Raises
    ------
    BaseException
        The first error of any dialogue, or Ctrl-C; the others end where they are.
    """
    batches = ask_in_batches(talk, items, [len(items)], options=options, admit=admit, arrived=arrived)
    return next(batches) if items else []


def ask_in_batches(
    talk: Callable[[Item], Dialogue[Result]],
    items: Sequence[Item],
    n_per_batch: Sequence[int],
    *,
    options: ReadOptions,
    admit: Callable[[FileKey, int], None] | None = None,
    arrived: Callable[[int], None] | None = None,
) -> Generator[list[Result], None, None]:
    """Hold one dialogue per item and give the results of each batch when they are complete, in order.

    Dialogues begin up to two batches ahead of the one that was taken, so that whoever takes the batches may take their time,
    while no more than three batches of results are held.

    Parameters
    ----------
    talk, items, options, admit, arrived
        As in `ask_all`.
    n_per_batch
        Items of each batch; they add up to all items.

    Raises
    ------
    BaseException
        The first error of any dialogue, or Ctrl-C.
    """
    talks = _Talks(talk, items, n_per_batch, options, admit)
    told = 0
    try:
        for number in range(len(n_per_batch)):
            talks.allow(number)
            done = False
            while not done:
                done, n_answered = talks.wait(number)
                if arrived is not None and n_answered > told:
                    arrived(n_answered - told)
                    told = n_answered
            yield talks.take(number)
    finally:
        talks.close()


class _Talks(Generic[Item, Result]):
    """The dialogues of one call: which have begun, which have ended, and with what."""

    def __init__(
        self,
        talk: Callable[[Item], Dialogue[Result]],
        items: Sequence[Item],
        n_per_batch: Sequence[int],
        options: ReadOptions,
        admit: Callable[[FileKey, int], None] | None,
    ) -> None:
        self._talk, self._items, self._admit = talk, items, admit
        self._stops = [0, *accumulate(n_per_batch)]
        self._batch_of = [number for number, n in enumerate(n_per_batch) for _ in range(n)]
        self._n_missing = list(n_per_batch)
        self._most_open = options.max_concurrency
        self._changed = threading.Condition()
        self._open: dict[int, Dialogue[Result]] = {}
        self._results: dict[int, Result] = {}
        self._n_begun = self._n_ended = self._allowed = 0
        self._fault: BaseException | None = None
        self._ticket = process_scheduler().open(deliver=self._deliver, fail=self._fail, options=options)

    # -- the caller ---------------------------------------------------------------------------------------------------

    def allow(self, number: int) -> None:
        """Let dialogues begin up to two batches ahead of batch `number`."""
        with self._changed:
            self._allowed = self._stops[min(number + 2, len(self._stops) - 1)]
        self._begin_more()

    def wait(self, number: int) -> tuple[bool, int]:
        """Wait a while for a batch; tell whether it is complete, and how many dialogues have ended."""
        with self._changed:
            if self._n_missing[number] and self._fault is None:
                self._changed.wait(_WAKE_S)
            if self._fault is not None:
                raise self._fault
            return not self._n_missing[number], self._n_ended

    def take(self, number: int) -> list[Result]:
        """Give the results of a batch, which are let go of here."""
        with self._changed:
            return [self._results.pop(one) for one in range(self._stops[number], self._stops[number + 1])]

    def close(self) -> None:
        """End all dialogues where they are."""
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
                dialogue = self._open[number] = self._talk(self._items[number])
            self._go_on(number, dialogue, partial(next, dialogue))

    def _deliver(self, number: int, answer: Answer, done: Done) -> None:
        dialogue = self._open.get(number)
        ended = dialogue is not None and self._go_on(number, dialogue, partial(dialogue.send, answer))
        done()
        if ended:
            self._begin_more()

    def _fail(self, number: int, error: FetchError) -> None:
        dialogue = self._open.get(number)
        if dialogue is not None and self._go_on(number, dialogue, partial(dialogue.throw, error)):
            self._begin_more()

    def _go_on(self, number: int, dialogue: Dialogue[Result], step: Callable[[], Wish]) -> bool:
        """Take a dialogue on to its next wish, which is queued, or to its end; tell whether it ended."""
        try:
            while True:
                wish = step()
                if self._admit is not None:
                    self._admit(wish.file, wish.byte_stop - wish.byte_start)
                try:
                    self._ticket.look(number, wish.file, wish.byte_start, wish.byte_stop)
                except UsageError as error:
                    step = partial(dialogue.throw, error)
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
