"""Rows of what can be read: a partition with a schema that nobody knows yet waits, and the others do not."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from pipeline.events.records import Records
from pipeline.events.schemas import Unseen, by_ids, schema
from pipeline.events.wire import encode, header
from pipeline.measures.instruments import SHIPPED, bounds
from pipeline.streams.readable import Readable
from pipeline.streams.rows import sources
from pipeline.streams.tables import Tables
from pipeline.streams.topics import Topics

T = Topics("feedback")
KNOWN, STRANGE, OTHER = (TopicPartition(T.responses, p) for p in range(3))
FIELDS = {
    "response_id": "r", "occurred_at": 1_000, "source": "app", "instrument": "csat_1_5", "score": 4,
    "touchpoint": "checkout", "channel": "web",
}  # fmt: skip


class Consumer:
    """Remembers where it was sent back to, and what it does not fetch."""

    def __init__(self):
        self.at, self.stopped = {}, set()

    def seek(self, tp, offset):
        self.at[tp] = offset

    def pause(self, tp):
        self.stopped.add(tp)

    def resume(self, tp):
        self.stopped.discard(tp)


class Registry:
    """Knows an id once it has answered."""

    def __init__(self):
        self.known, self.answers = {}, asyncio.Event()

    def lookup(self, ids):
        if unseen := [one for one in ids if one == 77 and one not in self.known]:
            raise Unseen(unseen)
        return by_ids([one for one in ids if one != 77]) | {k: v for k, v in self.known.items() if k in ids}

    async def learn(self, ids):
        await self.answers.wait()
        self.known |= dict.fromkeys(ids, schema("SurveyResponse"))


def record(offset, strange=False):
    value = encode(schema("SurveyResponse"), FIELDS)
    return Records.of([header(77) + value[5:] if strange else value], [offset], [1_000])


def fetched():
    return {KNOWN: [record(5)], STRANGE: [record(6), record(7, strange=True)], OTHER: [record(8)]}


@pytest.fixture
async def asked():
    registry, consumer = Registry(), Consumer()
    tables = Tables(sources(T, bounds(SHIPPED)), registry.lookup)
    return registry, consumer, Readable(tables, registry.learn, patience=0.05)


async def test_what_waits_for_a_schema_is_read_again_and_the_rest_has_rows(asked):
    registry, consumer, readable = asked
    some = fetched()
    rows = await readable.rows(consumer, some, lambda: True)
    assert rows["responses"]["kafka_offset"].to_list() == [5, 8]
    assert some.keys() == {KNOWN, OTHER}
    assert (consumer.at, consumer.stopped) == ({STRANGE: 6}, {STRANGE})
    assert (STRANGE in readable, KNOWN in readable) == (False, True)
    registry.answers.set()
    async with asyncio.timeout(5):
        while STRANGE not in readable:  # noqa: ASYNC110 - nobody else waits for it
            await asyncio.sleep(0.01)
    assert (STRANGE in readable, consumer.stopped) == (True, set())
    rows = await readable.rows(consumer, fetched(), lambda: True)
    assert rows["responses"]["kafka_offset"].to_list() == [5, 6, 7, 8]


async def test_a_quick_answer_is_waited_for(asked):
    registry, consumer, readable = asked
    registry.answers.set()
    rows = await readable.rows(consumer, fetched(), lambda: True)
    assert (len(rows["responses"]), consumer.at) == (4, {})


async def test_after_a_rebalance_nobody_is_sent_back(asked):
    _, consumer, readable = asked
    rows = await readable.rows(consumer, fetched(), lambda: False)
    assert (len(rows["responses"]), consumer.at, consumer.stopped) == (2, {}, set())
    assert STRANGE in readable
