"""The archive has one batch in the store and the next one behind it; what is committed is stored, whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.events.wire import encode
from pipeline.streams.archive import Archive
from pipeline.streams.pending import Pace, Pending

TP, OTHER = TopicPartition("feedback.responses", 0), TopicPartition("feedback.touchpoints", 1)


class Consumer:
    """As far as the archive asks it; its position is behind what was read last."""

    def __init__(self):
        self.read = {TP: 0}
        self.commits = []

    def assignment(self):
        return self.read.keys()

    async def position(self, tp):
        return self.read[tp]

    async def committed(self, tp):
        return {TP: 0, OTHER: 7}[tp]

    async def commit(self, offsets):
        self.commits.append(offsets)


class Store:
    """Takes a batch, or does not, when the test says so."""

    def __init__(self):
        self.offered = []
        self.asked = asyncio.Event()
        self.answers = asyncio.Queue()

    async def write(self, tables, _stop, _wanted):
        self.offered.append(
            {name: frame["kafka_offset"].to_list() for name, frame in tables.items() if name != "progress"}
        )
        self.asked.set()
        return await self.answers.get()

    async def times(self, *_):
        return {}


@pytest.fixture
async def archive():
    made = Archive(Settings(), None)
    made._delivery = Store()
    return made


COMMON = {"occurred_at": 1_000, "source": "app", "touchpoint": "checkout", "channel": "web"}
VALUES = {
    TP: encode(
        schema("SurveyResponse"), {**COMMON, "response_id": "r", "instrument": "csat_1_5", "score": 4}
    ),
    OTHER: encode(schema("TouchpointEvent"), {**COMMON, "event_id": "e", "action": "opened"}),
}


def read(archive, consumer, offset, tp=TP, now=0.0):
    """A record came."""
    archive._pending.add({tp: Records.of([VALUES[tp]], [offset], [1_000])}, now)
    consumer.read[tp] = offset + 1


STORED = [{"responses": [0]}, {"responses": [1]}]


async def two(archive, consumer):
    """One batch in the store, and the task that has the next one wait for it."""
    read(archive, consumer, 0)
    await archive._store(consumer)
    read(archive, consumer, 1)
    behind = asyncio.create_task(archive._store(consumer))
    await archive._delivery.asked.wait()
    return behind


async def test_a_batch_waits_for_the_one_before_it(archive):
    consumer, store = Consumer(), archive._delivery
    behind = await two(archive, consumer)
    assert store.offered == STORED[:1]
    assert not behind.done()
    for _ in range(2):
        store.answers.put_nowait(True)
    await behind
    assert await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == (STORED, [{TP: 1}, {TP: 2}], {TP: 2})


async def test_what_stands_behind_a_batch_that_is_given_up_is_not_stored(archive):
    consumer, store = Consumer(), archive._delivery
    behind = await two(archive, consumer)
    for taken in (False, True):  # it would be taken, if it were offered
        store.answers.put_nowait(taken)
    await behind
    assert not await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == (STORED[:1], [], {})


async def test_partitions_that_go_take_what_waits_with_them(archive):
    consumer, store = Consumer(), archive._delivery
    behind = await two(archive, consumer)
    going = asyncio.create_task(archive._given_up([TP]))
    for _ in range(2):
        store.answers.put_nowait(True)
    await going
    await behind
    assert await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == (STORED[:1], [{TP: 1}], {})


async def test_what_waits_for_more_of_its_kind_is_not_committed_and_comes_with_the_next(archive):
    """A full batch goes without the topic that has little, of which nothing counts as stored before it is."""
    consumer, store = Consumer(), archive._delivery
    archive._pace = Pace(rows=3)
    for tp, offset in [(OTHER, 7), (TP, 0), (TP, 1)]:
        read(archive, consumer, offset, tp, asyncio.get_running_loop().time())
    for stored in ({TP: 2, OTHER: 7}, {TP: 2, OTHER: 8}):
        store.answers.put_nowait(True)
        await archive._store(consumer)
        assert await archive._written()
        assert archive.stored() == stored
    assert consumer.commits == [{TP: 2}, {OTHER: 8}]
    assert store.offered == [{"responses": [0, 1]}, {"touchpoints": [7]}]


TOPICS = st.sampled_from(
    [TopicPartition(topic, p) for topic in ("inputs", "cells", "outcomes") for p in (0, 1)]
)


@given(
    fetched=st.lists(st.tuples(TOPICS, st.integers(1, 60)), max_size=20),
    waited=st.sampled_from([0.0, 1.0, 3.0]),
    room=st.sampled_from([1, 100, 1 << 20]),
)
def test_little_waits_only_beside_much_and_not_for_long(fetched, waited, room):
    pending, pace = Pending(), Pace(rows=100, bytes=room, seconds=1.0)
    for at, (tp, n) in enumerate(fetched):
        pending.add({tp: Records.of([b"x"] * n, range(100 * at, 100 * at + n), [0] * n)}, 50.0)
    now, waits = pending.split(pace, 50.0 + waited)
    assert bool(now.rows) == bool(pending.rows)
    assert not {tp.topic for tp in now.records} & {tp.topic for tp in waits.records}
    assert now.records | waits.records == pending.records
    assert (now.rows + waits.rows, now.bytes + waits.bytes) == (pending.rows, pending.bytes)
    assert waits.since == pending.since or not waits.rows
    if pending.rows < 100 or pending.bytes >= room or waited >= 3.0:
        assert not waits.rows
    assert waits.begins == {tp: parts[0].first for tp, parts in waits.records.items()}


def test_while_something_is_stored_only_a_full_batch_is_due():
    pending, pace = Pending(), Pace(rows=2, seconds=1.0)
    assert pending.due(pace, 5.0, busy=False)
    assert not pending.due(pace, 5.0, busy=True)
    pending.add({TP: Records.of([b"x"], [0], [0])}, 5.0)
    assert [pending.due(pace, now, busy=busy) for now in (5.5, 6.0) for busy in (True, False)] == [
        False, False, False, True,
    ]  # fmt: skip
    assert 0 < pending.left(pace, 9.0, busy=True) < 0.1
    pending.add({TP: Records.of([b"y"], [1], [0])}, 9.0)
    assert pending.due(pace, 5.5, busy=True)
