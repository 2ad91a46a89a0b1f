"""What the end of an hour costs: `python -m bench.hour`, a roll in this process with a week of 50,000 leaves behind it.

Windows above a day let go of a whole hour then, minutes of the day before become an hour, and all scores may be told
again. Event time is made up, so nobody waits for a full hour, and no broker takes part: what is told is CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from bench.series import CHANNELS, INSTRUMENTS, LEAVES, SEGMENTS
from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.journal.deltas import CellChanges, Delta, pack_delta
from pipeline.journal.log import Log
from pipeline.measures.cells import NO_SEGMENT, Series
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.streams.garbage import search_seldom
from pipeline.streams.roll import Roll
from tests.support.memory_log import MemoryLog

HOUR = 29_000_040 // 60  # since 1970; ends while it is measured
_RATE = 10_000  # answers a second
_TICKS = 4  # a second
out = Console(width=132, highlight=False, markup=False)


class Nobody:
    """Takes what is sent and what is told, and does nothing."""

    async def send_many(self, *_: Any) -> None:
        """At once."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


@dataclass(slots=True)
class Shop:
    """The leaves of one instrument, as often as each is asked."""

    leaves: list[Series]
    shares: list[float]
    bins: np.ndarray[Any, np.dtype[np.int32]]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    def cells(self, minute: int, answers: float) -> CellChanges:
        """Of so many answers in a minute."""
        expected = np.array(self.shares)[:, None] * answers / len(self.bins)
        n = self.rng.poisson(np.repeat(expected, len(self.bins), axis=1))
        used = np.flatnonzero(n.any(axis=1))
        at, column = np.nonzero(n[used])
        counts, bins = n[used][at, column].astype(np.int64), self.bins[column]
        named = tuple(self.leaves[k] for k in used.tolist())
        minutes = np.full(len(at), minute, np.int32)
        return CellChanges(named, at.astype(np.uint32), minutes, bins, counts, counts * bins * 1000)


def shop(instrument: str, touchpoints: int) -> Shop:
    """The shares of all its leaves come to its part of all answers."""
    asked, leaves, shares = SHIPPED[instrument], [], []
    for touchpoint in range(touchpoints):
        for channel, c in CHANNELS.items():
            for segment, s in SEGMENTS.items():
                place = f"touchpoint_{touchpoint}", channel, segment or NO_SEGMENT
                leaves.append(Series(asked.metric, instrument, *place))
                shares.append(c * s / (touchpoint + 1))
    part = sum(shares) * len(INSTRUMENTS)
    return Shop(leaves, [one / part for one in shares], np.array(asked.answers, np.int32))


def remember(board: Scoreboard, one: Shop) -> None:
    """A week: by the hour, and by the minute what is about to leave a window or to become an hour."""
    for hour in range(HOUR - 170, HOUR + 1):
        board.settle(hour)
        if hour < HOUR - 25:
            _add(board, one.cells(hour * 60, _RATE * 3600))
        elif hour in (HOUR - 25, HOUR - 24, HOUR - 23, HOUR):
            for minute in range(60 if hour != HOUR - 23 else 5):
                _add(board, one.cells(hour * 60 + minute, _RATE * 60))
        board.sum_up(1 << 60)


def _add(board: Scoreboard, c: CellChanges) -> None:
    board.add(c.series, c.at, c.minute, c.bin, c.n, c.total)


async def measure(touchpoints: int, before: float, after: float) -> list[tuple[float, float]]:
    """(seconds from the end of the hour, CPU milliseconds) of each tick."""
    shops = [shop(name, touchpoints) for name in INSTRUMENTS]
    logs = [(MemoryLog(), MemoryLog()) for _ in shops]
    end = (HOUR + 1) * 3600
    now = end - before

    def logs_of(partition: int) -> tuple[Log, Log]:
        return logs[partition]

    roll = Roll(Settings(), logs_of, Nobody(), Nobody(), lambda: now)
    roll.own(range(len(shops)))
    for p in range(len(shops)):
        await roll.recover(p)
    boards = [board for _, _, board in roll.boards()]
    for board, one in track([*zip(boards, shops, strict=True)], "a week", console=Console(stderr=True)):
        remember(board, one)
    took = []
    for number in range(1, round((before + after) * _TICKS)):
        now += 1 / _TICKS
        for p, one in enumerate(shops):
            cells = one.cells(int(now) // 60, _RATE / _TICKS)
            value = pack_delta(Delta("responses", 0, number, int(now * 1000), cells))
            await roll.on_batch(p, Records.of([value], [number - 1], [0]))
        while True:
            began = time.thread_time()
            await roll.tick(int(now * 1000))
            took.append((now - end, (time.thread_time() - began) * 1e3))
            if not roll.behind:
                break
    return took


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.hour", description=__doc__)
    parser.add_argument("--series", type=int, default=50_000, help="leaves")
    parser.add_argument("--before", type=float, default=20, help="seconds before the end of the hour")
    parser.add_argument("--after", type=float, default=70, help="seconds after it")
    given = parser.parse_args()
    search_seldom()
    took = asyncio.run(measure(-(-given.series // LEAVES), given.before, given.after))
    p50, p99 = np.percentile([cpu for _, cpu in took], [50, 99])
    out.print(f"{len(took)} ticks, ms (CPU): p50 {p50:.1f}, p99 {p99:.1f}; the longest:")
    for at, cpu in sorted(took, key=lambda one: -one[1])[:5]:
        out.print(f"{cpu:7.1f} at {at:+.2f} s from the end of the hour")
    return 0


if __name__ == "__main__":
    sys.exit(main())
