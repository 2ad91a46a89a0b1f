"""Brokers that start or die at bad moments, and clients of aiokafka that would never get over it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import NodeNotReadyError

from pipeline.streams.membership import begin, lost
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics


async def test_a_broker_that_names_no_brokers_is_not_there_yet():
    async def start():
        pass

    client = SimpleNamespace(start=start, _client=SimpleNamespace(cluster=ClusterMetadata()))
    with pytest.raises(NodeNotReadyError):
        await begin(client)


@pytest.fixture
async def member(apache_kafka, settings):
    configured = settings(kafka={"bootstrap": apache_kafka})
    await ensure(configured)
    consumer = AIOKafkaConsumer(bootstrap_servers=apache_kafka, group_id=configured.kafka.prefix)
    await begin(consumer)
    yield consumer, Topics(configured.kafka.prefix).responses
    await consumer.stop()


async def test_a_member_of_a_group_is_not_lost(member):
    consumer, topic = member
    consumer.subscribe([topic])
    await consumer.getmany(timeout_ms=500)
    assert not lost(consumer)


async def test_a_bug_in_the_talk_with_the_group_is_seen(member, monkeypatch):
    consumer, topic = member

    async def fails(*_):
        raise AssertionError("Did we not perform bootstrap?")

    monkeypatch.setattr(consumer._client, "coordinator_lookup", fails)
    consumer.subscribe([topic])
    for _ in range(100):
        if lost(consumer):
            return
        await asyncio.sleep(0.1)
    pytest.fail("it looks alive")
