"""Clocks that step back, an hour of silence, a flood at one touchpoint: what a worker shows stays right."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.journal.deltas import CellChanges, Delta, pack_delta
from pipeline.measures.cells import Series
from pipeline.stores.prometheus import Metrics
from pipeline.streams.roll import Roll
from tests.support.memory_log import MemoryLog
from tests.unit.roll.test_roll import MemorySender, Told, logs, records

NOW = 29_000_000 * 60 + 20
SHOWN = "feedback_score_responses"


class Clock:
    """Of the worker's host; the deltas carry the time of the events, as from hosts whose clocks are right."""

    def __init__(self):
        self.now = float(NOW)

    def __call__(self):
        return self.now


class Shop:
    """A roll with a clock of its own, and answers that come at times of theirs."""

    def __init__(self, *windows):
        self.clock, self.log, self.sender = Clock(), MemoryLog(), MemorySender(random.Random(1))
        self._settings = Settings(windows=windows)
        self.roll = Roll(self._settings, logs(self.log), self.sender, Told(), self.clock)
        self._metrics, self._number = Metrics.of(self._settings), 0

    async def answers(self, touchpoint, at, n=1):
        self._number += 1
        leaf, column = Series("csat", "csat_1_5", touchpoint, "web", "none"), np.array([n], np.int64)
        minute, bins = np.array([int(at) // 60], np.int32), np.array([5], np.int32)
        cells = CellChanges((leaf,), np.zeros(1, np.uint32), minute, bins, column, column * 5000)
        offset = self.log.put(pack_delta(Delta("responses", 0, self._number, int(at * 1000), cells)))
        await self.roll.on_batch(0, records(self.log, offset, offset + 1))

    async def shown(self):
        """(touchpoint, window) -> responses in /metrics, of touchpoints; after a tick."""
        await self.roll.tick(int(self.clock.now * 1000))
        found = {}
        for line in self._metrics.exposition(await self.roll.owned()).decode().splitlines():
            if line.startswith(SHOWN) and 'channel=""' in line and 'touchpoint=""' not in line:
                labels = dict(pair.split("=") for pair in line[len(SHOWN) + 1 : line.index("}")].split(","))
                place = labels["touchpoint"].strip('"'), labels["window"].strip('"')
                found[place] = int(float(line.rpartition(" ")[2]))
        return found


@pytest.fixture
async def shop():
    made = Shop("15m", "1h", "24h")
    made.roll.own([0])
    await made.roll.recover(0)
    return made


@pytest.mark.parametrize("back", [1, 61, 3599, 7300, 86_400, 40 * 86_400])
async def test_a_clock_that_steps_back_moves_no_window_back_and_loses_nothing(shop, back):
    await shop.answers("checkout", NOW - 20 * 60, 2)
    await shop.answers("checkout", NOW, 3)
    before = await shop.shown()
    assert before == {("checkout", "15m"): 3, ("checkout", "1h"): 5, ("checkout", "24h"): 5}
    shop.clock.now -= back
    assert await shop.shown() == before
    await shop.answers("checkout", NOW + 10)  # of the minute that runs elsewhere
    after = {place: n + 1 for place, n in before.items()}
    assert await shop.shown() == after
    shop.clock.now = NOW + 30
    assert await shop.shown() == after
    shop.clock.now = NOW + 16 * 60
    assert await shop.shown() == {("checkout", "1h"): 6, ("checkout", "24h"): 6}


async def test_a_worker_whose_clock_is_far_behind_follows_the_time_of_the_events(shop):
    shop.clock.now -= 10 * 86_400
    assert await shop.shown() == {}
    for minute in range(0, 300, 20):
        await shop.answers("checkout", NOW + minute * 60)
    found = await shop.shown()
    assert 5 <= found["checkout", "24h"] <= 15  # the windows end at most two hours behind
    shop.clock.now = NOW + 300 * 60
    assert (await shop.shown())["checkout", "24h"] == 15


async def test_an_hour_of_silence_empties_the_short_windows_and_the_samples_go(shop):
    await shop.answers("checkout", NOW)
    everything = {("checkout", window): 1 for window in ("15m", "1h", "24h")}
    for seconds, gone in ((0, ()), (14 * 60, ()), (16 * 60, ("15m",)), (61 * 60, ("15m", "1h"))):
        shop.clock.now = NOW + seconds
        assert await shop.shown() == {p: n for p, n in everything.items() if p[1] not in gone}
    await shop.answers("checkout", shop.clock.now)
    assert await shop.shown() == {("checkout", "15m"): 1, ("checkout", "1h"): 1, ("checkout", "24h"): 2}


async def test_a_flood_at_one_touchpoint_leaves_the_others_alone(shop, monkeypatch):
    monkeypatch.setattr("pipeline.streams.roll._SCORES_A_TICK", 2)
    others = [f"quiet {k}" for k in range(5)]
    for name in others:
        await shop.answers(name, NOW)
    for second in range(90):
        shop.clock.now = NOW + second
        await shop.answers("checkout", shop.clock.now, 10**9)
        await shop.roll.tick(int(shop.clock.now * 1000))
    found = await shop.shown()
    assert found["checkout", "15m"] == 90 * 10**9
    assert all(found[name, "24h"] == 1 for name in others)
    told = {key.split(b'"')[5] for key, _ in shop.sender.sent["scores"]}
    assert told >= {name.encode() for name in others}
    shop.clock.now = NOW + 25 * 3600
    assert await shop.shown() == {}
