"""Topics of one contender: made under a prefix of its own, filled with the same bytes, checked, deleted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bench.responses import Responses
from pipeline.config import Settings
from pipeline.events import wire
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics

_BATCH_BYTES = 128 << 10


async def fill(settings: Settings, sent: Responses) -> None:
    """Make the topics of this prefix and put the responses into theirs; all are acknowledged when this returns."""
    await ensure(settings)
    topic = Topics(settings.kafka.prefix).responses
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, acks="all", max_batch_size=_BATCH_BYTES
    )
    await producer.start()
    try:
        partitions = range(settings.kafka.partitions)
        await asyncio.gather(*(_fill_partition(producer, topic, p, sent) for p in partitions))
    finally:
        await producer.stop()


async def _fill_partition(producer: AIOKafkaProducer, topic: str, partition: int, sent: Responses) -> None:
    acknowledged = [
        await producer.send_batch(batch, topic, partition=partition)
        for batch in _batches(producer, sent, np.flatnonzero(sent.partition == partition).tolist())
    ]
    await asyncio.gather(*acknowledged)


def _batches(producer: AIOKafkaProducer, sent: Responses, rows: list[int]) -> Iterator[Any]:
    batch = producer.create_batch()
    for row in rows:
        key, value = sent.keys[row], sent.values[row]
        if batch.append(key=key, value=value, timestamp=None) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    if batch.record_count():
        yield batch


async def outcomes(settings: Settings) -> dict[str, int]:
    """Outcome -> records of the topic of responses, as the worker published it."""
    topics = Topics(settings.kafka.prefix)
    newest: dict[tuple[Any, ...], tuple[int, int]] = {}
    async for row in _rows(settings, topics.outcomes):
        if row.get("topic") == topics.responses:  # progress is told in the same topic
            place = (row["partition"], row["day"], row["outcome"])
            newest[place] = max(newest.get(place, (-1, 0)), (row["version"], row["n"]))
    found: Counter[str] = Counter()
    for (*_, outcome), (_, n) in newest.items():
        found[outcome] += n
    return {outcome: n for outcome, n in found.items() if n}


async def journal_records(settings: Settings) -> int:
    """How many records the journal of the responses holds, and held."""
    topic = Topics(settings.kafka.prefix).journal_responses
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, group_id=None)
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in range(settings.kafka.partitions)]
        return sum((await consumer.end_offsets(places)).values())
    finally:
        await consumer.stop()


async def _rows(settings: Settings, topic: str) -> Any:
    """Every decoded record of a topic."""
    places = [TopicPartition(topic, p) for p in range(settings.kafka.partitions)]
    bootstrap = settings.kafka.bootstrap
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    yield wire.decode(record.value)[1]
    finally:
        await consumer.stop()


async def drop(settings: Settings) -> None:
    """Delete every topic of this prefix, so that the next contender finds the broker as this one did."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    await admin.start()
    try:
        mine = [name for name in await admin.list_topics() if name.startswith(settings.kafka.prefix)]
        await admin.delete_topics(mine)
    finally:
        await admin.close()
