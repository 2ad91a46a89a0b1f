"""Contender: aiokafka alone, `getmany` and nothing else. What a Python process can fetch at best, undecoded."""

from __future__ import annotations

import argparse
import logging

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline import logs

log = logging.getLogger("bench")
_AT_ONCE = 10_000


async def drain(bootstrap: str, topic: str, partitions: int, n: int) -> None:
    """Fetch n records, then end."""
    places = [TopicPartition(topic, p) for p in range(partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign(places)
    seen = 0
    while seen < n:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=_AT_ONCE)).values():
            if not seen:
                log.info("first batch")
            seen += len(records)
    log.info("drained")
    await consumer.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, kind in (("bootstrap", str), ("topic", str), ("partitions", int), ("records", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    given = parser.parse_args()
    logs.setup(as_json=True)
    uvloop.run(drain(given.bootstrap, given.topic, given.partitions, given.records))
