"""The comparison: every engine on every workload, with and without latency, as one Markdown table.

Rounds are interleaved and each measurement is a process of its own; ratios are paired by round, because a shared
machine drifts. Numbers stand in `targets`; what is read in `workloads`; how in `engines`. Nothing is measured in
this process.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import against
import engines
from against import BEFORE
from corpus import DATA_VARIABLE, default_data_dir, ensure_corpus
from save import keep, machine
from servers import StaticServer, latency_proxy, static_server
from targets import TARGETS, Target
from workloads import EXTRA_WORKLOADS, TITLES, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HERE = Path(__file__).parent
MEASURE = HERE / "measure.py"
LINKS = ("direct", "latency")
OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One read by one engine in one round."""

    engine: str
    workload: str
    link: str
    round: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    digest: str
    requests: int
    megabytes: float
    exit_status: int
    notes: dict[str, float]


class Comparison:
    """What was measured so far, and how to measure the next thing."""

    def __init__(self, server: StaticServer, urls: dict[str, str], index_root: Path, given: argparse.Namespace) -> None:
        self.server, self.urls, self.index_root, self.given = server, urls, index_root, given
        self.measurements: list[Measurement] = []
        self.index_s: dict[tuple[str, str], float] = {}
        self.failures: list[str] = []

    def prepare(self, wanted: Iterable[str]) -> list[str]:
        """Build the indexes; give the engines that are there."""
        present = []
        for engine in wanted:
            for link, url in self.urls.items():
                result = self._child("prepare", engine, url, str(self._index_dir(engine, link)))
                if result is None or "skipped" in result:
                    print(f"{engine} is left out: {result['skipped'] if result else self.failures[-1]}", flush=True)
                    break
                self.index_s[engine, link] = result["wall_s"]
            else:
                present.append(engine)
        self.server.new_requests()
        return present

    def measure(self, engine: str, workload: str, link: str, number: int) -> None:
        arguments = [engine, self.urls[link], str(self._index_dir(engine, link)), workload]
        result = self._child("run", *arguments, *(["--quick"] if self.given.quick else []))
        requests = self.server.new_requests()
        if result is None or "skipped" in result:
            if result:
                self.failures.append(f"{engine}, {workload}, {link}: {result['skipped']}")
            print(f"round {number}: {engine}, {workload}, {link}: FAILED: {self.failures[-1]}", flush=True)
            return
        done = Measurement(
            engine=engine,
            workload=workload,
            link=link,
            round=number,
            requests=len(requests),
            megabytes=sum(one.n_bytes for one in requests) / 1e6,
            **result,
        )
        self.measurements.append(done)
        print(
            f"round {number}: {link:8} {workload:8} {engine:14} {done.wall_s:8.3f} s  cpu {done.cpu_s:7.2f} s  "
            f"{done.requests:5} requests  {done.megabytes:8.1f} MB  {done.digest}",
            flush=True,
        )

    def _index_dir(self, engine: str, link: str) -> Path:
        owner = OURS if engine.startswith(OURS) else engine
        return self.index_root / f"{owner}-{link}"

    def _child(self, *arguments: str) -> dict[str, Any] | None:
        """Run ``measure.py``; None and a line in `failures` when it tells nothing."""
        engine = arguments[1]
        python = self.given.rasteret_python if engine == "rasteret" and self.given.rasteret_python else sys.executable
        command = [python, str(MEASURE), *arguments]
        package = self.given.against if engine == BEFORE else HERE.parent
        environment = {**os.environ, "PYTHONPATH": str(package)} if engine.startswith((OURS, BEFORE)) else None
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=self.given.timeout, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            self.failures.append(f"{' '.join(arguments)}: no answer after {self.given.timeout} s")
            return None
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
            self.failures.append(f"{' '.join(arguments)}: exit status {done.returncode}: {last[0]}")
            return None
        # Some peers abort at interpreter exit, after the answer is out; the read itself counts.
        result: dict[str, Any] = json.loads(lines[-1])
        return (
            result if "skipped" in result or arguments[0] == "prepare" else {**result, "exit_status": done.returncode}
        )


Selected = dict[tuple[str, str, str], list[Measurement]]


def check_answers(measurements: list[Measurement]) -> list[str]:
    """Give one line per workload on which engines do not agree on every pixel."""
    problems = []
    for workload in dict.fromkeys(one.workload for one in measurements):
        found: dict[str, set[str]] = {}
        for one in measurements:
            if one.workload == workload:
                found.setdefault(one.digest, set()).add(one.engine)
        if len(found) > 1:
            told = "; ".join(f"{digest} by {', '.join(sorted(names))}" for digest, names in found.items())
            problems.append(f"{workload}: different pixels: {told}")
    return problems


def median_of(measurements: Iterable[Measurement], amount: Callable[[Measurement], float]) -> float | None:
    amounts = [amount(one) for one in measurements]
    return statistics.median(amounts) if amounts else None


def paired_ratio(ours: list[Measurement], peer: list[Measurement]) -> float | None:
    """Give the median over rounds of our wall time over the peer's in the same round."""
    theirs = {one.round: one.wall_s for one in peer}
    ratios = [one.wall_s / theirs[one.round] for one in ours if one.round in theirs]
    return statistics.median(ratios) if ratios else None


def ratios_to_before(select: Selected) -> dict[tuple[str, str], list[float]]:
    """Give our wall time over that of the other checkout in each round, by (title of the workload, link)."""
    found = {}
    for (link, workload, engine), ones in select.items():
        before = {one.round: one.wall_s for one in ones}
        ours = select.get((link, workload, OURS), [])
        if engine == BEFORE and (ratios := [one.wall_s / before[one.round] for one in ours if one.round in before]):
            found[TITLES[workload], link] = ratios
    return found


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def report(comparison: Comparison, present: list[str]) -> str:
    """Write the results as Markdown."""
    select = {
        key: [one for one in comparison.measurements if (one.link, one.workload, one.engine) == key]
        for key in dict.fromkeys((one.link, one.workload, one.engine) for one in comparison.measurements)
    }
    shown = list(dict.fromkeys(one.workload for one in comparison.measurements))
    # The targets are for full workloads; a tenth has other proportions.
    targets = {} if comparison.given.quick else TARGETS
    text = [_heading(comparison), "## Ours / peer\n", *_ratio_table(select, present, shown, targets)]
    if ratios := ratios_to_before(select):
        text += ["\n## Here / before\n", *against.table(ratios, against.described(comparison.given.against))]
    for link in comparison.urls:
        text += [f"\n## {_link_title(link)}\n", *_wall_table(select, present, shown, link)]
    text += ["\n## Index of the corpus, built before the clock\n", *_index_table(comparison)]
    if share := _share_table(select, shown, comparison.urls):
        text += ["\n## Where our time goes\n", *share]
    return "\n".join(text) + "\n"


def _heading(comparison: Comparison) -> str:
    packages = ("polars-rasteret", "polars", "rasterio", "async-geotiff", "obstore", "imagecodecs", "numpy")
    versions = []
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    size = (
        "about a tenth of each workload (--quick), whatever the rows are called"
        if comparison.given.quick
        else "full workloads"
    )
    return (
        "# Results\n\n"
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, server {comparison.server.kind}; {comparison.given.rounds} interleaved rounds, "
        f"{size}. {', '.join(versions)}.\n"
    )


def _link_title(link: str) -> str:
    return "Loopback without latency" if link == "direct" else "20-40 ms before every answer"


def _ratio_table(
    select: Selected, present: list[str], shown: list[str], targets: dict[tuple[str, str, str], Target]
) -> list[str]:
    lines = [
        "Median over rounds of our wall time divided by the peer's. *Required* and *aim* are upper bounds (README.md).\n",
        "| workload | link | peer | ours s | peer s | ours / peer | required | aim | |",
        "|---|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for link in LINKS:
        for workload in shown:
            for peer in (name for name in engines.PEERS if name in present):
                ours, theirs = select.get((link, workload, OURS), []), select.get((link, workload, peer), [])
                if not theirs:
                    continue
                ratio, target = paired_ratio(ours, theirs), targets.get((link, workload, peer))
                lines.append(
                    f"| {TITLES[workload]} | {link} | {peer} | {_number(median_of(ours, lambda one: one.wall_s), 3)} "
                    f"| {_number(median_of(theirs, lambda one: one.wall_s), 3)} | {_number(ratio)} "
                    f"| {_number(target.required if target else None)} | {_number(target.aim if target else None)} "
                    f"| {target.verdict(ratio) if target and ratio is not None else ''} |"
                )
    return lines


def _wall_table(select: Selected, present: list[str], shown: list[str], link: str) -> list[str]:
    lines = [
        "| workload | engine | wall s (min-max) | CPU s | peak MB | requests | MB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for workload in shown:
        for engine in present:
            if not (ones := select.get((link, workload, engine))):
                continue
            walls = [one.wall_s for one in ones]
            amounts = [
                median_of(ones, amount)
                for amount in (
                    lambda one: one.cpu_s,
                    lambda one: one.peak_mb,
                    lambda one: one.requests,
                    lambda one: one.megabytes,
                )
            ]
            cells = [_number(amount, digits) for amount, digits in zip(amounts, (2, 0, 0, 1), strict=True)]
            lines.append(
                f"| {TITLES[workload]} | {engine} | {statistics.median(walls):.3f} ({min(walls):.3f}-{max(walls):.3f}) "
                f"| {' | '.join(cells)} |"
            )
    return lines


def _index_table(comparison: Comparison) -> list[str]:
    return [
        "| engine | link | seconds for 25 records x 4 bands |",
        "|---|---|---:|",
        *(f"| {engine} | {link} | {seconds:.2f} |" for (engine, link), seconds in comparison.index_s.items()),
    ]


def _share_table(select: Selected, shown: list[str], links: Iterable[str]) -> list[str]:
    """Compare the Polars face with the bare engine, and give the planning share."""
    lines = []
    for link in links:
        for workload in shown:
            face, bare = select.get((link, workload, OURS), []), select.get((link, workload, "ours-engine"), [])
            if not face:
                continue
            ratio = paired_ratio(bare, face)
            plan = median_of(
                (one for one in face if "plan_s" in one.notes), lambda one: one.notes["plan_s"] / one.wall_s
            )
            decode = median_of((one for one in face if "decode_s" in one.notes), lambda one: one.notes["decode_s"])
            wall = median_of(face, lambda one: one.wall_s)
            lines.append(
                f"| {TITLES[workload]} | {link} | {_number(wall, 3)} "
                f"| {_number(None if ratio is None else 100 * (1 - ratio), 1)} "
                f"| {_number(None if plan is None else 100 * plan, 1)} | {_number(decode)} |"
            )
    head = [
        "The bare engine reads the same pixels from the same collection without pairing, verbs or result columns.\n",
        "| workload | link | ours s | share of the Polars face % | share of planning % | decode s, all threads |",
        "|---|---|---:|---:|---:|---:|",
    ]
    return [*head, *lines] if lines else []


def run_comparison(given: argparse.Namespace) -> int:
    ensure_corpus(given.data)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(static_server(given.data))
        urls = {}
        if "direct" in given.link:
            urls["direct"] = server.url
        if "latency" in given.link:
            urls["latency"] = stack.enter_context(latency_proxy(server))
        index_root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-index-")))
        comparison = Comparison(server, urls, index_root, given)
        present = comparison.prepare(given.engine)
        for number in range(given.rounds):
            # Another engine goes first in every round, so that none always follows the same neighbour.
            order = present[number % len(present) :] + present[: number % len(present)] if present else []
            for link in urls:
                for workload in given.workload:
                    for engine in order:
                        comparison.measure(engine, workload, link, number)
        problems = [*check_answers(comparison.measurements), *comparison.failures]
        _save(comparison, present, problems)
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _save(comparison: Comparison, present: list[str], problems: list[str]) -> None:
    text = report(comparison, present)
    if problems:
        text += "\n## Problems\n\n" + "".join(f"- {problem}\n" for problem in problems)
    else:
        text += "\nAll engines gave identical pixels in every run.\n"
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    rows = [{name: getattr(one, name) for name in Measurement.__dataclass_fields__} for one in comparison.measurements]
    (folder / f"{stamp}.json").write_text(json.dumps({"measurements": rows, "problems": problems}, indent=1))
    (folder / f"{stamp}.md").write_text(text)
    if comparison.given.save:
        keep("run", text.removeprefix("# Results\n"), {"command": "python benchmarks/run.py", **machine()})
    print(f"\n{text}\nwritten to {folder / stamp}.md and .json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=default_data_dir(), help=f"the corpus (default: ${DATA_VARIABLE})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="about a tenth of each workload, one round, to try it out")
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME,NAME",
        help=f"engines ({', '.join(engines.NAMES)}), workloads ({', '.join(WORKLOADS + EXTRA_WORKLOADS)}) "
        f"or links ({', '.join(LINKS)}), mixed; a kind that is not named is complete",
    )
    parser.add_argument("--rasteret-python", metavar="PATH", help="an interpreter (3.12 or later) that has rasteret")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of this project: its package runs as `before` in the same rounds",
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one measurement")
    parser.add_argument("--save", action="store_true", help="keep them in RESULTS.md and kept/run.json as well")
    given = parser.parse_args()
    if given.quick:
        given.rounds = 1
    if given.against is not None and not (given.against / "polars_rasteret" / "__init__.py").is_file():
        parser.error(f"--against: there is no polars_rasteret in {given.against}")
    named = [name for name in given.only.split(",") if name]
    kinds = {"engine": tuple(engines.NAMES), "workload": WORKLOADS + EXTRA_WORKLOADS, "link": LINKS}
    if unknown := set(named) - {name for names in kinds.values() for name in names}:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}")
    complete = {**kinds, "workload": WORKLOADS}
    for kind, names in kinds.items():
        setattr(given, kind, [name for name in names if name in named] or list(complete[kind]))
    if given.against is None:
        given.engine = [name for name in given.engine if name != BEFORE]
    elif BEFORE not in given.engine:
        given.engine.append(BEFORE)
    return given


def main() -> None:
    # A plain SIGTERM would skip the `finally` blocks that stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(run_comparison(_arguments()))


if __name__ == "__main__":
    main()
