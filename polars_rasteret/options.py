"""Which options does a read have, what are their defaults, and how does a caller change them?

`ReadOptions` is the only place where a default is written. A verb or an expression takes its options when it is written, because
streaming callbacks do not see context variables. ``max_concurrency``, ``max_bytes_in_flight``, and what is said
of caches belong to the process. Nothing here reads or plans.
"""

from __future__ import annotations

import contextvars
import dataclasses
import math
import os
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from polars_rasteret.errors import QueryTimeoutError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

OnError = Literal["raise", "null"]

_BUDGETS = ("budget_bytes", "budget_requests", "budget_usd")
_INTERNAL = frozenset({"dry_run", "query_ends_at"})
_PROCESS_WIDE = frozenset(
    {"max_concurrency", "max_bytes_in_flight", "cache_bytes", "cache_dir", "disk_cache_bytes", "cache_protected"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """Mark in the options of a query that is estimated: its reads are logged instead of made."""

    log: str
    """Name of the log that takes the reads."""
    read: int
    """Number of the verb or expression of the query that reads; see `plan.cost.PlannedRead.run`."""
    in_batches: bool = False
    """Whether Polars decides which rows are read together (as in expressions)."""


_dry_pickles: contextvars.ContextVar[Callable[[], DryRun] | None] = contextvars.ContextVar(
    "polars_rasteret_dry_pickles", default=None
)


@contextmanager
def pickled_dry(mark: Callable[[], DryRun]) -> Iterator[None]:
    """Mark all options that are pickled in this block, each with a mark of its own, and remove their budgets."""
    token = _dry_pickles.set(mark)
    try:
        yield
    finally:
        _dry_pickles.reset(token)


_changed_when_unpickled: contextvars.ContextVar[Callable[[ReadOptions], ReadOptions] | None] = contextvars.ContextVar(
    "polars_rasteret_changed_when_unpickled", default=None
)


@contextmanager
def unpickled_as(changed: Callable[[ReadOptions], ReadOptions]) -> Iterator[None]:
    """Replace all options that are unpickled in this block by what a function makes of them."""
    token = _changed_when_unpickled.set(changed)
    try:
        yield
    finally:
        _changed_when_unpickled.reset(token)


carried_along: list[Callable[[], tuple[Callable[[Any], None], Any] | None]] = []
"""Functions that return what this process knows and a process that unpickles options needs: a function to take it, and the
knowledge. None where there is nothing. Never a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Options of one read.

    The memory of all reads of a process is at most the sum of ``max_bytes_in_flight``, ``cache_bytes``, ``max_answer_bytes`` per
    batch, and twice ``max_tile_bytes`` per decode thread (one per core). Tile tables take another 128 MB, or the size of one
    larger table, and weights of zones 64 MB.
    """

    max_concurrency: int = 32
    """Requests in flight at the same time, per process."""
    max_bytes_in_flight: int = 256_000_000
    """Compressed bytes requested or waiting to be decoded, per process."""
    cache_bytes: int = 256_000_000
    """Bytes of compressed tiles kept for later reads, per process; 0 turns the cache off.

    A lazy cube keeps as many decoded bytes, at least 64 MB, of bands that share tiles with the band that is read."""
    cache_dir: str | None = None
    """Folder in which compressed tiles are kept for later runs and other processes; None: nothing is kept on disk."""
    disk_cache_bytes: int = 10_000_000_000
    """Bytes of compressed tiles kept in ``cache_dir``; the least recently used leave first."""
    cache_protected: bool = False
    """Whether ``cache_dir`` also keeps tiles that it took credentials to read; whoever reads the folder reads them."""
    max_answer_bytes: int = 512_000_000
    """Bytes of one batch of an answer, keys included. A verb cuts its batches; Polars cuts those of an expression."""
    max_tile_bytes: int = 256_000_000
    """Decoded bytes of one tile or strip at most. A tile that claims to be larger is refused before memory is allocated. While
    a tile is decoded it may take twice as much; codecs that take more have a lower limit."""
    timeout_s: float = 30.0
    """Seconds for one request, retries included."""
    query_timeout_s: float | None = None
    """Seconds for all reads of one query, from its beginning; None is no limit. For an expression: for each batch of Polars."""
    retries: int = 4
    """Further attempts after a failure that may be temporary. What a crowded store refuses (429, 503) takes none of them, as
    other requests use up what it allows; 0 means no further attempt at all."""
    on_error: OnError = "raise"
    """Result of a failed read: an error, or a null, whose reason is in the profile and in the ``read_error`` column of a verb."""
    budget_bytes: int | None = None
    """Bytes that a read may fetch; a read that would fetch more is refused."""
    budget_requests: int | None = None
    """Requests that a read may make, without further attempts after failures."""
    budget_usd: float | None = None
    """Dollars that a read may cost, by the prices given to ``configure_store``."""
    progress: bool = False
    """Whether to show a progress bar of tiles and bytes."""
    allowed_hrefs: tuple[str, ...] | None = None
    """Prefixes of the only hrefs that may be read; None: all hrefs."""
    max_gap_bytes: int = 16_384
    """Unwanted bytes between two tiles up to which both share a request."""
    max_request_bytes: int = 4_194_304
    """Bytes up to which a request may grow by joining tiles; a single larger tile is still one request."""
    dry_run: DryRun | None = None
    """Mark of the copy of a query that `estimate` runs; never set by a caller."""
    query_ends_at: float | None = None
    """Time of `time.monotonic` at which one run of a query must end (`begun`); never set by a caller."""

    def __post_init__(self) -> None:
        for name, least in (
            ("max_concurrency", 1),
            ("max_bytes_in_flight", 1),
            ("cache_bytes", 0),
            ("disk_cache_bytes", 0),
            ("max_answer_bytes", 1),
            ("max_tile_bytes", 1),
            ("retries", 0),
            ("max_gap_bytes", 0),
            ("max_request_bytes", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UsageError(f"{name} is {value!r}; expected a whole number, {least} or more")
        if isinstance(self.timeout_s, bool) or not isinstance(self.timeout_s, int | float) or not self.timeout_s > 0:
            raise UsageError(f"timeout_s is {self.timeout_s!r}; expected seconds above 0")
        limit = self.query_timeout_s
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
            raise UsageError(f"query_timeout_s is {limit!r}; expected seconds above 0, or None")
        if self.on_error not in ("raise", "null"):
            raise UsageError(f"on_error is {self.on_error!r}; expected 'raise' or 'null'")
        for name, what, kinds in (
            ("budget_bytes", "bytes", int),
            ("budget_requests", "a whole number", int),
            ("budget_usd", "dollars", int | float),
        ):
            budget = getattr(self, name)
            if budget is not None and (isinstance(budget, bool) or not isinstance(budget, kinds) or not budget >= 0):
                raise UsageError(f"{name} is {budget!r}; expected {what}, 0 or more, or None")
        if self.allowed_hrefs is not None:
            object.__setattr__(self, "allowed_hrefs", _checked_prefixes(self.allowed_hrefs))
        for name in ("progress", "cache_protected"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected True or False")
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", _checked_folder(self.cache_dir))

    @property
    def has_budget(self) -> bool:
        """Whether there is any budget."""
        return any(getattr(self, name) is not None for name in _BUDGETS)

    def begun(self) -> ReadOptions:
        """Return the options of a query that begins now; unchanged for a query that runs already."""
        if self.query_timeout_s is None or self.query_ends_at is not None:
            return self
        return dataclasses.replace(self, query_ends_at=time.monotonic() + self.query_timeout_s)

    def check_time(self) -> float:
        """Return the seconds that are left for the query; infinite without a limit.

        Raises
        ------
        QueryTimeoutError
            When no time is left.
        """
        if self.query_ends_at is None:
            return math.inf
        left_s = self.query_ends_at - time.monotonic()
        if left_s <= 0:
            raise QueryTimeoutError(
                f"the reads of this query took longer than query_timeout_s={self.query_timeout_s:g}; the rest was not read. "
                "Read less, or raise it: pr.options(query_timeout_s=...)."
            )
        return left_s

    def without_budget(self) -> ReadOptions:
        """Return these options without budgets, for a reader that watches the budget itself."""
        return dataclasses.replace(self, budget_bytes=None, budget_requests=None, budget_usd=None)

    def __reduce__(self) -> tuple[Callable[..., ReadOptions], tuple[Any, ...]]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["query_ends_at"] = None  # by the clock of this process
        if (mark := _dry_pickles.get()) is not None:
            values |= {"dry_run": mark(), **dict.fromkeys(_BUDGETS)}
        # Every verb, expression and dataset holds options, so this goes wherever one of them is read.
        return _options_of, (values, [found for one in carried_along if (found := one()) is not None])


def _checked_folder(folder: Any) -> str:
    if not isinstance(folder, str | os.PathLike) or not (path := os.fspath(folder)) or not isinstance(path, str):
        raise UsageError(f"cache_dir is {folder!r}; expected a folder, or None")
    return str(Path(path).expanduser().absolute())


def _checked_prefixes(prefixes: Any) -> tuple[str, ...]:
    if isinstance(prefixes, str | bytes) or not isinstance(prefixes, Iterable):
        raise UsageError(
            f"allowed_hrefs is a {type(prefixes).__name__}; expected a list of prefixes, like ['https://host/x/']"
        )
    found = tuple(os.fspath(one) if isinstance(one, os.PathLike) else one for one in prefixes)
    for prefix in found:
        if not isinstance(prefix, str) or not _names_a_place(prefix):
            # Not at the top: its patterns would add a fifth to the time of importing the package.
            from polars_rasteret.hrefs import shown

            raise UsageError(
                f"allowed_hrefs holds {shown(str(prefix))!r}; expected the beginning of hrefs up to a whole segment, like "
                "'https://host/folder/', 's3://bucket/' or '/data/scenes', without a query, a user or '..'"
            )
    return found


def _names_a_place(prefix: str) -> bool:
    scheme, is_url, rest = prefix.partition("://")
    if not is_url or scheme.lower() == "file":
        return bool(prefix) and "\0" not in prefix
    host = rest.partition("/")[0]
    has_user = "@" in host and scheme.lower() not in ("az", "azure", "adl", "abfs", "abfss")
    return bool(host) and not has_user and not {"?", "#", "\\"} & set(rest) and not {".", ".."} & set(rest.split("/"))


def _options_of(values: dict[str, Any], carried: Iterable[tuple[Callable[[Any], None], Any]] = ()) -> ReadOptions:
    for take, what in carried:
        take(what)
    options = ReadOptions(**values)
    changed = _changed_when_unpickled.get()
    return options if changed is None else changed(options)


_lock = threading.Lock()
_process = ReadOptions()
_layers: list[dict[str, Any]] = []
"""Options that callers set and that are still in force, the latest last."""
_overrides: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "polars_rasteret_options", default=None
)


def current_options(**overrides: Any) -> ReadOptions:
    """Return the options in force here, replaced by those `overrides` that are not None."""
    changes = {**(_overrides.get() or {}), **{name: value for name, value in overrides.items() if value is not None}}
    return dataclasses.replace(_process, **changes) if changes else _process


def process_options() -> ReadOptions:
    """Return the options of the process, which apply to its shared resources."""
    return _process


def shared_options() -> dict[str, Any]:
    """Return the options of the process that its shared resources have, by name."""
    return {name: getattr(_process, name) for name in sorted(_PROCESS_WIDE)}


_SETTABLE = tuple(field.name for field in dataclasses.fields(ReadOptions) if field.name not in _INTERNAL)


class _InForce(type):
    """Metaclass through which ``pr.options`` shows all options in force, and ``pr.options.timeout_s`` one of them."""

    def __getattr__(cls, name: str) -> Any:
        if name in _SETTABLE:
            return getattr(current_options(), name)
        raise AttributeError(f"there is no option {name!r}; the options are {', '.join(_SETTABLE)}")

    def __setattr__(cls, name: str, value: Any) -> None:
        raise UsageError(f"options are set by a call: pr.options({name}={value!r}), for good or in a with block")

    def __dir__(cls) -> list[str]:
        return [*type.__dir__(cls), *_SETTABLE]

    def __repr__(cls) -> str:
        shown_options = current_options()
        return f"options({', '.join(f'{name}={getattr(shown_options, name)!r}' for name in _SETTABLE)})"


class options(metaclass=_InForce):  # noqa: N801 - reads as a verb, like polars.Config
    """Set read options, for good or for a ``with`` block. Without a call, ``pr.options`` shows the options in force.

    Parameters
    ----------
    **changes
        Fields of `ReadOptions` by name: ``max_concurrency``, ``max_bytes_in_flight``, ``cache_bytes``, ``cache_dir``,
        ``disk_cache_bytes`` and ``cache_protected`` (these six belong to the process), ``max_answer_bytes``,
        ``max_tile_bytes``, ``timeout_s``, ``query_timeout_s``, ``retries``, ``on_error``, ``budget_bytes``, ``budget_requests``,
        ``budget_usd``, ``progress``, and ``allowed_hrefs``: prefixes of the only hrefs that are read, redirects included
        (``["https://host/folder/", "s3://bucket/", "/data"]``; whole path segments count).

    Raises
    ------
    UsageError
        For an unknown name or a value outside its range.

    Examples
    --------
    >>> import polars_rasteret as pr
    >>> with pr.options(timeout_s=5, retries=1):
    ...     pr.options.retries
    1
    """

    def __init__(self, **changes: Any) -> None:
        if unknown := sorted(changes.keys() - set(_SETTABLE)):
            raise UsageError(f"unknown option {', '.join(unknown)}; expected some of {', '.join(sorted(_SETTABLE))}")
        self._layer = dict(changes)
        self._token: contextvars.Token[dict[str, Any] | None] | None = None
        _change_layers(lambda: [*_layers, self._layer])

    def __enter__(self) -> Self:
        local = {name: value for name, value in self._layer.items() if name not in _PROCESS_WIDE}
        # Options of a read apply in this context only. Options of the process apply everywhere until the block ends.
        _change_layers(lambda: [one if one is not self._layer else self._shared_only() for one in _layers])
        self._token = _overrides.set({**(_overrides.get() or {}), **local})
        return self

    def _shared_only(self) -> dict[str, Any]:
        self._layer = {name: value for name, value in self._layer.items() if name in _PROCESS_WIDE}
        return self._layer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            _overrides.reset(self._token)
            self._token = None
        _change_layers(lambda: [one for one in _layers if one is not self._layer])


def _change_layers(changed: Callable[[], list[dict[str, Any]]]) -> None:
    """Replace the layers, and compute the options of the process from them.

    Layers are added and removed, so the end of one block never restores a value over that of another block.
    """
    global _layers, _process  # noqa: PLW0603 - the one process-wide setting
    with _lock:
        layers = changed()
        _process = ReadOptions(**{name: value for layer in layers for name, value in layer.items()})
        _layers = layers
