"""What is in a topic: all records, decoded, in the order of each partition."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from pipeline.events.wire import decode


async def records(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Every record of a topic that exists, from its beginning to its present end."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        assert partitions, f"no partition of {topic} is known"
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for batch in (await consumer.getmany(partition, timeout_ms=500)).values():
                    found += batch
        return found
    finally:
        await consumer.stop()


async def events(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """The same, decoded."""
    return [decode(record.value)[1] for record in await records(bootstrap, topic)]


async def names(bootstrap: str) -> set[str]:
    """All topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        return set(await consumer.topics())
    finally:
        await consumer.stop()
