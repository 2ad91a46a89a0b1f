"""`feedback rewind` on Apache Kafka: not while somebody stores, and from the first record that is left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.errors import FeedbackError
from pipeline.stores.client import connect
from pipeline.streams.rewind import rewind, stored
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.stores import set_up
from tests.support.traffic import Traffic, produce


async def test_only_when_nobody_stores_and_then_all_of_it(settings, apache_kafka, seed):
    configured = settings(kafka={"bootstrap": apache_kafka})
    await ensure(configured)
    topic, group = Topics(configured.kafka.prefix).responses, f"{configured.kafka.prefix}.archive"
    await produce(apache_kafka, topic, Traffic(seed), 300, 1e6)
    storing = AIOKafkaConsumer(
        topic,
        bootstrap_servers=apache_kafka,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await storing.start()
    read = 0
    while read < 300:
        read += sum(map(len, (await storing.getmany(timeout_ms=200)).values()))
    await storing.commit()
    with pytest.raises(FeedbackError, match="stop all workers"):
        await rewind(configured, "archive", stored(configured))
    await storing.stop()

    assert await rewind(configured, "archive", stored(configured)) == 300
    asking = AIOKafkaConsumer(bootstrap_servers=apache_kafka, group_id=group, enable_auto_commit=False)
    await asking.start()
    kept = [await asking.committed(TopicPartition(topic, p)) for p in range(4)]
    await asking.stop()
    assert kept == [0, 0, 0, 0]


async def test_a_broker_that_is_away_is_a_sentence(settings):
    configured = settings(kafka={"bootstrap": "127.0.0.1:9"})
    with pytest.raises(FeedbackError, match="start it"):
        await asyncio.wait_for(rewind(configured, "archive", stored(configured)), 30)


async def test_not_with_topics_that_are_older_than_the_store(settings, variables, apache_kafka, store):
    """Their next records would get the positions of rows that are there."""
    kafka = {"bootstrap": apache_kafka}
    configured = settings(kafka=kafka)
    await ensure(configured)
    set_up(configured)
    with connect(configured, write=True) as client:
        row = (0, 5_000, datetime.now(UTC))
        client.insert("responses", [row], ["kafka_partition", "kafka_offset", "kafka_time"])
    command = [sys.executable, "-m", "pipeline", "rewind"]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env=variables(kafka=kafka),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1
    assert "run feedback reset instead" in done.stderr
