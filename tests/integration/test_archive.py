"""The archive over real brokers and the real store: each position stored once, through outages and rebalances."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from pipeline.embedded.store import EmbeddedStore, ensure_store
from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.events.wire import encode
from pipeline.stores.client import connect
from pipeline.streams import archive as archive_module
from pipeline.streams.along import Along
from pipeline.streams.archive import Archive
from pipeline.streams.pending import Pace
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.stores import set_up

PARTITIONS = 2
QUICK = Pace(seconds=0.1)


class Told:
    """What Prometheus would be told."""

    def __init__(self):
        self.rows = Counter()
        self.retries = Counter()
        self.up = None
        self.latencies = []

    def sink_rows(self, table, n):
        self.rows[table] += n

    def sink_flush(self, table, seconds):
        assert seconds > 0

    def sink_retry(self, code):
        self.retries[code] += 1

    def store_up(self, *, up):
        self.up = up

    def latency(self, stage, seconds):
        self.latencies.extend(seconds)


@pytest.fixture
def made(kafka, settings):
    """Settings of a broker with topics and of a store with tables; and that store."""
    yield from _made(settings(kafka={"bootstrap": kafka, "partitions": PARTITIONS}))


@pytest.fixture
def here(embedded_kafka, settings):
    """The same with the embedded broker, for what hangs on the store."""
    yield from _made(settings(kafka={"bootstrap": embedded_kafka, "partitions": PARTITIONS}))


@pytest.fixture
def there(apache_kafka, settings):
    """The same with Apache Kafka: the embedded broker does not always end a rebalance of two members."""
    yield from _made(settings(kafka={"bootstrap": apache_kafka, "partitions": PARTITIONS}))


def _made(settings):
    started = ensure_store(settings)
    set_up(settings)
    asyncio.run(ensure(settings))
    yield settings, started
    started.stop()


@asynccontextmanager
async def archiving(settings, told=None, **options):
    """An archive that runs, and ends by itself within the time that a worker gives it."""
    stop = asyncio.Event()
    archive = Archive(settings, told or Told(), **{"pace": QUICK, **options})
    running = asyncio.create_task(archive.run(stop))
    try:
        yield archive
    finally:
        stop.set()
        await asyncio.wait_for(running, 15)


@asynccontextmanager
async def producing(settings):
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, max_request_size=4 << 20)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(producer, topic, values, partition=0):
    """All of them acknowledged, in order; each has a key, as compacted topics want."""
    sent = [await producer.send(topic, value, b"%d" % n, partition) for n, value in enumerate(values)]
    for acknowledged in sent:
        await acknowledged


def response(identity, **more):
    fields = {
        "response_id": identity, "occurred_at": 1_000, "source": "app", "instrument": "csat_1_5", "score": 4,
        "touchpoint": "checkout", "channel": "web", "comment": "fast!",
    } | more  # fmt: skip
    return encode(schema("SurveyResponse"), fields)


def touchpoint(identity, **more):
    fields = {
        "event_id": identity, "occurred_at": 2_000, "source": "app", "touchpoint": "checkout", "channel": "web",
        "action": "order_paid", "segment": "", "attributes": {"a": "1", "b": "zwei"},
    } | more  # fmt: skip
    return encode(schema("TouchpointEvent"), fields)


def ask(settings, sql):
    with connect(settings, write=False) as client:
        return json.loads(client.raw_query(sql, fmt="JSON"))["data"]


async def stored(settings, table, count, where="1"):
    """Wait until `table` holds `count` rows; its rows."""
    for _ in range(300):
        (row,) = await asyncio.to_thread(
            ask, settings, f"SELECT count() AS n FROM {table} FINAL WHERE {where}"
        )
        if int(row["n"]) >= count:
            break
        await asyncio.sleep(0.1)
    rows = await asyncio.to_thread(ask, settings, f"SELECT * FROM {table} FINAL WHERE {where}")
    assert len(rows) == count
    return rows


async def test_every_topic_arrives_in_its_table_as_it_was_written(made):
    settings, _ = made
    topics, told = Topics(settings.kafka.prefix), Told()
    case = {
        "case_id": "c",
        "occurred_at": 9_000,
        "touchpoint": "support",
        "channel": "phone",
        "opened_at": 1_000,
    }
    place = {
        "metric": "csat",
        "instrument": "csat_1_5",
        "touchpoint": "checkout",
        "channel": "",
        "segment": "",
    }
    letter = {"topic": "t", "partition": 1, "offset": 5, "time": 7_000, "stage": "decode", "detail": "why"}
    outcome = {"topic": "t", "partition": 1, "day": 20_000, "outcome": "counted", "n": 8, "version": 11}
    cell = place | {
        "channel": "web",
        "segment": "none",
        "bucket": 60_000,
        "bin": 4,
        "part": 3,
        "n": 2,
        "total": 8.0,
    }
    async with producing(settings) as producer:
        await send(producer, topics.responses, [response("r", touchpoint_at=500, segment="new")], 1)
        await send(producer, topics.touchpoints, [touchpoint("e")])
        values = {
            topics.resolutions: ("Resolution", case | {"full_resolution_seconds": 8.0, "one_contact": None}),
            topics.dead_letters: ("DeadLetter", letter | {"reason": "malformed", "raw": b"\x00\xff\n"}),
            topics.outcomes: ("Outcome", outcome),
            topics.cells: ("Cell", cell | {"version": 12}),
            topics.scores: ("Score", place | {"time": 60_000, "window": "1h", "value": 0.5, "n": 2}),
        }
        for topic, (name, fields) in values.items():
            await send(producer, topic, [encode(schema(name), fields)])
    async with archiving(settings, told) as archive:
        (found,) = await stored(settings, "responses", 1)
        assert (found["response_id"], found["segment"], found["comment"]) == ("r", "new", "fast!")
        assert (found["occurred_at"], found["touchpoint_at"]) == (
            "1970-01-01 00:00:01.000",
            "1970-01-01 00:00:00.500",
        )
        assert (found["kafka_partition"], found["kafka_offset"], found["customer_id"]) == (1, 0, None)
        assert found["kafka_time"] > "2020"
        (found,) = await stored(settings, "touchpoints", 1)
        assert (found["attributes"], found["segment"]) == ({"a": "1", "b": "zwei"}, None)
        (found,) = await stored(settings, "resolutions", 1)
        assert (found["full_resolution_seconds"], found["one_contact"], found["reopens"]) == (8.0, None, 0)
        (found,) = await stored(settings, "cells", 1)
        assert (found["bucket"], found["n"], found["origin"]) == ("1970-01-01 00:01:00", 2, "live")
        (found,) = await stored(settings, "outcome_counts", 1)
        assert (found["day"], found["n"], found["version"]) == ("2024-10-04", 8, 11)
        (found,) = await stored(settings, "scores", 1)
        assert (found["time"], found["value"], found["lower"]) == ("1970-01-01 00:01:00.000", 0.5, None)
        (found,) = await stored(settings, "dead_letters", 1)
        (raw,) = ask(settings, "SELECT hex(raw) AS raw, offset FROM dead_letters")
        assert (raw["raw"], raw["offset"]) == ("00FF0A", 5)
        progress = await stored(settings, "progress", 8)
        assert {(row["stage"], row["topic"], row["offset"]) for row in progress} >= {
            ("archive", topics.responses, 0),
            ("tally", "t", 11),
        }
        assert archive.stored()[TopicPartition(topics.responses, 1)] == 1
        assert set(archive.stored()) == {
            TopicPartition(t, p) for t in archive.topics for p in range(PARTITIONS)
        }
    assert told.up is True
    assert told.rows["responses"] == told.rows["dead_letters"] == 1
    assert len(told.latencies) == 3


async def test_what_is_no_dead_letter_is_stored_and_nothing_else(made, seed):
    """Duplicates, old revisions and retractions are rows; garbage is not, and does not hold the rest up."""
    settings, _ = made
    topic, rng = Topics(settings.kafka.prefix).responses, random.Random(seed)
    good = [response(f"r{n % 50}", score=n % 5 + 1, revision=n % 3, retracted=n % 7 == 0) for n in range(400)]
    bad = [
        None, b"", b"garbage", rng.randbytes(60), good[0][:-3], response("x", score=9), response(""),
        response("x", instrument="nps_1_5"), response("x", channel=""), response("x", occurred_at=1 << 42),
        touchpoint("wrong topic"),
    ]  # fmt: skip
    values = [*good, *bad * 3]
    rng.shuffle(values)
    async with producing(settings) as producer:
        await send(producer, topic, values)
    async with archiving(settings):
        rows = await stored(settings, "responses", len(good))
    assert [int(row["kafka_offset"]) for row in sorted(rows, key=lambda row: int(row["kafka_offset"]))] == [
        place for place, value in enumerate(values) if value not in bad
    ]


async def test_what_a_tally_offers_is_stored_and_not_fetched(here):
    settings, _ = here
    topic = Topics(settings.kafka.prefix).responses
    now = int(time.time() * 1000)
    offered = Records.of([response(f"r{n}", source="tally") for n in range(30)], range(30), [now] * 30)

    class Offering(Along):
        """Has something as soon as anybody listens. Another source tells whose rows they are."""

        def want(self, partitions):
            super().want(partitions)
            self.offer(topic, 0, offered)

    async with producing(settings) as producer:
        await send(producer, topic, [response(f"r{n}") for n in range(50)])
    async with archiving(settings, along=Offering([topic])) as archive:
        rows = await stored(settings, "responses", 50)
        await _until(lambda: archive.stored().get(TopicPartition(topic, 0)) == 50)
    places = {int(row["kafka_offset"]): row["source"] for row in rows}
    assert places == {n: "tally" if n < 30 else "app" for n in range(50)}


async def test_a_crash_before_the_commit_stores_the_same_rows_again(here, monkeypatch):
    settings, _ = here
    topic, told = Topics(settings.kafka.prefix).responses, Told()
    async with producing(settings) as producer:
        await send(producer, topic, [response(f"r{n}") for n in range(300)])

    async def crashed(*_):
        """Nothing is committed."""

    with monkeypatch.context() as patch:
        patch.setattr(archive_module, "_commit", crashed)
        async with archiving(settings, told):
            await stored(settings, "responses", 300)
    async with archiving(settings, told) as second:
        await _until(lambda: second.stored().get(TopicPartition(topic, 0)) == 300)
    assert told.rows["responses"] == 600
    assert len({row["response_id"] for row in await stored(settings, "responses", 300)}) == 300
    async with archiving(settings, told) as third:
        await _until(lambda: third.stored().get(TopicPartition(topic, 0)) == 300)
    assert told.rows["responses"] == 600


async def test_a_store_that_is_killed_delays_and_loses_nothing(here):
    settings, running = here
    topic, told, away = Topics(settings.kafka.prefix).responses, Told(), []
    second = TopicPartition(topic, 1)
    async with (
        producing(settings) as producer,
        archiving(settings, told, on_away=lambda: away.append(1)) as archive,
    ):
        await send(producer, topic, [response(f"a{n}") for n in range(500)])
        await stored(settings, "responses", 500)
        os.kill(running._child.pid, signal.SIGKILL)
        await send(producer, topic, [response(f"b{n}") for n in range(500)], 1)
        await _until(lambda: told.retries["connection"] >= 3 and away)
        assert told.up is False
        assert archive.stored().get(second, 0) == 0
        again = EmbeddedStore(running.folder, running.host, running.port)
        child = again.start()
        try:
            await asyncio.to_thread(child.wait_ready)
            await stored(settings, "responses", 1000)
            await _until(lambda: archive.stored().get(second) == 500)
            assert told.up is True
        finally:
            again.stop()


async def test_a_store_that_hangs_is_waited_for(here):
    settings, running = here
    topic = Topics(settings.kafka.prefix).responses
    async with producing(settings) as producer, archiving(settings) as archive:
        await _until(lambda: TopicPartition(topic, 0) in archive.stored())
        os.kill(running._child.pid, signal.SIGSTOP)
        await send(producer, topic, [response(f"a{n}") for n in range(100)])
        await asyncio.sleep(1.0)
        assert archive.stored()[TopicPartition(topic, 0)] == 0
        os.kill(running._child.pid, signal.SIGCONT)
        await stored(settings, "responses", 100)


async def test_an_outage_binds_no_more_memory_than_a_batch(here):
    settings, running = here
    topic, told = Topics(settings.kafka.prefix).responses, Told()
    os.kill(running._child.pid, signal.SIGKILL)
    pace = Pace(rows=100, seconds=0.1)
    async with producing(settings) as producer, archiving(settings, told, pace=pace) as archive:
        await _until(lambda: TopicPartition(topic, 0) in archive.stored())
        for turn in range(10):
            await send(producer, topic, [response(f"{turn}-{n}") for n in range(100)])
        await _until(lambda: told.retries["connection"] >= 4)
        assert archive._pending.rows <= 100
        again = EmbeddedStore(running.folder, running.host, running.port)
        child = again.start()
        try:
            await asyncio.to_thread(child.wait_ready)
            await stored(settings, "responses", 1000)
        finally:
            again.stop()


async def test_workers_that_come_and_go_share_the_work(there, seed):
    settings, _ = there
    topics, rng = Topics(settings.kafka.prefix), random.Random(seed)
    total = 0
    async with producing(settings) as producer, archiving(settings):
        for turn in range(4):
            async with archiving(settings):
                for _ in range(5):
                    count = rng.randint(50, 400)
                    values = [response(f"{turn}-{total + n}") for n in range(count)]
                    await send(producer, topics.responses, values, rng.randrange(PARTITIONS))
                    total += count
                    await asyncio.sleep(rng.random() * 0.5)
        rows = await stored(settings, "responses", total)
    assert len({row["response_id"] for row in rows}) == total


async def test_tables_that_are_not_there_yet_are_waited_for(embedded_kafka, settings):
    built = settings(kafka={"bootstrap": embedded_kafka, "partitions": PARTITIONS})
    await ensure(built)
    started = ensure_store(built)
    told, topics = Told(), Topics(built.kafka.prefix)
    try:
        async with producing(built) as producer, archiving(built, told):
            await send(producer, topics.responses, [response("a")])
            await _until(lambda: told.retries["60"] >= 1)
            await asyncio.to_thread(set_up, built)
            await stored(built, "responses", 1)
    finally:
        started.stop()


async def _until(true, seconds=60):
    for _ in range(seconds * 20):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it does not come to pass")
