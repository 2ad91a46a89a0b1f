"""Two owners of one partition at once, with lost, late and doubled acknowledgements: every record counts once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline.events.records import Records
from pipeline.journal.deltas import unpack_delta
from pipeline.journal.effect import Effect, pack_effect
from pipeline.journal.grouping import Changes
from pipeline.journal.index import NEVER, Ids
from pipeline.journal.journal import Journal, JournalBroken
from pipeline.journal.leaves import Leaves
from pipeline.journal.log import Entry, OutOfRange, Unknown
from pipeline.journal.outcomes import Arrivals, Outcome, settle
from pipeline.journal.pack import unpack
from pipeline.journal.partition import Decision, SourcePartition
from pipeline.journal.reading import Reading
from pipeline.journal.rollup import Rollup
from pipeline.journal.state import State
from pipeline.measures.cells import Series
from tests.support.memory_log import MemoryLog, MemoryOutputs

RECORDS = 120


class Count:
    """Decides records whose value is their id: one cell, the minute is the id."""

    max_records = 7
    horizon = 1 << 40

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        ids = np.array([int(v or b"0") for v in records.values])
        n = len(ids)
        leaves, changes = Leaves(state), Changes()
        leaf = leaves.number(Series("csat", "csat_1_5", "checkout", "web", "none"))
        series, zeros = np.full(n, leaf, np.int32), np.zeros(n, np.int32)
        a = ids.astype(np.uint64)
        arrivals = Arrivals(a, a, np.full(n, 60_000), zeros.astype(np.int64), series, zeros)
        settled = settle(state.index, arrivals, self.horizon, state.watermark)
        came = settled.outcome == Outcome.COUNTED
        changes.add(series[came], ids[came], zeros[came], 1, ids[came])
        cells = changes.by_partition(leaves.leaf, 2)
        effect = Effect(
            sequence=state.sequence + 1,
            last=records.last,
            time=0,
            watermark=settled.watermark,
            published=state.published,
            outcomes={(0, Outcome(o)): int((settled.outcome == o).sum()) for o in np.unique(settled.outcome)},
            ids=settled.ids,
            leaves=leaves.new,
            deltas={q: (state.numbers[q] + 1, changed) for q, changed in cells.items()},
        )
        return Decision(effect, 0, (), ())


async def work(seed: int) -> tuple[MemoryLog, MemoryLog, MemoryOutputs]:
    """Workers that take turns, crash and read from wherever they like, until one of them has done everything."""
    rng = random.Random(seed)
    inputs, journal, outputs = MemoryLog(rng), MemoryLog(rng, 1.0), MemoryOutputs(rng, 1.0)
    ids = MemoryLog(rng, 1.0)
    for k in range(RECORDS):
        inputs.put(str(rng.randrange(k + 1)).encode() if rng.random() < 0.95 else None)

    owners = 0

    def owner() -> SourcePartition:
        nonlocal owners
        owners += 1
        return SourcePartition(
            "responses",
            0,
            2,
            journal=Journal(journal, ids, "journal/0", f"writer {owners}"),
            inputs=inputs,
            outputs=outputs,
            decide=Count(),
            snapshot_floor=1_000,
        )

    async def turn(worker: SourcePartition) -> None:
        try:
            await worker.recover()
            start = rng.randrange(RECORDS) if rng.random() < 0.7 else worker.state.applied + 1
            entries, _ = await inputs.read(min(start, RECORDS - 1), RECORDS)
            if entries:
                values, offsets, times = zip(*((e.value, e.offset, e.time) for e in entries), strict=True)
                await worker.apply(Records.of(values, offsets, times))
            await worker.tidy()
            await worker.publish()
        except (Unknown, OutOfRange):
            pass

    workers = [owner(), owner()]
    last = max(k for k in range(RECORDS) if inputs.values[k] is not None)
    for _ in range(4_000):
        chosen = [w for w in workers if rng.random() < 0.7]
        turns = [asyncio.create_task(turn(w)) for w in chosen]
        if turns and rng.random() < 0.1:
            await asyncio.sleep(0)
            turns[0].cancel()
            workers[workers.index(chosen[0])] = owner()
        for result in await asyncio.gather(*turns, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
        if rng.random() < 0.05:
            for log in (journal, ids):
                rng.choice([log.crash, log.checkpoint])()
        if any(w.state.applied == last and not w.state.outbox for w in workers):
            break
    else:
        pytest.fail(f"seed {seed}: not done")
    return inputs, journal, outputs


@pytest.mark.parametrize("seed", range(60))
async def test_every_record_counts_once(seed: int) -> None:
    inputs, journal, outputs = await work(seed)
    ids = [int(v) for v in inputs.values if v is not None]
    final = Reading(searching=False)  # every record that was ever written, truncated ones included
    final.take(Entry(k, value, 0) for k, value in enumerate(journal.values))
    assert not final.ahead
    assert final.state.outcomes == Counter(
        {(0, Outcome.COUNTED): len(set(ids)), (0, Outcome.DUPLICATE): len(ids) - len(set(ids))}
    )
    cells: Counter[int] = Counter()
    for (topic, _), log in outputs.logs.items():
        assert topic == "deltas"
        rollup = Rollup()
        for offset, value in enumerate(log.values):
            assert value is not None
            rollup.fold(offset, unpack_delta(value))
        all_cells = rollup.cells()
        cells.update(dict(zip(all_cells.minute.tolist(), all_cells.n.tolist(), strict=True)))
    assert cells == Counter(dict.fromkeys(ids, 1))


def _effect(sequence: int) -> Effect:
    none = np.zeros(0, np.uint64)
    return Effect(sequence, sequence, 0, NEVER, 0, {}, Ids.unknown(none, none))


async def test_a_lost_acknowledged_tail_stops_the_worker() -> None:
    log = MemoryLog()
    journal = Journal(log, MemoryLog(), "journal/0", "w")
    for k in (1, 2, 3):
        assert await journal.append(_effect(k))
    del log.values[1:]
    with pytest.raises(JournalBroken, match="lost acknowledged records"):
        await journal.append(_effect(4))


async def test_missing_records_stop_the_worker() -> None:
    log = MemoryLog()
    for k in (1, 3):
        log.put(pack_effect(_effect(k)))
    with pytest.raises(JournalBroken, match="a hole after effect 1"):
        await Journal(log, MemoryLog(), "journal/0", "w").catch_up()


async def test_a_deleted_beginning_stops_the_worker() -> None:
    log = MemoryLog()
    for k in (1, 2):
        log.put(pack_effect(_effect(k)))
    log.start = 1
    with pytest.raises(JournalBroken, match="no complete snapshot"):
        await Journal(log, MemoryLog(), "journal/0", "w").catch_up()


async def test_deleted_ids_stop_the_worker_at_the_second_look() -> None:
    """At the first another owner may just have cut them off."""
    log, ids = MemoryLog(), MemoryLog()
    journal = Journal(log, ids, "journal/0", "w")
    some = np.arange(3, dtype=np.uint64)
    known = replace(Ids.unknown(some, some), until=np.full(3, 1 << 50))
    assert await journal.append(Effect(1, 1, 0, NEVER, 0, {}, known))
    assert await journal.snapshot(1 << 40)
    assert log.start > 0
    await Journal(log, ids, "journal/0", "v").catch_up()
    ids.start = len(ids.values)
    later = Journal(log, ids, "journal/0", "u")
    with pytest.raises(OutOfRange):
        await later.catch_up()
    with pytest.raises(JournalBroken, match=r"they were deleted.*feedback reset"):
        await later.catch_up()


class Breaking(MemoryLog):
    """The second chunk of every snapshot is never written, as long as `breaks`."""

    breaks = True

    async def append(self, value: bytes) -> int:
        """One record."""
        head, _ = unpack(value)
        if self.breaks and head["kind"] == "snapshot" and head["chunk"] == 1:
            raise Unknown("never written")
        return await super().append(value)


async def test_snapshots_that_never_complete_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their writer gave them up, or died in the middle: nobody may hold their chunks until his next recovery."""
    monkeypatch.setattr("pipeline.journal.snapshot._CHUNK", 64)
    log, ids = Breaking(), MemoryLog()
    writer, reader = Journal(log, ids, "journal/0", "w"), Journal(log, ids, "journal/0", "r")
    for k in range(1, 9):
        assert await writer.append(_effect(k))
        with contextlib.suppress(Unknown):
            await writer.snapshot(1 << 40)
        await reader.catch_up()
    late = Journal(log, ids, "journal/0", "l")
    await late.catch_up()
    assert [len(one._gathering.parts) for one in (writer, reader, late)] == [1, 1, 1]
    log.breaks = False
    assert await writer.snapshot(1 << 40)
    await reader.catch_up()
    await late.catch_up()
    assert not writer._gathering.parts
    assert not reader._gathering.parts
    assert not late._gathering.parts


@pytest.mark.parametrize("seed", range(10))
async def test_what_counts_is_told_once_however_its_acknowledgement_fares(seed: int) -> None:
    """The counters of Prometheus live on what `apply` returns."""
    rng = random.Random(seed)
    log, inputs = MemoryLog(rng), MemoryLog(rng)
    for k in range(RECORDS):
        inputs.put(str(rng.randrange(k + 1)).encode())
    worker = SourcePartition(
        "responses", 0, 2,
        journal=Journal(log, MemoryLog(), "journal/0", "w"),
        inputs=inputs, outputs=MemoryOutputs(), decide=Count(),
    )  # fmt: skip
    await worker.recover()
    log.trouble = 2.0
    told: Counter[tuple[int, Outcome]] = Counter()
    while worker.state.applied < RECORDS - 1:
        entries, _ = await inputs.read(worker.state.applied + 1, RECORDS)
        values, offsets, times = zip(*((e.value, e.offset, e.time) for e in entries), strict=True)
        decisions: list[Decision] | None = None
        while decisions is None:
            with contextlib.suppress(Unknown):
                decisions = await worker.apply(Records.of(values, offsets, times))
        for decision in decisions:
            told.update(decision.effect.outcomes)
    assert worker.journal.counts.unknown
    assert told == worker.state.outcomes


async def test_half_a_gap_is_not_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery skips records, and what was read instead makes an effect that no record can hold."""
    log, inputs = MemoryLog(), MemoryLog(random.Random(1))
    for k in range(30):
        inputs.put(str(k).encode())
    worker = SourcePartition(
        "responses", 0, 2,
        journal=Journal(log, MemoryLog(), "journal/0", "w"),
        inputs=inputs, outputs=MemoryOutputs(), decide=Count(),
    )  # fmt: skip
    await worker.recover()
    two = worker._decide(worker.state, 0, Records.of([b"0", b"1"], [0, 1], [0, 0])).effect
    monkeypatch.setattr("pipeline.journal.journal.MOST_BYTES", len(pack_effect(two)) + 8)
    await worker.apply(Records.of([b"20", b"21"], [20, 21], [0, 0]))
    assert worker.state.applied == 21
    assert worker.filled >= 20
    assert worker.state.outcomes == Counter({(0, Outcome.COUNTED): 22})
