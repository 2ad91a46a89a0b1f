"""SIGKILL the worker at random, ten times, while awkward traffic flows: the numbers equal an independent recount."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.config import Settings
from pipeline.embedded.store import EmbeddedStore
from pipeline.stores.client import connect
from pipeline.stores.migrate import migrate
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.recount import Recount, published_cells, published_outcomes, read_topic, recount_responses
from tests.support.traffic import Traffic, produce

KILLS = 10
RECORDS = 60_000
SECONDS = 40.0


def migrate_the_store(configured: Settings) -> None:
    migrate(connect(configured, write=True, database="default"), configured.store.database)


def until_ready(environment: dict[str, str]) -> None:
    for _ in range(600):
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://{environment['FEEDBACK_METRICS__LISTEN']}/readyz"),
        ):
            return
        time.sleep(0.1)
    raise AssertionError("the worker never became ready")


def worker(environment: dict[str, str], log: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("feedback")), "worker", *more]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out)


async def test_ten_kills_lose_and_double_nothing(
    apache_kafka: str,
    settings: Callable[..., Settings],
    variables: Callable[..., dict[str, str]],
    store: EmbeddedStore,
    tmp_path: Path,
    seed: int,
) -> None:
    kafka = {"bootstrap": apache_kafka, "session_timeout": "6s"}
    often = {"snapshot_mb": 0.2}  # several snapshots between two kills
    configured, environment = settings(kafka=kafka), variables(kafka=kafka, worker=often)
    topics, rng, log = Topics(configured.kafka.prefix), random.Random(seed), tmp_path / "worker.log"
    await ensure(configured)
    migrate_the_store(configured)
    sending = asyncio.create_task(
        produce(apache_kafka, topics.responses, Traffic(seed), RECORDS, RECORDS / SECONDS)
    )
    running = worker(environment, log)
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(1.0, 6.0))
        assert running.poll() is None, log.read_text()[-4000:]
        running.send_signal(signal.SIGKILL)
        running.wait()
        running = worker(environment, log)
    await sending
    await asyncio.to_thread(
        until_ready, environment
    )  # before that SIGTERM just ends it, as it ends any program
    running.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(running.wait, 20) == 0, log.read_text()[-4000:]
    drained = worker(environment, log, "--drain")
    assert await asyncio.to_thread(drained.wait, 60) == 0, log.read_text()[-4000:]
    expected = await recount_responses(apache_kafka, topics.responses)
    await _compare_topics(apache_kafka, topics, expected)
    _compare_tables(configured, topics, expected)


async def _compare_topics(bootstrap: str, topics: Topics, expected: Recount) -> None:
    assert expected.read == RECORDS
    assert {outcome for _, _, outcome in expected.outcomes} == {
        *("counted", "retracted", "duplicate", "stale", "late", "dead_letter")
    }
    assert await published_outcomes(bootstrap, topics.outcomes, topics.responses) == expected.outcomes
    assert await published_cells(bootstrap, topics.cells) == expected.cells
    dead = await read_topic(bootstrap, topics.dead_letters)
    assert len({value for rows in dead.values() for _, _, value in rows}) == len(expected.dead)


def _compare_tables(configured: Settings, topics: Topics, expected: Recount) -> None:
    client = connect(configured, write=False)
    outcomes = client.query(
        "SELECT partition, toUInt32(day), outcome, n FROM outcomes WHERE topic = {topic:String}",
        parameters={"topic": topics.responses},
    ).result_rows
    assert {(partition, day, outcome): n for partition, day, outcome, n in outcomes} == dict(
        expected.outcomes
    )
    cells = client.query(
        "SELECT metric, instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60) AS minute, bin, "
        "sum(n) AS responses FROM cells FINAL GROUP BY ALL HAVING responses != 0"
    ).result_rows
    assert {tuple(row[:-1]): row[-1] for row in cells} == dict(expected.cells)
    dead = client.query("SELECT partition, offset FROM dead_letters FINAL").result_rows
    assert {tuple(row) for row in dead} == expected.dead
    stored = client.query("SELECT count() FROM responses FINAL").result_rows[0][0]
    assert stored == expected.read - len(expected.dead)
