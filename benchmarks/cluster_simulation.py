"""How long do 10,000 parts take on a cluster, with stragglers and a limit on the requests to one prefix of a store?

Nothing is read: this is a simulation by events, for sizes that no single machine can measure. Its assumptions:

- A part is 300 MB in 214 requests of 1.4 MB. All parts are alike, dealt to the prefixes in turn, and taken in order.
- A worker is a machine that runs one part at a time: 60 MB/s from the store, one core that decodes 62 MB/s, 32 requests at once
  at 80 ms each. The slowest of the three sets its own rate. It is there 2 s after the start.
- The driver hands out a part every 2.4 ms; a part costs 86 ms before its first byte (fixed cost, looking up its records).
- A prefix serves 5,500 GET/s in all (S3's figure), shared by the parts that read it at the time: each gets an equal share, no
  more than its own rate, and what one leaves goes to the others. Refused requests are paced by the client: they cost waiting.
- Attempts differ in speed by a lognormal factor (sigma 0.25); 1 in 100 is a straggler, eight times as slow; 1 in 1,000 loses
  its worker half-way, and its part goes back to the queue.
- With copies: a worker that finds no part to start copies the part that runs longest, if it has run for twice the median. The
  first to end counts, the other one is stopped. A part has at most one copy. Requests of both are counted.

Efficiency is the time that the same work would take on machines that never wait, over the time it takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What the simulation takes for granted; the module's docstring in numbers."""

    n_parts: int = 10_000
    n_workers: int = 256
    n_prefixes: int = 1
    copies: bool = False
    part_mb: float = 300.0
    request_mb: float = 1.4
    network_mb_per_s: float = 60.0
    decode_mb_per_s: float = 62.0
    requests_at_once: int = 32
    request_s: float = 0.08
    start_s: float = 2.0
    hand_out_s: float = 0.0024
    fixed_s: float = 0.086
    prefix_gets_per_s: float = 5_500.0
    sigma: float = 0.25
    straggler_share: float = 0.01
    straggler_factor: float = 8.0
    lost_share: float = 0.001
    copy_after_medians: float = 2.0
    seed: int = 0

    @property
    def gets(self) -> float:
        """Requests of a part."""
        return self.part_mb / self.request_mb

    @property
    def gets_per_s(self) -> float:
        """Rate of a worker that nothing slows down."""
        return min(
            self.network_mb_per_s / self.request_mb,
            self.decode_mb_per_s / self.request_mb,
            self.requests_at_once / self.request_s,
        )

    @property
    def ideal_s(self) -> float:
        """Seconds of the work on machines that never wait: not for the store, for the driver, or for each other."""
        return self.n_parts * (self.gets / self.gets_per_s) / min(self.n_workers, self.n_parts)


class Simulation:
    """The state of all workers, as arrays; a worker without a part has number -1."""

    def __init__(self, given: Assumptions) -> None:
        self.given = given
        self.rng = np.random.default_rng(given.seed)
        n = given.n_workers
        self.now = 0.0
        self.part = np.full(n, -1)
        self.begun = np.zeros(n)
        """When the worker took its part."""
        self.reads_at = np.zeros(n)
        """When its first request may go out."""
        self.left = np.zeros(n)
        """Requests until the attempt ends: well, or by the loss of its worker."""
        self.own_rate = np.ones(n)
        self.dies = np.zeros(n, bool)
        self.waiting = deque(range(given.n_parts))
        self.done = np.zeros(given.n_parts, bool)
        self.n_running = np.zeros(given.n_parts, int)
        self.was_copied = np.zeros(given.n_parts, bool)
        self.durations: list[float] = []
        self.handed_out_at = 0.0
        self.gets = self.n_copies = self.n_lost = 0.0
        self.most_gets_per_s = self.limited_s = 0.0

    def run(self) -> dict[str, Any]:
        """Run until every part is done; return what there is to tell."""
        given = self.given
        self._hand_out(np.arange(given.n_workers))
        while not self.done.all():
            self._step()
        wasted = self.gets - given.n_parts * given.gets
        return {
            "seconds": self.now,
            "ideal_s": given.ideal_s,
            "efficiency": given.ideal_s / self.now,
            "gets": self.gets,
            "wasted_share": wasted / (given.n_parts * given.gets),
            "most_gets_per_s": self.most_gets_per_s,
            "limited_share": self.limited_s / self.now,
            "copies": int(self.n_copies),
            "lost": int(self.n_lost),
            "parts_done": int(self.done.sum()),
        }

    def _step(self) -> None:
        """Move on to the next moment at which something changes."""
        rate, is_limited = self._rates()
        busy = self.part >= 0
        until = np.full(len(rate), np.inf)
        reading = busy & (self.reads_at <= self.now)
        until[reading] = self.left[reading] / rate[reading]
        begins = busy & ~reading
        until[begins] = self.reads_at[begins] - self.now
        step = float(until.min())
        if self.given.copies and (moment := self._next_copy()) is not None:
            step = min(step, max(moment - self.now, 0.0))
        moved = np.where(reading, rate * step, 0.0)
        self.left -= moved
        self.gets += float(moved.sum())
        self.most_gets_per_s = max(self.most_gets_per_s, float(rate[reading].sum()))
        self.limited_s += step * is_limited
        self.now += step
        ended = np.flatnonzero(reading & (self.left <= 1e-9))
        for worker in ended:
            self._ended(int(worker))
        if len(ended) or self.given.copies:
            self._hand_out(np.flatnonzero(self.part < 0))

    def _rates(self) -> tuple[Any, bool]:
        """Return the requests per second of each worker, and whether a prefix is at its limit."""
        given, rate, is_limited = self.given, self.own_rate.copy(), False
        reading = (self.part >= 0) & (self.reads_at <= self.now)
        for prefix in range(given.n_prefixes):
            at = np.flatnonzero(reading & (self.part % given.n_prefixes == prefix))
            if rate[at].sum() > given.prefix_gets_per_s:
                rate[at], is_limited = fair_shares(self.own_rate[at], given.prefix_gets_per_s), True
        return rate, is_limited

    def _ended(self, worker: int) -> None:
        part = int(self.part[worker])
        if part < 0:  # stopped a moment ago, as the other copy
            return
        self.part[worker] = -1
        self.n_running[part] -= 1
        if self.dies[worker]:
            self.n_lost += 1
            if not self.n_running[part] and not self.done[part]:
                self.waiting.appendleft(part)
            return
        self.done[part] = True
        self.durations.append(self.now - self.begun[worker])
        for other in np.flatnonzero(self.part == part):
            self.part[other] = -1
            self.n_running[part] -= 1

    def _hand_out(self, idle: Any) -> None:
        for worker in idle:
            if self.waiting:
                self._begin(int(worker), self.waiting.popleft())
            elif self.given.copies and (part := self._slowest()) is not None:
                self.was_copied[part] = True
                self.n_copies += 1
                self._begin(int(worker), part)
            else:
                return

    def _begin(self, worker: int, part: int) -> None:
        given = self.given
        start = max(self.now, given.start_s)
        self.handed_out_at = max(self.handed_out_at, start) + given.hand_out_s
        slower = self.rng.lognormal(-(given.sigma**2) / 2, given.sigma)
        slower *= given.straggler_factor if self.rng.random() < given.straggler_share else 1.0
        self.dies[worker] = self.rng.random() < given.lost_share
        self.part[worker], self.begun[worker] = part, self.handed_out_at
        self.reads_at[worker] = self.handed_out_at + given.fixed_s
        self.left[worker] = given.gets * (0.5 if self.dies[worker] else 1.0)
        self.own_rate[worker] = given.gets_per_s / slower
        self.n_running[part] += 1

    def _copyable(self) -> Any:
        """Return the workers whose part has no copy yet."""
        busy = np.flatnonzero(self.part >= 0)
        return busy[~self.was_copied[self.part[busy]]]

    def _may_copy_after_s(self) -> float:
        return self.given.copy_after_medians * float(np.median(self.durations)) if self.durations else np.inf

    def _slowest(self) -> int | None:
        candidates = self._copyable()
        if not len(candidates):
            return None
        worker = candidates[np.argmin(self.begun[candidates])]
        late = self.now - self.begun[worker] >= self._may_copy_after_s() - 1e-9
        return int(self.part[worker]) if late else None

    def _next_copy(self) -> float | None:
        """Return when an idle worker may copy a part; None while there is none."""
        if self.waiting or not (self.part < 0).any() or not len(candidates := self._copyable()):
            return None
        moment = float(self.begun[candidates].min()) + self._may_copy_after_s()
        return moment if np.isfinite(moment) else None


def fair_shares(wanted: Any, limit: float) -> Any:
    """Return what each of several gets of a limit: equal shares, none more than it wants."""
    order = np.argsort(wanted)
    ascending = wanted[order]
    before = np.concatenate([[0.0], np.cumsum(ascending)[:-1]])
    share = (limit - before) / np.arange(len(wanted), 0, -1)
    is_cut = ascending > share
    granted = ascending.copy()
    if is_cut.any():
        granted[np.argmax(is_cut) :] = share[np.argmax(is_cut)]
    result = np.empty(len(wanted))
    result[order] = granted
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--prefixes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--part-mb", type=float, default=300.0)
    parser.add_argument("--json", action="store_true", help="one line of JSON per row, instead of a table")
    given = parser.parse_args()
    base = Assumptions(n_parts=given.parts, part_mb=given.part_mb)
    if not given.json:
        print((__doc__ or "").partition("\n\n")[2])
        print("In numbers:", ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(base).items()))
        print(
            "\n| workers | prefixes | copies | s | efficiency | most GET/s | at the limit % of the time | copies made "
            "| requests in vain % |"
        )
        print("|---:|---:|---|---:|---:|---:|---:|---:|---:|")
    for n_workers in given.workers:
        for n_prefixes in given.prefixes:
            for copies in (False, True):
                told = dataclasses.replace(base, n_workers=n_workers, n_prefixes=n_prefixes, copies=copies)
                found = Simulation(told).run()
                if given.json:
                    print(json.dumps({"workers": n_workers, "prefixes": n_prefixes, "with_copies": copies, **found}))
                    continue
                print(
                    f"| {n_workers} | {n_prefixes} | {'yes' if copies else 'no'} | {found['seconds']:,.0f} "
                    f"| {found['efficiency']:.2f} | {found['most_gets_per_s']:,.0f} | {100 * found['limited_share']:.0f} "
                    f"| {found['copies']} | {100 * found['wasted_share']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    sys.exit(main())
