"""A promise broken while nothing arrives: counted by a real worker, once, and taken back by whoever comes next."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.topic_log import events

HOUR = 3_600_000
SLA = {"high": {"target": "1h"}}


@contextmanager
def worker(environment, log):
    with log.open("ab") as out:
        command = [sys.executable, "-m", "pipeline", "worker", "--only", "tally,roll"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def tell(bootstrap, topic, action, at):
    record = {"event_id": f"{action} {at}", "occurred_at": at, "source": "desk", "touchpoint": "support"}
    record |= {"action": action, "channel": "phone", "case_id": "c-1", "priority": "high"}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    value = wire.encode(schema("TouchpointEvent"), record)
    await producer.send_and_wait(topic, value, key=b"c-1", partition=partition_of(b"c-1", 4))
    await producer.stop()


def shown(environment):
    """(responses of the breach rate, the rate, open cases) as /metrics has them; None where there is no sample."""
    try:
        with urllib.request.urlopen(
            f"http://{environment['FEEDBACK_METRICS__LISTEN']}/metrics", timeout=5
        ) as got:
            text = got.read().decode()
    except OSError:
        return None
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("metric") == "sla_breach" and (labels["window"], labels["touchpoint"]) == (
                "24h",
                "support",
            ):
                if labels["channel"] == labels["segment"] == "":
                    found[sample.name] = sample.value
            elif sample.name == "feedback_open_cases":
                found[sample.name] = sample.value
    return tuple(map(found.get, ("feedback_score_responses", "feedback_score", "feedback_open_cases")))


async def until(environment, wanted, log):
    end = time.monotonic() + 90
    while (seen := await asyncio.to_thread(shown, environment)) != wanted:
        assert time.monotonic() < end, f"{seen}, not {wanted}\n{log.read_text()[-4000:]}"
        await asyncio.sleep(0.2)


async def follow_up(configured, log, *, retracted):
    """The newest revision of the only follow-up there is, once it says so; a revision never says two things."""
    end = time.monotonic() + 90
    while True:
        found = await events(configured.kafka.bootstrap, Topics(configured.kafka.prefix).follow_ups)
        newest = max(found, key=lambda one: one["revision"], default=None)
        if newest is not None and newest["retracted"] is retracted:
            break
        assert time.monotonic() < end, log.read_text()[-4000:]
        await asyncio.sleep(0.2)
    assert {one["follow_up_id"] for one in found} == {newest["follow_up_id"]}
    assert len({str(one) for one in found}) == len({one["revision"] for one in found})
    return newest


def milliseconds(at):
    return round(at.timestamp() * 1000)


@pytest.mark.slow
async def test_a_breach_counts_while_nothing_arrives_and_is_taken_back_after_a_crash(
    apache_kafka, settings, variables, tmp_path
):
    given = {"kafka": {"bootstrap": apache_kafka, "session_timeout": "6s"}, "sla": SLA}
    configured, environment, log = settings(**given), variables(**given), tmp_path / "worker.log"
    await ensure(configured)
    topic, now = Topics(configured.kafka.prefix).touchpoints, int(time.time() * 1000)
    await tell(apache_kafka, topic, "case_opened", now - 2 * HOUR)
    with worker(environment, log):
        await until(environment, (1, 1.0, 1), log)
        called = await follow_up(configured, log, retracted=False)
    due = now - 2 * HOUR + HOUR
    assert called["follow_up_id"] == f"c-1/sla_breach/{due}"
    assert (milliseconds(called["occurred_at"]), milliseconds(called["due_at"])) == (due, due + 4 * HOUR)
    await tell(apache_kafka, topic, "case_resolved", now - 2 * HOUR + HOUR // 2)
    with worker(environment, log) as process:
        await until(environment, (1, 0.0, None), log)
        assert (await follow_up(configured, log, retracted=True))["revision"] > called["revision"]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 30) == 0
