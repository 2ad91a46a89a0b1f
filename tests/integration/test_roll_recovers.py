"""SIGKILL the worker while days of event time pass: the roll comes back from snapshots and cut deltas."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.config import Settings
from pipeline.events import wire
from pipeline.measures.cells import Series
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.recount import published_cells, published_outcomes, read_topic, recount_responses
from tests.support.traffic import DAY_MS, Pair, Traffic, produce

RECORDS = 6_000
SECONDS = 9.0
DAYS = 3


class Days(Traffic):
    """Days of answers in a few seconds, some of which are edited days later."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._sent = 0
        self._of_before: list[dict[str, Any]] = []

    def next(self) -> Pair:
        self._sent += 1
        if self._rng.random() < 0.04 and self._of_before:
            old = self._rng.choice(self._of_before)
            return self._pair(old | self._edit(old) | {"revision": 4, "occurred_at": old["occurred_at"]})
        pair = super().next()
        if self._rng.random() < 0.1 and self._recent:
            self._of_before.append(self._recent[-1])
        return pair

    def _time(self, *, late: bool) -> int:
        return super()._time(late=late) - round((1 - self._sent / RECORDS) * DAYS * DAY_MS)


def worker(environment: dict[str, str], log: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline", "worker", "--only", "tally,roll", *more]
    with log.open("ab") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out)


def until_ready(environment: dict[str, str]) -> None:
    url = f"http://{environment['FEEDBACK_METRICS__LISTEN']}/readyz"
    for _ in range(600):
        with suppress(OSError), urllib.request.urlopen(url):
            return
        time.sleep(0.1)
    raise AssertionError("the worker never became ready")


async def begins(bootstrap: str, topic: str, partitions: int = 4) -> tuple[list[int], list[int]]:
    """First offsets kept, and end offsets."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    places = [TopicPartition(topic, p) for p in range(partitions)]
    begin, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    await consumer.stop()
    return [begin[tp] for tp in places], [end[tp] for tp in places]


async def test_the_roll_comes_back_from_snapshots_and_cells_have_parts(
    apache_kafka: str,
    settings: Callable[..., Settings],
    variables: Callable[..., dict[str, str]],
    tmp_path: Path,
    seed: int,
) -> None:
    kafka, often = {"bootstrap": apache_kafka, "session_timeout": "6s"}, {"snapshot_mb": 0.02}
    configured, environment = settings(kafka=kafka), variables(kafka=kafka, worker=often)
    topics, rng, log = Topics(configured.kafka.prefix), random.Random(seed), tmp_path / "worker.log"
    await ensure(configured)
    running, traffic = worker(environment, log), Days(seed)
    for _ in range(DAYS):  # a day each, and in the middle of it the worker is killed
        await asyncio.to_thread(until_ready, environment)
        sending = asyncio.create_task(
            produce(apache_kafka, topics.responses, traffic, RECORDS // DAYS, RECORDS / SECONDS)
        )
        await asyncio.sleep(rng.uniform(1.0, SECONDS / DAYS))
        assert running.poll() is None, log.read_text()[-4000:]
        running.send_signal(signal.SIGKILL)
        running.wait()
        running = worker(environment, log)
        await sending
    await asyncio.to_thread(until_ready, environment)
    running.kill()
    running.wait()
    for _ in range(2):  # the second one finds everything done
        _, ends = await begins(apache_kafka, topics.cells)
        drained = worker(environment, log, "--drain")
        assert await asyncio.to_thread(drained.wait, 120) == 0, log.read_text()[-4000:]
    expected = await recount_responses(apache_kafka, topics.responses)
    assert expected.read == RECORDS
    assert await published_outcomes(apache_kafka, topics.outcomes, topics.responses) == expected.outcomes
    assert await published_cells(apache_kafka, topics.cells) == expected.cells
    await _was_cut_and_had_parts(apache_kafka, topics, sum(ends))


async def _was_cut_and_had_parts(bootstrap: str, topics: Topics, before: int) -> None:
    deltas, roll = await begins(bootstrap, topics.deltas), await begins(bootstrap, topics.roll)
    used = [q for q, end in enumerate(deltas[1]) if end]
    assert all(deltas[0][q] and roll[0][q] for q in used), (deltas, roll)
    parts: defaultdict[str, set[int]] = defaultdict(set)
    for rows in (await read_topic(bootstrap, topics.cells)).values():
        for key, part in (_cell_and_part(value) for _, _, value in rows):
            parts[key].add(part)
    several = sum(len(one) > 1 for one in parts.values())
    told = sum((await begins(bootstrap, topics.cells))[1])
    print(f"deltas {deltas}, snapshots {roll}, {len(parts)} cells, {several} of them in several parts")
    print(f"{before} told, {told - before} again when nothing was new")
    assert several, "nothing was changed that had been closed"
    assert told - before < len(parts), "a recovery tells only what may not have been told"


def _cell_and_part(value: bytes | None) -> tuple[str, int]:
    cell = wire.decode(value or b"")[1]
    return str([cell[name] for name in (*Series._fields, "bucket", "bin")]), cell["part"]
