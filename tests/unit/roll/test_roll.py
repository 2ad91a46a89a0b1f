"""The roll over a log in memory that fails in every way: what readers find in the end is the recount."""

from __future__ import annotations

import asyncio
import json
import random
import struct
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.config import Settings
from pipeline.config.tables import Worker
from pipeline.events.records import Records
from pipeline.events.wire import decode, milliseconds
from pipeline.journal.deltas import CellChanges, Delta, pack_delta, unpack_delta
from pipeline.journal.journal import JournalBroken
from pipeline.journal.log import Unknown
from pipeline.journal.pack import NewerFormat
from pipeline.journal.rollup import Rollup
from pipeline.measures.cells import Series, marginals
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scores import score
from pipeline.streams.roll import Roll
from pipeline.streams.standing import parts
from tests.support.memory_log import MemoryLog

NOW = 29_000_000 * 60
WINDOWS = {"1h": 60, "24h": 1440}
LEAVES = [
    Series(metric, instrument, touchpoint, channel, segment)
    for metric, instrument in (("csat", "csat_1_5"), ("ces", "ces_1_7"), ("touchpoints", "order_paid"))
    for touchpoint in ("checkout", "support")
    for channel in ("web", "app")
    for segment in ("none", "gold")
]


@dataclass
class Told:
    missing: int = 0
    held: dict[int, tuple[int, int]] = field(default_factory=dict)
    tail: dict[int, tuple[int, int]] = field(default_factory=dict)
    recoveries: int = 0

    def deltas_missing(self, topic: str, partition: int, sources: int) -> None:
        self.missing = max(self.missing, sources)

    def cells(self, topic: str, partition: int, held: int, waiting: int) -> None:
        self.held[partition] = held, waiting

    def journal_tail(self, topic: str, partition: int, records: int, size: int) -> None:
        self.tail[partition] = records, size

    def forget(self, topic: str, partitions: Collection[int]) -> None:
        for p in partitions:
            self.held.pop(p, None)

    def recovery(self, topic: str, seconds: float) -> None:
        self.recoveries += 1


class MemorySender:
    """Appends to a list; in trouble some of it, all of it or nothing arrives, and nobody knows."""

    def __init__(self, rng: random.Random, trouble: float = 0.0) -> None:
        self.rng, self.trouble = rng, trouble
        self.sent: dict[str, list[tuple[bytes, bytes]]] = {"cells": [], "scores": [], "outcomes": []}

    async def send_many(self, topic, partition, pairs):
        await asyncio.sleep(0)
        if self.rng.random() < 0.3 * self.trouble:
            self.sent[topic] += pairs[: self.rng.randint(0, len(pairs))]
            raise Unknown("no acknowledgement")
        self.sent[topic] += pairs


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr("pipeline.streams.patience._LONGEST", 0.001)


def settings(windows=tuple(WINDOWS), snapshot_mb=16):
    return Settings(windows=windows, worker=Worker(snapshot_mb=snapshot_mb))


async def take(roll, partition):
    """It is given to this one."""
    roll.own([partition])
    await roll.recover(partition)


def logs(deltas):
    """The deltas and an empty partition for their snapshots, which fails as the deltas do."""
    snapshots = MemoryLog(deltas.rng, deltas.trouble)
    return lambda _: (deltas, snapshots)


def changes(rng, source, number):
    cells = {}
    for _ in range(rng.randint(0, 6)):
        leaf = rng.choice(LEAVES)
        bins = {"csat": 5, "ces": 7, "touchpoints": 0}[leaf.metric]
        minute = NOW // 60 - rng.choice([0, 0, 3, 59, 61, 1439, 1441, -30])
        cells[leaf, minute, rng.randint(min(1, bins), bins)] = rng.randint(1, 3)
    leaves = tuple(dict.fromkeys(leaf for leaf, _, _ in cells))
    n = np.array(list(cells.values()), np.int64)
    k = np.array([k for _, _, k in cells], np.int32)
    return cells, Delta(
        *source,
        number,
        watermark=0,
        cells=CellChanges(
            leaves,
            np.array([leaves.index(leaf) for leaf, _, _ in cells], np.uint32),
            np.array([minute for _, minute, _ in cells], np.int32),
            k,
            n,
            n * k * 1000,
        ),
    )


def one_answer():
    minute, k, n = np.array([NOW // 60], np.int32), np.array([5], np.int32), np.ones(1, np.int64)
    cells = CellChanges((LEAVES[0],), np.zeros(1, np.uint32), minute, k, n, n * 5000)
    return pack_delta(Delta("responses", 0, 1, 0, cells))


def fill(rng, count):
    """A deltas partition with redelivery, markers and strangers in it; and the cells it comes to."""
    log, truth, taken = MemoryLog(rng), Counter(), {}
    sent = {("responses", 0): [], ("responses", 1): [], ("touchpoints", 0): []}
    for _ in range(count):
        source = rng.choice(list(sent))
        if rng.random() < 0.3 and sent[source]:
            log.put(pack_delta(rng.choice(sent[source])))
        elif rng.random() < 0.1:
            log.put(rng.choice([None, b"", b"garbage", b"FJ" + bytes(12)]))
        else:
            number = taken[source] = taken.get(source, 0) + 1
            cells, delta = changes(rng, source, number)
            truth.update(cells)
            sent[source].append(delta)
            log.put(pack_delta(delta))
    return log, truth


def records(log, start, stop):
    offsets = [o for o in range(start, min(stop, len(log.values))) if log.values[o] is not None]
    return Records.of([log.values[o] for o in offsets], offsets, [0] * len(offsets))


def read_cells(sent):
    """What ClickHouse makes of the topic: the highest version of each part, parts added up."""
    best = {}
    for key, value in sent:
        _, cell = decode(value)
        minute = milliseconds(cell["bucket"]) // 60_000
        name = (Series(*(cell[f] for f in Series._fields)), minute, cell["bin"])
        assert json.loads(key) == [*name[0], *name[1:], cell["part"]]
        assert cell["origin"] == "live"
        assert cell["total"] == cell["n"] * cell["bin"]
        version, n = best.get((name, cell["part"]), (-1, 0))
        assert cell["version"] != version or cell["n"] == n, "two values of one version"
        best[name, cell["part"]] = max((version, n), (cell["version"], cell["n"]))
    sums = Counter()
    for (name, _), (_, n) in best.items():
        sums[name] += n
    return sums


def published_before(offset, log, sent):
    """Whoever goes by what is committed does not look for the cells of these deltas again."""
    rollup = Rollup()
    for at, value in enumerate(log.values[:offset]):
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            rollup.fold(at, unpack_delta(value or b""))
    newest = {}
    for key, value in sent:
        cell = tuple(json.loads(key))
        newest[cell] = max(newest.get(cell, -1), decode(value)[1]["version"])
    c = rollup.cells()
    places = zip(c.leaf.tolist(), c.minute.tolist(), c.bin.tolist(), c.part.tolist(), strict=True)
    for (leaf, minute, k, part), version in zip(places, c.version.tolist(), strict=True):
        assert newest.get((*rollup.leaves[leaf], minute, k, part), -1) >= version


def last_scores(sent):
    """The end of the history: (series with the name of the score as metric, window) -> (n, value)."""
    history = {}
    for _, value in sent:
        _, row = decode(value)
        assert (row["value"] is None) == (row["n"] == 0)
        history[Series(*(row[f] for f in Series._fields)), row["window"]] = (row["n"], row["value"])
    return {name: held for name, held in history.items() if held[0]}


def standing_scores(truth, now):
    histograms = {}
    for (leaf, minute, k), n in truth.items():
        for window, minutes in WINDOWS.items():
            if now // 60 - minutes <= minute <= now // 60 and leaf.metric != "touchpoints":
                for series in marginals(leaf):
                    if not series.channel and not series.segment:
                        histogram = histograms.setdefault((series, window), {})
                        histogram[k] = histogram.get(k, 0) + n
    return {
        (series._replace(metric=name), window): (one.n, one.value)
        for (series, window), histogram in histograms.items()
        for name, one in score(series.metric, SHIPPED[series.instrument], histogram).items()
    }


@pytest.mark.parametrize("seed", range(25))
async def test_two_owners_lost_acknowledgements_and_any_delivery(seed):
    rng = random.Random(seed)
    log, truth = fill(rng, 60)
    end, values = len(log.values), log.values
    log.values = values[: rng.randint(0, 40)]
    log.trouble = 1.0
    told, sender, now = Told(), MemorySender(rng, 1.0), [NOW - 3600.0]
    both, often = logs(log), settings(snapshot_mb=rng.choice([0.002, 16]))
    rolls = [Roll(often, both, sender, told, lambda: now[0]) for _ in range(2)]

    async def live(roll):
        for _ in range(30):
            what = rng.random()
            if what < 0.15:
                roll.forget([7])
            elif what < 0.3:
                await take(roll, 7)
            elif what < 0.6:
                start = rng.randrange(max(1, len(log.values)))
                await roll.on_batch(7, records(log, start, start + rng.randint(1, 20)))
            else:
                now[0] += rng.choice([0, 0, 1, 20])
                await roll.tick(int(now[0] * 1000))
            published_before(roll.done(7), log, sender.sent["cells"])
            if rng.random() < 0.3:
                log.values = values[: min(end, len(log.values) + rng.randint(1, 5))]

    await asyncio.gather(*(live(roll) for roll in rolls))
    log.values, now[0], sender.trouble = values, NOW + 60, 0.0
    for roll in rolls:
        await take(roll, 7)
        await roll.on_batch(7, records(log, end - 1, end))
        await roll.on_batch(7, records(log, 0, end))  # redelivered from the beginning
        now[0] += 60
        await roll.tick(int(now[0] * 1000))
        assert roll.done(7) == roll._owned[7].partition.position
        assert roll.drained(7, len(records(log, 0, end)) and int(records(log, 0, end).last) + 1)
        assert read_cells(sender.sent["cells"]) == +truth
        expected = standing_scores(truth, now[0])
        assert last_scores(sender.sent["scores"]) == expected
        shown = {
            (Series(*(row[f] for f in Series._fields)), row["window"]): (row["n"], row["value"])
            for row in standing_rows(roll)
        }
        assert shown == expected
    assert not told.missing
    assert told.recoveries >= 2


def standing_rows(roll):
    """Scores of touchpoints and overall, as the page is told."""
    return [row for part in parts(roll, None) for row in part["scores"]]


async def test_windows_roll_and_scores_end_without_any_record_and_while_sends_fail():
    log, now, sender = MemoryLog(), [float(NOW)], MemorySender(random.Random(1))
    roll = Roll(settings(("1h",)), logs(log), sender, Told(), lambda: now[0])
    log.put(one_answer())
    await take(roll, 0)
    await roll.tick(NOW * 1000)
    assert [row["n"] for row in standing_rows(roll)] == [1, 1]
    assert len(sender.sent["scores"]) == 2
    sender.trouble = 10.0
    now[0] += 3700
    assert await roll.tick(int(now[0] * 1000)) == 0
    assert standing_rows(roll) == await roll.owned() == []
    sender.trouble = 0.0
    assert await roll.tick(int(now[0] * 1000)) == 2
    assert last_scores(sender.sent["scores"]) == {}
    assert await roll.tick(int(now[0] * 1000)) == 0


async def test_a_restart_ends_scores_that_emptied_meanwhile():
    log, now, sender = MemoryLog(), [float(NOW)], MemorySender(random.Random(1))
    log.put(one_answer())
    for later in (0, 3 * 86_400):
        now[0] = NOW + later
        roll = Roll(settings(), logs(log), sender, Told(), lambda: now[0])
        await take(roll, 0)
        await roll.tick(int(now[0] * 1000))
        assert bool(last_scores(sender.sent["scores"])) == (later == 0)


async def test_what_a_stranger_wrote_is_ignored_and_what_a_newer_version_wrote_stops():
    log, sender = MemoryLog(), MemorySender(random.Random(1))
    stranger = b"FJ" + struct.pack("<BI", 1, 1) + b"5"
    newer = b"FJ" + struct.pack("<BI", 99, 1) + b"5"
    log.put(stranger)
    log.put(one_answer())
    roll = Roll(settings(), logs(log), sender, Told(), lambda: NOW)
    await take(roll, 0)
    assert len(await roll.owned()) == len(WINDOWS)
    log.put(newer)
    for _ in range(2):
        with pytest.raises(NewerFormat):
            await roll.on_batch(0, records(log, 2, 3))


async def test_drained_waits_for_windows_that_are_left_behind(monkeypatch):
    monkeypatch.setattr("pipeline.streams.roll._MOVED_A_TICK", 1)
    log, sender = MemoryLog(random.Random(1)), MemorySender(random.Random(1))
    roll = Roll(settings(), logs(log), sender, Told(), clock=lambda: NOW)
    log.put(one_answer())
    await take(roll, 0)
    told = set()
    for _ in range(9):
        await roll.tick(NOW * 1000)
        roll.boards()  # a scrape brings windows further, too
        told = {decode(value)[1]["window"] for _, value in sender.sent["scores"]}
        if roll.drained(0, 1):
            break
    assert told == set(WINDOWS)


async def test_drained_is_folded_and_published():
    log, sender = MemoryLog(), MemorySender(random.Random(1))
    log.put(one_answer())
    roll = Roll(settings(), logs(log), sender, Told(), lambda: NOW)
    assert not roll.drained(0, 1)
    await take(roll, 0)
    assert not roll.drained(0, 1)
    await roll.tick(NOW * 1000)
    assert roll.drained(0, 1)
    assert not roll.drained(0, 2)


@pytest.mark.parametrize("trouble", [0.0, 1.0])
async def test_progress_is_told_though_cells_wait_at_every_tick_and_never_before_they_are_sent(
    monkeypatch, trouble
):
    monkeypatch.setattr("pipeline.streams.roll._CELLS_A_TICK", 2)
    rng, log = random.Random(11), MemoryLog()
    sender, truths, steps, left = MemorySender(rng, trouble), [Counter()], [], []
    roll = Roll(settings(), logs(log), sender, Told(), clock=lambda: NOW)
    await take(roll, 0)
    for number in range(1, 60):
        cells, delta = changes(rng, ("responses", 0), number)
        truths.append(truths[-1] + Counter(cells))
        log.put(pack_delta(delta))
        await roll.on_batch(0, records(log, number - 1, number))
        await roll.tick(NOW * 1000)
        left.append(roll._owned[0].partition.rollup.waiting)
        if sender.sent["outcomes"]:
            ((_, told),) = decode(sender.sent["outcomes"][-1][1])[1]["done"].items()
            assert read_cells(sender.sent["cells"]) >= truths[int(told)]
            steps.append(int(told))
    assert min(left[10:]) > 0
    assert len(set(steps)) > 2


async def test_scores_wait_for_cells_that_are_behind_but_not_for_long(monkeypatch):
    rng, log = random.Random(5), MemoryLog()
    sender, told = MemorySender(rng), [0]
    roll = Roll(settings(), logs(log), sender, Told(), clock=lambda: NOW)
    await take(roll, 0)
    # cells a tick and seconds between two looks for scores
    for number, (cells, pause) in enumerate(((1, 3600), (1, 3600), (1, 0), (10_000, 3600)), start=1):
        monkeypatch.setattr("pipeline.streams.roll._CELLS_A_TICK", cells)
        monkeypatch.setattr("pipeline.streams.owned_deltas._SCORES_EVERY", pause)
        _, delta = changes(rng, ("responses", 0), number)
        log.put(pack_delta(delta))
        await roll.on_batch(0, records(log, number - 1, number))
        await roll.tick((NOW + 60 * number) * 1000)
        told.append(len(sender.sent["scores"]))
    assert told[0] < told[1] == told[2] < told[3] < told[4]


async def test_what_another_owner_cut_off_unread_is_taken_though_nothing_arrives(monkeypatch):
    monkeypatch.setattr("pipeline.streams.roll._STUCK", 0.0)
    log, sender = MemoryLog(), MemorySender(random.Random(1))
    both, often = logs(log), settings(snapshot_mb=0.0001)
    slow, quick = (Roll(often, both, sender, Told(), lambda: NOW) for _ in range(2))
    await take(slow, 0)
    log.put(one_answer())
    await take(quick, 0)
    await quick.on_batch(0, records(log, 0, 0))  # writes a snapshot
    assert (await log.bounds()) == (1, 1)
    assert not slow.drained(0, 1)
    await slow.observe()
    await slow.tick(NOW * 1000)
    assert slow.drained(0, 1)
    assert len(await slow.owned()) == len(WINDOWS)


async def test_a_gap_that_stays_is_an_alarm_once_and_never_jumped(monkeypatch):
    rng, log, told, sender = random.Random(5), MemoryLog(), Told(), MemorySender(random.Random(1))
    monkeypatch.setattr("pipeline.streams.roll._PATIENCE", 0.0)
    roll = Roll(settings(), logs(log), sender, told, lambda: NOW)
    for number in (1, 3):
        log.put(pack_delta(changes(rng, ("responses", 0), number)[1]))
    await take(roll, 0)
    await roll.on_batch(0, records(log, 0, 2))
    for _ in range(3):
        await roll.tick(NOW * 1000)
    assert told.missing == 1
    assert told.tail[0] == (2, sum(map(len, log.values)))
    assert told.held[0] == (len(roll._owned[0].partition.rollup), 0)
    assert roll._owned[0].partition.rollup.numbers == {("responses", 0): 1}
    roll.forget([0])
    assert not told.held


async def test_a_gap_that_closes_soon_is_no_alarm():
    rng, log, told, sender = random.Random(5), MemoryLog(), Told(), MemorySender(random.Random(1))
    roll = Roll(settings(), logs(log), sender, told, lambda: NOW)
    for number in (1, 3, 2, 3):
        log.put(pack_delta(changes(rng, ("responses", 0), number)[1]))
        await take(roll, 0)
        await roll.tick(NOW * 1000)
    assert not told.missing
    assert not roll._owned[0].partition.rollup.missing


async def test_a_log_that_was_cut_stops_the_roll():
    log = MemoryLog()
    for number in (1, 2, 3):
        log.put(pack_delta(changes(random.Random(2), ("responses", 0), number)[1]))
    await log.truncate(2)
    roll = Roll(settings(), logs(log), MemorySender(random.Random(1)), Told(), lambda: NOW)
    with pytest.raises(JournalBroken, match="feedback reset"):
        await take(roll, 0)
    assert not roll.ready
    roll.forget([0])
    assert not roll.partitions
