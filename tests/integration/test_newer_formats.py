"""A worker that meets what a newer one wrote ends with a sentence and an exit code; it neither skips nor retries."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.journal.pack import VERSION, pack
from pipeline.streams.app import BROKEN
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics


@pytest.mark.parametrize("topic", ["journal_responses", "journal_touchpoints", "deltas"])
def test_a_worker_refuses_what_a_newer_one_wrote(settings, variables, embedded_kafka, topic):
    kafka = {"bootstrap": embedded_kafka, "partitions": 1}
    configured = settings(kafka=kafka)
    asyncio.run(ensure(configured))
    name = getattr(Topics(configured.kafka.prefix), topic)
    newer = pack({"kind": "something new"}, {})
    asyncio.run(put(embedded_kafka, name, newer[:2] + bytes([VERSION + 1]) + newer[3:]))
    command = [sys.executable, "-m", "pipeline", "--log-json", "worker", "--only", "tally,roll"]
    done = subprocess.run(
        command, env=variables(kafka=kafka), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == BROKEN, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (last,) = [line for line in lines if line["level"] == "critical"]
    assert last["message"] == "the worker cannot go on"
    assert "upgrade" in last["reason"]
    assert str(VERSION + 1) in last["reason"]
    assert "Traceback" not in done.stderr


async def put(bootstrap, topic, value):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, value, partition=0)
    await producer.stop()
