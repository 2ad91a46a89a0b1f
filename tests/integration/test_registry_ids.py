"""With a schema registry everything that we write carries its ids, and whoever reads it asks the registry."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from pipeline.client import Feedback
from pipeline.events.schemas import schema, subject_of
from pipeline.events.wire import header
from pipeline.stores.client import connect
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.registry import FakeRegistry
from tests.support.stores import set_up
from tests.support.topic_log import records

WRITTEN = {
    "touchpoints": {"TouchpointEvent"},
    "responses": {"SurveyResponse"},
    "resolutions": {"Resolution"},
    "cells": {"Cell"},
    "scores": {"Score"},
    "outcomes": {"Outcome", "Progress"},
    "dead_letters": {"DeadLetter"},
}


async def run(environment, *arguments):
    command = [sys.executable, "-m", "pipeline", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
async def test_everything_written_carries_the_ids_of_the_registry(settings, variables, apache_kafka, store):
    async with FakeRegistry() as registry:
        tables = {"kafka": {"bootstrap": apache_kafka}, "registry_url": registry.url}
        configured, environment = settings(**tables), variables(**tables)
        topics, prefix = Topics(configured.kafka.prefix), configured.kafka.prefix
        await ensure(configured)
        set_up(configured)
        refused = await run(environment, "worker", "--drain")
        assert "run `feedback setup`" in refused.stderr, refused.stderr[-2000:]
        assert "is missing" in (await run(environment, "setup", "--check")).stdout
        done = await run(environment, "setup")
        assert f"schema of {prefix}.cells-value: registered" in done.stdout, done.stderr
        assert (await run(environment, "setup", "--check")).returncode == 0
        await asyncio.to_thread(send, apache_kafka, prefix, registry.url)
        line = json.dumps({"type": "response", "source": "x", "instrument": "csat_1_5", "score": 4})
        assert "touchpoint" in (await emit(environment, line)).stderr
        assert (await emit(environment, line[:-1] + ', "touchpoint": "x", "channel": "y"}')).returncode == 0
        worked = await run(environment, "worker", "--drain")
        assert worked.returncode == 0, worked.stderr[-4000:]
        for topic, names in WRITTEN.items():
            want = {header(number) for number in ids(registry, prefix, names)}
            found = {record.value[:5] for record in await records(apache_kafka, getattr(topics, topic))}
            assert found - {header(0)} == want, topic
    with connect(configured, write=False) as client:
        told = dict(client.query("SELECT outcome, sum(n) FROM outcomes GROUP BY outcome").result_rows)
        assert told == {"counted": 5, "dead_letter": 1}
        (cells,) = client.query("SELECT sum(n) FROM cells FINAL WHERE metric = 'csat'").result_rows
        assert cells == (2,)
        assert client.query("SELECT reason FROM dead_letters FINAL").result_rows == [("unknown_schema",)]
        assert client.query("SELECT count() FROM resolutions FINAL").result_rows == [(1,)]
        assert client.query("SELECT uniqExact(stage) > 2 FROM progress").result_rows == [(1,)]


def ids(registry, prefix, names):
    return [registry.subjects[subject_of(schema(name), prefix)][0] for name in names]


def send(bootstrap, prefix, url):
    """Two touchpoints of a case and others by the client, and bytes that nobody can read."""
    from pipeline.client.message import Message

    with Feedback(bootstrap, source="x", prefix=prefix, registry_url=url) as feedback:
        for action in ("case_opened", "case_resolved"):
            feedback.touchpoint("help", action, channel="web", case_id="c")
        feedback.touchpoint("help", "seen", channel="web")
        feedback.csat("help", 5, channel="web")
        feedback.send(Message("response", "odd", b"odd", header(0) + b"x", 0))


async def emit(environment, line):
    command = [sys.executable, "-m", "pipeline", "emit"]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        env=environment,
        input=line,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
