"""Bad input on Apache Kafka: huge records, nothing but garbage, schemas unheard of, topics that are not what they were.

Each is counted as what it is, waited for, or refused with one sentence that says what to do.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaError

from pipeline.embedded.process import free_port
from pipeline.events import wire
from pipeline.events.schemas import record_schema, schema
from pipeline.stores.client import connect
from pipeline.streams.app import BROKEN
from pipeline.streams.registering import put
from pipeline.streams.setup import ensure
from pipeline.streams.topics import CONFIGS, Topics
from tests.support.recount import published_outcomes
from tests.support.registry import FakeRegistry
from tests.support.stores import set_up

RESPONSE = schema("SurveyResponse")
GARBAGE = 40_000


class Stage:
    """Topics on Apache Kafka, a configuration, and workers."""

    def __init__(self, settings, variables, kafka, folder, **more):
        tables = {"kafka": {"bootstrap": kafka, "session_timeout": "6s"}, **more}
        self.settings, self.environment = settings(**tables), variables(**tables)
        self.bootstrap, self.topics = kafka, Topics(self.settings.kafka.prefix)
        self.log = folder / "worker.log"
        self.started = []

    def start(self, *arguments, **changes):
        command = [sys.executable, "-m", "pipeline", "--log-json", "worker", *arguments]
        with self.log.open("ab") as out:
            process = subprocess.Popen(command, env=self.environment | changes, stdout=out, stderr=out)
        self.started.append(process)
        return process

    def end(self):
        """Whatever still runs."""
        for process in self.started:
            process.kill()
            process.wait()

    async def drain(self, *arguments, seconds=120, **changes):
        """Exit code of a worker that drains."""
        return await asyncio.to_thread(self.start("--drain", *arguments, **changes).wait, seconds)

    def lines(self, message):
        """What workers have logged."""
        text = self.log.read_text() if self.log.exists() else ""
        rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [row for row in rows if row["message"].startswith(message)]

    async def said(self, message, seconds=60):
        """The first line with this message, once there is one."""
        end = time.monotonic() + seconds
        while not (found := self.lines(message)):
            assert time.monotonic() < end, self.log.read_text()[-4000:]
            await asyncio.sleep(0.1)
        return found[0]

    async def send(self, values, partition=0, topic=""):
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=4 << 20)
        await producer.start()
        to = topic or self.topics.responses
        sent = [await producer.send(to, value, partition=partition) for value in values]
        await asyncio.gather(*sent)
        await producer.stop()

    @asynccontextmanager
    async def admin(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def outcomes(self):
        """The newest counts that workers told, by outcome."""
        counts = Counter()
        told = await published_outcomes(self.bootstrap, self.topics.outcomes, self.topics.responses)
        for (_, _, outcome), n in told.items():
            counts[outcome] += n
        return dict(+counts)

    async def counted(self, n):
        """Wait for so many."""
        while await self.outcomes() != {"counted": n}:  # noqa: ASYNC110 - what it waits for lies with the broker
            await asyncio.sleep(0.2)


@pytest.fixture
async def stage(settings, variables, apache_kafka, tmp_path):
    one = Stage(settings, variables, apache_kafka, tmp_path)
    await ensure(one.settings)
    yield one
    one.end()


def response(number, writer=RESPONSE, **changes):
    record = {
        "response_id": f"r{number}",
        "occurred_at": int(time.time() * 1000),
        "instrument": "csat_1_5",
        "score": 5,
        **dict.fromkeys(("source", "touchpoint", "channel"), "x"),
    }
    return wire.encode(writer, record | changes)


def touchpoint(name):
    event = {
        "event_id": name,
        "occurred_at": int(time.time() * 1000),
        "attributes": {},
        **dict.fromkeys(("source", "touchpoint", "action", "channel"), "x"),
    }
    return wire.encode(schema("TouchpointEvent"), event)


COUNTING = ("--only", "tally,roll")


@pytest.mark.slow
async def test_a_huge_record_and_a_batch_of_nothing_but_garbage(stage, store):
    set_up(stage.settings)
    huge = response(1, comment="é" * 500_000)
    noise = [f"no event {k}".encode() for k in range(GARBAGE)]
    wide = response(2, touchpoint="t" * 1_000_000)
    await stage.send([huge, b"\x07" * 1_000_000, wide, *noise, response(3)])
    assert await stage.drain() == 0, stage.log.read_text()[-4000:]
    assert await stage.outcomes() == {"counted": 2, "dead_letter": GARBAGE + 2}
    with connect(stage.settings, write=False) as client:
        rows = client.query("SELECT response_id, length(comment) FROM responses FINAL ORDER BY 1").result_rows
        assert rows == [("r1", 1_000_000), ("r3", None)]
        dead = client.query(
            "SELECT reason, count(), max(length(raw)) FROM dead_letters FINAL GROUP BY reason ORDER BY reason"
        ).result_rows
    assert dead == [
        ("not_wire_format", GARBAGE + 1, 1_000_000),
        ("too_long", 1, len(wide)),
    ]


def changed(schema_id, change):
    avro = {**RESPONSE.avro, "fields": change([dict(field) for field in RESPONSE.avro["fields"]])}
    return record_schema(json.dumps(avro), subject="", version=0, schema_id=schema_id)


OLD = changed(77, lambda fields: [f for f in fields if f["name"] not in ("comment", "revision", "retracted")])
NEW = changed(
    78, lambda fields: [{"name": "mood", "type": ["null", "string"], "default": None}, *reversed(fields)]
)
STRANGE = schema("TouchpointEvent").text


@pytest.mark.slow
async def test_schemas_unheard_of(settings, variables, apache_kafka, tmp_path, store, request):
    """Registry silent: wait and say so. It answers: writers older and newer count, its no is a dead letter."""
    async with FakeRegistry() as registry:
        stage = Stage(settings, variables, apache_kafka, tmp_path, registry_url=registry.url)
        await ensure(stage.settings)
        set_up(stage.settings)
        registry.schemas = {77: OLD.text, 78: NEW.text, 79: STRANGE}
        await put(stage.settings)
        registry.trouble = "silent"
        unknown = [wire.header(number) + b"x" for number in (79, 999, 0)]
        good = [response(1, OLD), response(2, NEW, comment="c"), response(3), response(2, NEW, revision=1)]
        await stage.send([*good, *unknown])
        waiting = stage.start()
        request.addfinalizer(stage.end)
        line = await stage.said("waiting for the schema registry")
        assert line["registry"] == registry.url
        assert await stage.outcomes() == {}
        waiting.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(waiting.wait, 30) == 0, stage.log.read_text()[-4000:]
        registry.trouble = ""
        assert await stage.drain() == 0, stage.log.read_text()[-4000:]
    with connect(stage.settings, write=False) as client:
        told = client.query("SELECT outcome, sum(n) FROM outcomes GROUP BY outcome").result_rows
        assert sorted(told) == [("counted", 4), ("dead_letter", 3)]
        rows = client.query(
            "SELECT response_id, comment, revision FROM responses FINAL ORDER BY kafka_offset"
        )
        assert rows.result_rows == [("r1", None, 0), ("r2", "c", 0), ("r3", None, 0), ("r2", None, 1)]
        dead = client.query("SELECT reason, count() FROM dead_letters FINAL GROUP BY reason").result_rows
    assert dead == [("unknown_schema", 3)]


@pytest.mark.slow
async def test_records_that_wait_for_a_schema_do_not_hold_up_others(
    settings, variables, apache_kafka, tmp_path, store, request
):
    """More of them than a topic has room for. Other partitions, and other topics, are counted and stored meanwhile."""
    async with FakeRegistry() as registry:
        stage = Stage(settings, variables, apache_kafka, tmp_path, registry_url=registry.url)
        await ensure(stage.settings)
        set_up(stage.settings)
        registry.schemas = {77: OLD.text, 78: NEW.text}
        registry.silent = {78}
        await put(stage.settings)
        text = "c" * 2000
        await stage.send(response(k, NEW, comment=text) for k in range(WAITING))
        worker = stage.start()
        request.addfinalizer(stage.end)
        await stage.said("waiting for the schema registry")
        await asyncio.sleep(2.0)
        await stage.send([response(WAITING, OLD)], partition=1)
        await stage.send([touchpoint("e")], topic=stage.topics.touchpoints)
        one_each = [("csat", 1), ("outcomes", 2), ("responses", 1), ("touchpoints", 2)]
        with connect(stage.settings, write=False) as client:
            await until(lambda: client.query(STORED).result_rows == one_each)
        registry.silent = set()
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, 30) == 0, stage.log.read_text()[-4000:]
        assert await stage.drain() == 0, stage.log.read_text()[-4000:]
    with connect(stage.settings, write=False) as client:
        counted = "SELECT outcome, sum(n) FROM outcomes GROUP BY outcome"
        assert client.query(counted).result_rows == [("counted", WAITING + 2)]


WAITING = 20_000
STORED = """
SELECT what, sum(n) FROM (
    SELECT metric AS what, n FROM cells FINAL UNION ALL
    SELECT 'outcomes', n FROM outcomes UNION ALL
    SELECT 'responses', count()::Int64 FROM responses FINAL UNION ALL
    SELECT 'touchpoints', count()::Int64 FROM touchpoints FINAL
) GROUP BY what ORDER BY what
"""


async def until(there, seconds=20):
    """Wait for something in the store."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(there):
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_what_an_app_has_taken_back_is_neither_counted_nor_stored(stage, store):
    """Records of an aborted transaction never happened; those of one that is open wait for its end.

    Behind the last record of each partition is a marker that nobody commits, and two workers drain at once.
    """
    set_up(stage.settings)
    producer = AIOKafkaProducer(
        bootstrap_servers=stage.bootstrap, transactional_id=stage.settings.kafka.prefix
    )
    await producer.start()
    for k in range(4):
        await producer.begin_transaction()
        for j in range(5):
            await producer.send(stage.topics.responses, response(f"{k}-{j}"), partition=0)
        await (producer.abort_transaction() if k % 2 else producer.commit_transaction())
    await producer.begin_transaction()
    partitions = stage.settings.kafka.partitions
    for p in range(partitions):
        await producer.send_and_wait(stage.topics.responses, response(f"open{p}"), partition=p)
    assert await stage.drain() == 0, stage.log.read_text()[-4000:]
    assert await stage.outcomes() == {"counted": 10}
    await producer.commit_transaction()
    await producer.stop()
    beside = {"FEEDBACK_METRICS__LISTEN": f"127.0.0.1:{free_port()}"}
    ends = await asyncio.gather(stage.drain(seconds=60), stage.drain(seconds=60, **beside))
    assert ends == [0, 0], stage.log.read_text()[-4000:]
    assert await stage.outcomes() == {"counted": 10 + partitions}
    with connect(stage.settings, write=False) as client:
        rows = client.query("SELECT response_id FROM responses FINAL").result_rows
    names = {f"r{k}-{j}" for k in (0, 2) for j in range(5)} | {f"ropen{p}" for p in range(partitions)}
    assert {name for (name,) in rows} == names
    assert len(rows) == len(names)


async def test_without_a_registry_only_our_own_ids_are_known(stage):
    await stage.send([response(1), response(2, OLD), wire.header(999) + b"x"])
    assert await stage.drain(*COUNTING) == 0, stage.log.read_text()[-4000:]
    assert await stage.outcomes() == {"counted": 1, "dead_letter": 2}


async def test_input_that_expired_is_counted_and_said(stage):
    await stage.send(response(k) for k in range(5))
    assert await stage.drain(*COUNTING) == 0, stage.log.read_text()[-4000:]
    await stage.send(response(k) for k in range(5, 15))
    await expire(stage, 9)
    assert await stage.drain(*COUNTING) == 0, stage.log.read_text()[-4000:]
    (line,) = stage.lines("input expired before it was read")
    assert line["offsets"] == 4
    assert "retention.ms" in line["message"]
    assert await stage.outcomes() == {"counted": 5 + 6}
    await stage.send(response(k) for k in range(15, 20))
    await expire(stage, 20)
    assert await stage.drain(*COUNTING) == 0, stage.log.read_text()[-4000:]
    assert [line["offsets"] for line in stage.lines("input expired before it was read")] == [4, 5]
    assert await stage.outcomes() == {"counted": 5 + 6}


async def expire(stage, before):
    """What retention does."""
    async with stage.admin() as admin:
        await admin.delete_records({TopicPartition(stage.topics.responses, 0): RecordsToDelete(before)})


@pytest.mark.slow
async def test_a_topic_made_anew_is_refused(stage):
    await stage.send(response(k) for k in range(5))
    assert await stage.drain(*COUNTING) == 0, stage.log.read_text()[-4000:]
    await make_anew(stage)
    assert await stage.drain(*COUNTING) == BROKEN, stage.log.read_text()[-4000:]
    assert "made anew: its id is" in refused(stage)
    await stage.send(response(k) for k in range(100, 110))  # more than were counted: their end does not tell
    assert await stage.drain(*COUNTING) == BROKEN, stage.log.read_text()[-4000:]
    assert "made anew: its id is" in refused(stage)
    assert "feedback reset" in refused(stage)


@pytest.mark.slow
async def test_a_topic_made_anew_under_a_running_worker_is_noticed(stage):
    """New records come at once, so that its end is soon beyond what was counted of the old one."""
    await stage.send(response(k) for k in range(5))
    worker = stage.start(*COUNTING)
    await stage.counted(5)
    await make_anew(stage)
    for k in range(100, 600, 20):
        with suppress(KafkaError):
            await stage.send(response(j) for j in range(k, k + 20))
    assert await asyncio.to_thread(worker.wait, 60) == BROKEN, stage.log.read_text()[-4000:]
    assert "made anew: its id is" in refused(stage)
    assert await stage.drain(*COUNTING) == BROKEN, stage.log.read_text()[-4000:]  # nor by the next one


@pytest.mark.slow
async def test_the_rows_of_a_topic_made_anew_do_not_replace_the_old_ones(stage, store):
    set_up(stage.settings)
    await stage.send(response(k) for k in range(5))
    assert await stage.drain("--only", "archive") == 0, stage.log.read_text()[-4000:]
    await make_anew(stage)
    await stage.send(response(k) for k in range(100, 103))
    assert await stage.drain("--only", "archive") == BROKEN, stage.log.read_text()[-4000:]
    assert "offset 0 is stored already, as another record" in refused(stage)
    assert "feedback reset" in refused(stage)
    with connect(stage.settings, write=False) as client:
        rows = client.query("SELECT response_id FROM responses FINAL ORDER BY kafka_offset").result_rows
    assert [name for (name,) in rows] == [f"r{k}" for k in range(5)]


async def test_what_expired_before_it_was_stored_is_said(stage, store):
    set_up(stage.settings)
    await stage.send(response(k) for k in range(3))
    assert await stage.drain("--only", "archive") == 0, stage.log.read_text()[-4000:]
    await stage.send(response(k) for k in range(3, 9))
    await expire(stage, 7)
    assert await stage.drain("--only", "archive") == 0, stage.log.read_text()[-4000:]
    (line,) = stage.lines("records expired before they were stored")
    assert (line["offsets"], line["partition"]) == (4, 0)


def refused(stage):
    """The one sentence with which a worker ended; never a traceback."""
    assert "Traceback" not in stage.log.read_text(), stage.log.read_text()[-4000:]
    return stage.lines("the worker cannot go on")[-1]["reason"]


async def make_anew(stage):
    name = stage.topics.responses
    async with stage.admin() as admin:
        await admin.delete_topics([name])
        for _ in range(100):
            with suppress(Exception):  # the deletion goes on for a moment
                answer = await admin.create_topics(
                    [NewTopic(name, 4, 1, topic_configs=dict(CONFIGS["input"]))]
                )
                if not answer.topic_errors[0][1]:
                    return
            await asyncio.sleep(0.1)
    raise AssertionError("the topic could not be made anew")


async def test_a_topic_that_was_resized_is_refused(stage):
    await stage.send([response(1)])
    async with stage.admin() as admin:
        await admin.create_partitions({stage.topics.responses: NewPartitions(6)})
    for partitions in (4, 6):
        stage.environment["FEEDBACK_KAFKA__PARTITIONS"] = str(partitions)
        stage.log.unlink(missing_ok=True)
        assert await stage.drain(*COUNTING) == 1
        (line,) = [line for line in stage.log.read_text().splitlines() if line.startswith("error: ")]
        assert f"kafka.partitions is {partitions}, but " in line
        assert "feedback reset" in line


@pytest.mark.parametrize("part", ["tally", "archive"])
async def test_a_session_timeout_that_the_brokers_refuse_is_said(stage, store, part):
    set_up(stage.settings)
    stage.environment["FEEDBACK_KAFKA__SESSION_TIMEOUT"] = "1s"
    assert await asyncio.to_thread(stage.start("--only", part).wait, 30) == 1
    text = stage.log.read_text()
    assert "\nerror: the brokers refuse kafka.session_timeout: set it between their" in text
    assert "Traceback" not in text
