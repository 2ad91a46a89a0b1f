"""The laws of a log, over every log there is: in memory, the embedded broker, Apache Kafka."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.config import Settings
from pipeline.journal.log import Log, OutOfRange
from pipeline.journal.outbox import Send
from pipeline.streams.connection import client_options
from pipeline.streams.kafka_log import Broker, KafkaLog
from pipeline.streams.kafka_outputs import KafkaOutputs
from pipeline.streams.setup import ensure
from tests.support.memory_log import MemoryLog

MakeLog = Callable[[], AsyncIterator[Log]]


@asynccontextmanager
async def connected(configured: Settings) -> AsyncIterator[Broker]:
    await ensure(configured)
    broker = Broker(client_options(configured))
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


@pytest.fixture(params=["memory", "embedded", "apache"])
async def log(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> AsyncIterator[Log]:
    if request.param == "memory":
        yield MemoryLog()
        return
    address = request.getfixturevalue(f"{request.param}_kafka")
    configured = settings(kafka={"bootstrap": address})
    async with connected(configured) as broker:
        yield KafkaLog(broker, f"{configured.kafka.prefix}.journal.responses", 1)


async def everything(log: Log, start: int, stop: int) -> list[tuple[int, bytes | None]]:
    found: list[tuple[int, bytes | None]] = []
    while start < stop:
        entries, start = await log.read(start, stop)
        found += [(entry.offset, entry.value) for entry in entries]
    return found


async def test_a_log_keeps_its_identity(log: Log) -> None:
    before = await log.identity()
    await log.append(b"a")
    assert await log.identity() == before


async def test_what_is_appended_is_read_at_the_acknowledged_offset(log: Log) -> None:
    values = [b"a" * size for size in (1, 10, 900_000, 3)]
    offsets = [await log.append(value) for value in values]
    assert offsets == [0, 1, 2, 3]
    assert await log.bounds() == (0, 4)
    assert await everything(log, 0, 4) == list(zip(offsets, values, strict=True))


async def test_reading_stops_where_it_is_told_and_goes_back(log: Log) -> None:
    for k in range(6):
        await log.append(b"%d" % k)
    assert [offset for offset, _ in await everything(log, 1, 4)] == [1, 2, 3]
    assert [offset for offset, _ in await everything(log, 0, 2)] == [0, 1]


async def test_a_truncated_offset_is_out_of_range(log: Log) -> None:
    for k in range(6):
        await log.append(b"%d" % k)
    await log.truncate(4)
    assert await log.bounds() == (4, 6)
    with pytest.raises(OutOfRange):
        await log.read(1, 6)
    assert [offset for offset, _ in await everything(log, 4, 6)] == [4, 5]


async def test_offsets_of_several_topics_are_asked_for_at_once(
    kafka: str, settings: Callable[..., Settings]
) -> None:
    """None of them is known to the connection yet; it would rest after each, in this test for too long."""
    configured = settings(kafka={"bootstrap": kafka})
    await ensure(configured)
    prefix = configured.kafka.prefix
    places = [
        TopicPartition(f"{prefix}.{topic}", p) for topic in ("responses", "deltas", "cells") for p in (0, 1)
    ]
    broker = Broker({**client_options(configured), "retry_backoff_ms": 15_000})
    await broker.start()
    try:
        await KafkaLog(broker, *places[3]).append(b"a")
        async with asyncio.timeout(12):
            offsets = await broker.offsets(places)
    finally:
        await broker.stop()
    assert offsets == {tp: (0, int(tp == places[3])) for tp in places}


async def test_a_reader_that_ends_at_once_cancels_nobody(
    apache_kafka: str, settings: Callable[..., Settings]
) -> None:
    configured = settings(kafka={"bootstrap": apache_kafka})
    async with connected(configured) as broker:
        for _ in range(20):
            log = KafkaLog(broker, f"{configured.kafka.prefix}.responses", 0)
            log._reader = await broker.reader(log._tp)
            await log.close()
        assert await log.bounds() == (0, 0)


async def test_markers_of_transactions_are_passed_over(
    apache_kafka: str, settings: Callable[..., Settings]
) -> None:
    configured = settings(kafka={"bootstrap": apache_kafka})
    topic = f"{configured.kafka.prefix}.responses"
    async with connected(configured) as broker:
        producer = AIOKafkaProducer(**client_options(configured), transactional_id=topic)
        await producer.start()
        for k in range(3):
            async with producer.transaction():
                await producer.send(topic, b"%d" % k, partition=0)
        await producer.stop()
        log = KafkaLog(broker, topic, 0)
        assert await log.bounds() == (0, 6)
        assert await everything(log, 0, 6) == [(0, b"0"), (2, b"1"), (4, b"2")]


async def test_many_small_records_and_sends_in_order(kafka: str, settings: Callable[..., Settings]) -> None:
    configured = settings(kafka={"bootstrap": kafka})
    async with connected(configured) as broker:
        outputs = KafkaOutputs(lambda: broker.outputs, configured.kafka.prefix)
        pairs = [(b"key", b"%d" % k) for k in range(5_000)]
        await outputs.send_many("cells", 2, pairs)
        offsets = await outputs.send(
            [Send("cells", 2, [(b"key", b"last")]), Send("scores", 0, [(b"k", b"first")])]
        )
        assert offsets == [5_000, 0]
        log = KafkaLog(broker, f"{configured.kafka.prefix}.cells", 2)
        assert [value for _, value in await everything(log, 0, 5_001)] == [*(v for _, v in pairs), b"last"]
        # more than a batch of both, one of them larger than a batch, and every offset is that of its own
        values = [b"%d" % k * 1000 for k in range(300)] + [b"x" * (1 << 20), b"behind"]
        sends = [Send("dead-letters", k % 2, [(None, value)]) for k, value in enumerate(values)]
        offsets = await outputs.send(sends)
        for p in range(2):
            log = KafkaLog(broker, f"{configured.kafka.prefix}.dead-letters", p)
            assert await everything(log, 0, 151) == list(zip(offsets[p::2], values[p::2], strict=True))


async def test_many_logs_share_one_connection_and_none_is_left_open(
    apache_kafka: str, settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    configured = settings(kafka={"bootstrap": apache_kafka})
    async with connected(configured) as broker:
        logs = [KafkaLog(broker, f"{configured.kafka.prefix}.deltas", p) for p in range(4)]
        assert await asyncio.gather(*(one.bounds() for one in logs)) == [(0, 0)] * 4
        await logs[0].append(b"x")
        await logs[0].append(b"y")
        assert (await logs[0].read(0, 2))[0]  # perhaps not to its end, so that a reader stays open
        del logs
    gc.collect()
    assert "Unclosed" not in caplog.text
