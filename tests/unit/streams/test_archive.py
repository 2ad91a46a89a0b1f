"""The archive has one batch in the store and the next one behind it; what is committed is stored, whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.events.wire import encode
from pipeline.streams.archive import Archive
from pipeline.streams.pending import Pace, Pending

TP = TopicPartition("feedback.responses", 0)


class Consumer:
    """As far as the archive asks it; its position is behind what was read last."""

    def __init__(self):
        self.read = 0
        self.commits = []

    def assignment(self):
        return {TP}

    async def position(self, _):
        return self.read

    async def committed(self, _):
        return 0

    async def commit(self, offsets):
        self.commits.append(offsets[TP])


class Store:
    """Takes a batch, or does not, when the test says so."""

    def __init__(self):
        self.offered = []
        self.asked = asyncio.Event()
        self.answers = asyncio.Queue()

    async def write(self, tables, _stop, _wanted):
        self.offered.append(tables["responses"]["kafka_offset"].to_list())
        self.asked.set()
        return await self.answers.get()

    async def times(self, *_):
        return {}


@pytest.fixture
async def archive():
    made = Archive(Settings(), None)
    made._delivery = Store()
    return made


def read(archive, consumer, offset):
    """A record came."""
    fields = {
        "response_id": f"r{offset}", "occurred_at": 1_000, "source": "app", "instrument": "csat_1_5", "score": 4,
        "touchpoint": "checkout", "channel": "web",
    }  # fmt: skip
    records = Records.of([encode(schema("SurveyResponse"), fields)], [offset], [1_000])
    archive._pending.add({TP: records}, 0.0)
    consumer.read = offset + 1


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
    assert store.offered == [[0]]
    assert not behind.done()
    for _ in range(2):
        store.answers.put_nowait(True)
    await behind
    assert await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == ([[0], [1]], [1, 2], {TP: 2})


async def test_what_stands_behind_a_batch_that_is_given_up_is_not_stored(archive):
    consumer, store = Consumer(), archive._delivery
    behind = await two(archive, consumer)
    for taken in (False, True):  # it would be taken, if it were offered
        store.answers.put_nowait(taken)
    await behind
    assert not await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == ([[0]], [], {})


async def test_partitions_that_go_take_what_waits_with_them(archive):
    consumer, store = Consumer(), archive._delivery
    behind = await two(archive, consumer)
    going = asyncio.create_task(archive._given_up([TP]))
    for _ in range(2):
        store.answers.put_nowait(True)
    await going
    await behind
    assert await archive._written()
    assert (store.offered, consumer.commits, archive.stored()) == ([[0]], [1], {})


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
