"""The laws that everything else stands on, over both brokers: the embedded one and Apache Kafka itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import OffsetOutOfRangeError

from pipeline.config import Settings
from pipeline.errors import FeedbackError
from pipeline.events.partition import partition_of
from pipeline.streams.connection import client_options
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics

Build = Callable[..., Settings]
PARTITIONS = 4


@pytest.fixture
def on_broker(settings: Build, kafka: str) -> Settings:
    """The configuration of a test, on one of the brokers."""
    return settings(kafka={"bootstrap": kafka, "partitions": PARTITIONS})


@pytest.fixture
async def topics(on_broker: Settings) -> Topics:
    """All topics, made by setup."""
    await ensure(on_broker)
    return Topics(on_broker.kafka.prefix)


@asynccontextmanager
async def producer(settings: Settings, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    options = {"acks": "all", "enable_idempotence": True, "max_request_size": 8 << 20, **more}
    one = AIOKafkaProducer(**client_options(settings), **options)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


@asynccontextmanager
async def consumer(settings: Settings, **more: Any) -> AsyncIterator[AIOKafkaConsumer]:
    options = {"enable_auto_commit": False, "auto_offset_reset": "earliest", **more}
    one = AIOKafkaConsumer(**client_options(settings), **options)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


@asynccontextmanager
async def administrator(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    one = AIOKafkaAdminClient(**client_options(settings))
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def read(settings: Settings, place: TopicPartition, count: int, start: int = 0) -> list[Any]:
    """`count` records of one partition from `start` on."""
    async with consumer(settings) as one:
        one.assign([place])
        one.seek(place, start)
        return [await one.getone() for _ in range(count)]


async def configs_of(settings: Settings, topic: str) -> dict[str, str]:
    async with administrator(settings) as admin:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def test_setup_makes_every_topic_as_it_has_to_be(on_broker, topics):
    for spec in topics.all_topics():
        present = await configs_of(on_broker, spec.name)
        assert {key: present[key] for key in spec.configs} == spec.configs


async def test_setup_again_changes_nothing(on_broker, topics):
    report = await ensure(on_broker)
    assert report.complete


async def test_check_only_reports(on_broker):
    report = await ensure(on_broker, check=True)
    assert set(report.missing) == {spec.name for spec in Topics(on_broker.kafka.prefix).all_topics()}
    async with administrator(on_broker) as admin:
        assert not set(report.missing) & set(await admin.list_topics())


async def test_setup_refuses_another_partition_count(on_broker, topics, settings, kafka):
    resized = settings(kafka={"bootstrap": kafka, "partitions": PARTITIONS + 1})
    with pytest.raises(
        FeedbackError, match=r"kafka\.partitions is 5, but .* has 4: the count is fixed for good"
    ):
        await ensure(resized)


async def test_setup_mends_a_setting_and_leaves_the_others(on_broker, topics):
    async with administrator(on_broker) as admin:
        theirs = {"retention.ms": "1000", "min.cleanable.dirty.ratio": "0.25"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.responses, theirs)])
    await until_config(on_broker, topics.responses, "retention.ms", "1000")
    report = await ensure(on_broker)
    assert any(line.startswith(f"{topics.responses}: retention.ms 1000 -> ") for line in report.changed)
    await until_config(on_broker, topics.responses, "retention.ms", str(7 * 86_400_000))
    present = await configs_of(on_broker, topics.responses)
    assert present["min.cleanable.dirty.ratio"] == "0.25"
    assert present["message.timestamp.type"] == "LogAppendTime"


async def until_config(settings: Settings, topic: str, key: str, value: str) -> None:
    """A change of settings is answered before every part of the broker knows it."""
    for _ in range(100):
        if (await configs_of(settings, topic))[key] == value:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{key} of {topic} never became {value}")


async def test_no_broker_is_one_sentence(settings):
    nowhere = settings(kafka={"bootstrap": "127.0.0.1:1"})
    with pytest.raises(FeedbackError, match=r"no Kafka broker answers at 127\.0\.0\.1:1: start one"):
        await ensure(nowhere)


async def test_the_broker_gives_the_time(on_broker, topics):
    before = int(time.time() * 1000)
    async with producer(on_broker) as one:
        sent = await one.send_and_wait(topics.responses, b"x", partition=0, timestamp_ms=1_000)
    after = int(time.time() * 1000)
    (record,) = await read(on_broker, TopicPartition(topics.responses, 0), 1, sent.offset)
    assert before <= record.timestamp <= after
    assert record.timestamp_type == 1  # LogAppendTime


async def test_acknowledged_offsets_are_consecutive_and_hold_what_was_sent(on_broker, topics):
    async with producer(on_broker, linger_ms=2) as one:
        futures = [await one.send(topics.journal_responses, b"%d" % i, partition=1) for i in range(500)]
        offsets = [sent.offset for sent in await asyncio.gather(*futures)]
    assert offsets == list(range(offsets[0], offsets[0] + 500))
    place = TopicPartition(topics.journal_responses, 1)
    records = await read(on_broker, place, 500, offsets[0])
    assert [(r.offset, r.value) for r in records] == [(o, b"%d" % i) for i, o in enumerate(offsets)]


async def test_delete_records_moves_the_start_of_the_log(on_broker, topics):
    place = TopicPartition(topics.deltas, 2)
    async with producer(on_broker) as one:
        for i in range(20):
            await one.send_and_wait(topics.deltas, b"%d" % i, partition=2)
    async with administrator(on_broker) as admin:
        low = await admin.delete_records({place: RecordsToDelete(before_offset=12)})
    assert low == {place: 12}
    async with consumer(on_broker, auto_offset_reset="none") as one:
        assert await one.beginning_offsets([place]) == {place: 12}
        assert await one.end_offsets([place]) == {place: 20}
        one.assign([place])
        one.seek(place, 3)
        with pytest.raises(OffsetOutOfRangeError):
            await one.getone()
    assert [r.value for r in await read(on_broker, place, 8, 12)] == [b"%d" % i for i in range(12, 20)]


async def test_a_group_goes_on_where_it_committed(on_broker, topics, kafka_prefix):
    group = f"{kafka_prefix}.readers"
    async with producer(on_broker) as one:
        for i in range(10):
            await one.send_and_wait(topics.scores, b"%d" % i, partition=0)
    async with consumer(on_broker, group_id=group) as one:
        one.subscribe([topics.scores])
        for _ in range(6):
            await one.getone()
        await one.commit()
    async with consumer(on_broker, group_id=group) as one:
        one.subscribe([topics.scores])
        assert (await one.getone()).value == b"6"


@pytest.mark.parametrize("kibibytes", [900, 6_000])
async def test_large_records_pass_where_they_must(on_broker, topics, kibibytes):
    value = bytes(range(256)) * (4 * kibibytes)
    topic = topics.responses if kibibytes < 1_000 else topics.journal_responses
    async with producer(on_broker) as one:
        sent = await one.send_and_wait(topic, value, partition=3)
    (record,) = await read(on_broker, TopicPartition(topic, 3), 1, sent.offset)
    assert record.value == value


async def test_records_are_placed_by_the_java_default(on_broker, topics):
    keys = [b"", b"a", b"case-1", "köln".encode(), *(b"customer-%d" % i for i in range(60))]
    async with producer(on_broker) as one:
        sent = [await one.send_and_wait(topics.touchpoints, b"x", key=key) for key in keys]
    assert [place.partition for place in sent] == [partition_of(key, PARTITIONS) for key in keys]


def test_partition_of_is_what_the_java_client_says():
    # Printed by org.apache.kafka.common.utils.Utils of kafka-clients 4.3.0: toPositive(murmur2(key)) % 1024.
    java = {
        "": 217,
        "a": 636,
        "ab": 554,
        "abc": 539,
        "abcd": 500,
        "case-1": 808,
        "customer-42": 793,
        "köln": 413,
        "00000000-0000-0000-0000-000000000000": 893,
        "日本語": 970,
    }
    assert {key: partition_of(key.encode(), 1024) for key in java} == java
