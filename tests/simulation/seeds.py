"""Many seeds: on all cores, with progress, a table of what happened in them, and how to run a failed one again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from tests.simulation.controls import CONTROLS
from tests.simulation.run import simulate

CHUNK = 50  # seeds that a process takes at a time
STOP = 3  # failures after which no more is learnt
EVERY = 10.0  # seconds between two lines of progress
MUST_HAPPEN = (
    "broker crashes",
    "conflicts",
    "crashes",
    "effects ignored",
    "gaps filled",
    "pauses",
    "rebalances",
)
Tell = Callable[[str], Any]


@dataclass
class Report:
    """What became of seeds.

    Attributes:
        seeds: how many were run.
        failed: (seed, what was wrong).
        counts: what happened in all of them together.
        cpu: seconds that they took.
    """

    seeds: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0

    def add(self, other: Report) -> None:
        """Take in other seeds."""
        self.seeds += other.seeds
        self.failed += other.failed
        self.counts += other.counts
        self.cpu += other.cpu

    def missing(self) -> list[str]:
        """Troubles that never came up: then the seeds have shown nothing about them."""
        return [name for name in MUST_HAPPEN if not self.counts[name]]

    def table(self) -> str:
        """What happened, all in all and a seed."""
        lines = [f"{'in ' + str(self.seeds) + ' seeds':<24}{'total':>12}{'a seed':>10}"]
        for name, n in sorted(self.counts.items()):
            lines.append(f"{name:<24}{n:>12,}{n / self.seeds:>10.2f}")
        lines.append(f"{'CPU seconds':<24}{self.cpu:>12,.0f}{self.cpu / self.seeds:>10.4f}")
        return "\n".join(lines)

    def failures(self, rule: str = "") -> str:
        """Each failed seed with the command that runs it again."""
        return "\n".join(
            f"seed {seed}: {wrong[:1500]}\n    {again(seed, rule)}" for seed, wrong in self.failed
        )


def again(seed: int, rule: str = "") -> str:
    """The command that runs a seed again."""
    return f"python -m tests.simulation {seed} 1 {repr(rule) if rule else ''}".rstrip()


def one_after_another(first: int, count: int, rule: str = "", stop: int = STOP) -> Report:
    """Run seeds in this process, until `stop` of them have failed. `rule` of the controls is replaced."""
    replaced = CONTROLS[rule] if rule else contextlib.nullcontext
    report, started = Report(), time.process_time()
    for seed in range(first, first + count):
        world, wrong = simulate(seed, replaced)
        report.counts += world.happened()
        report.seeds += 1
        if wrong:
            report.failed.append((seed, wrong))
            if len(report.failed) == stop:
                break
    report.cpu = time.process_time() - started
    return report


def on_all_cores(first: int, count: int, tell: Tell, rule: str = "") -> Report:
    """The same with a process for each core; `tell` hears how far it has come and of each failure at once."""
    report, started = Report(), time.monotonic()
    with processes() as pool:
        chunks = range(first, first + count, CHUNK)
        todo = {pool.submit(one_after_another, k, min(CHUNK, first + count - k), rule) for k in chunks}
        said = started
        while todo and len(report.failed) < STOP:
            done, todo = wait(todo, timeout=EVERY, return_when=FIRST_COMPLETED)
            for part in map(Future.result, done):
                report.add(part)
                if part.failed:
                    tell(part.failures(rule))
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                tell(f"{report.seeds:,} of {count:,} seeds in {said - started:.0f} s")
        for future in todo:
            future.cancel()
    return report


@contextlib.contextmanager
def processes() -> Iterator[ProcessPoolExecutor]:
    """One for each core, so polars needs no threads of its own."""
    with (
        patch.dict(os.environ, POLARS_MAX_THREADS="1"),
        ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool,
    ):
        yield pool
