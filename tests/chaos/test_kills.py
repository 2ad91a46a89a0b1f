"""SIGKILL the worker at random, ten times, while awkward traffic flows: the numbers equal an independent recount."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.config import Settings
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.recount import published_cells, published_outcomes, read_topic, recount_responses
from tests.support.traffic import Traffic, produce

KILLS = 10
RECORDS = 60_000
SECONDS = 40.0


def worker(environment: dict[str, str], log: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline.cli", "worker", *more]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out)


async def test_ten_kills_lose_and_double_nothing(
    apache_kafka: str,
    settings: Callable[..., Settings],
    variables: Callable[..., dict[str, str]],
    tmp_path: Path,
    seed: int,
) -> None:
    kafka = {"bootstrap": apache_kafka, "session_timeout": "6s"}
    configured, environment = settings(kafka=kafka), variables(kafka=kafka)
    topics, rng, log = Topics(configured.kafka.prefix), random.Random(seed), tmp_path / "worker.log"
    await ensure(configured)
    sending = asyncio.create_task(
        produce(apache_kafka, topics.responses, Traffic(seed), RECORDS, RECORDS / SECONDS)
    )
    running = worker(environment, log, "--only", "tally,roll")
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(1.0, 6.0))
        assert running.poll() is None, log.read_text()[-4000:]
        running.send_signal(signal.SIGKILL)
        running.wait()
        running = worker(environment, log, "--only", "tally,roll")
    await sending
    running.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(running.wait, 20) == 0, log.read_text()[-4000:]
    drained = worker(environment, log, "--only", "tally,roll", "--drain")
    assert await asyncio.to_thread(drained.wait, 60) == 0, log.read_text()[-4000:]
    await _compare(apache_kafka, topics)


async def _compare(bootstrap: str, topics: Topics) -> None:
    expected = await recount_responses(bootstrap, topics.responses)
    assert expected.read == RECORDS
    assert {outcome for _, _, outcome in expected.outcomes} == {
        *("counted", "retracted", "duplicate", "stale", "late", "dead_letter")
    }
    assert await published_outcomes(bootstrap, topics.outcomes, topics.responses) == expected.outcomes
    assert await published_cells(bootstrap, topics.cells) == expected.cells
    dead = await read_topic(bootstrap, topics.dead_letters)
    assert len({value for rows in dead.values() for _, _, value in rows}) == len(expected.dead)
