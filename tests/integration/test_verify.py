"""`feedback verify` and `feedback trace` over Apache Kafka, a real worker and a real store."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer

from pipeline.cli.terms import terms_of
from pipeline.config.cases import DAYS
from pipeline.embedded.process import free_port
from pipeline.errors import FeedbackError
from pipeline.events import wire
from pipeline.events.partition import partition_of
from pipeline.events.schemas import schema
from pipeline.rebuild.run import EVERYTHING, rebuild
from pipeline.stores.client import connect
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from pipeline.verify.check import verify
from pipeline.verify.lives import ACTIONS
from pipeline.verify.stages import Pace
from pipeline.verify.trace import trace
from tests.support.recount import full_recount_of_responses, read_topic, recount_responses
from tests.support.stores import set_up
from tests.support.traffic import Traffic, produce

HORIZONS = {"responses": 7 * 86_400_000, "touchpoints": 7 * 86_400_000}
QUICK = Pace(pause=0.2, still=0.5, most=30.0)
PROMISED = {
    "sla": {"high": {"target": "20m"}, "low": {"target": "10m", "schedule": "default"}},
    "cases": {"fcr_window": "15m"},
    "schedules": {"default": {"hours": dict.fromkeys(DAYS, "00:00-24:00"), "time_zone": "Europe/Paris"}},
}


class Silent:
    def advance(self, count=1):
        pass

    def say(self, text):
        pass


def checked(configured, pace=QUICK):
    with connect(configured, write=False) as client:
        return verify(
            client,
            configured.kafka.prefix,
            HORIZONS,
            400 * 86_400,
            terms_of(configured),
            lambda _: nullcontext(Silent()),
            pace,
        )


def change(configured, statement):
    with connect(configured, write=True) as client:
        client.command(statement, settings={"mutations_sync": 2})


@contextmanager
def worker(environment, log, *more):
    with log.open("ab") as out:
        command = [sys.executable, "-m", "pipeline", "worker", *more]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(60) == 0, log.read_text()[-4000:]
        finally:
            process.kill()


async def feedback(environment, *arguments):
    command = [sys.executable, "-m", "pipeline", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


async def touchpoints(bootstrap, topic, seed, n):
    """Case events in any order, some twice, some late, some garbage."""
    rng, now = random.Random(seed), int(time.time() * 1000)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    sent = []
    for k in range(n):
        case = f"case {rng.randrange(n // 6)}"
        record = {
            "event_id": f"e{rng.randrange(n) if k % 10 == 0 else n + k}",
            "occurred_at": now
            - rng.randrange(3_600_000) // 1000 * 1000
            - (9 * 86_400_000 if k % 50 == 0 else 0),
            "source": "test",
            "touchpoint": rng.choice(["support", "sales"]),
            "channel": rng.choice(["web", "phone"]),
            "action": rng.choice([*ACTIONS, "visited"]),
            "case_id": case,
            "segment": rng.choice([None, "", "new"]),
            "priority": rng.choice([None, "high", "low"]),
            "customer_id": rng.choice([None, "anna"]),
            "attributes": {},
        }
        value = wire.encode(schema("TouchpointEvent"), record) if k % 40 else b"no event"
        key = case.encode()
        sent.append(await producer.send(topic, value, key=key, partition=partition_of(key, 4)))
    await asyncio.gather(*sent)
    await producer.stop()


@pytest.fixture
def there(apache_kafka, settings, variables, store):
    kafka = {"bootstrap": apache_kafka, "session_timeout": "6s"}
    configured = settings(kafka=kafka, **PROMISED)
    asyncio.run(ensure(configured))
    set_up(configured)
    return configured, variables(kafka=kafka, **PROMISED)


@pytest.mark.slow
async def test_awkward_traffic_differs_nowhere_and_what_is_tampered_with_is_found(there, tmp_path, seed):
    configured, environment = there
    topics, log = Topics(configured.kafka.prefix), tmp_path / "worker.log"
    await produce(configured.kafka.bootstrap, topics.responses, Traffic(seed), 6_000, 1e6)
    await touchpoints(configured.kafka.bootstrap, topics.touchpoints, seed, 3_000)
    beside = environment | {"FEEDBACK_METRICS__LISTEN": f"127.0.0.1:{free_port()}"}
    with worker(environment, log, "--drain") as one, worker(beside, log, "--drain") as other:
        for process in (one, other):  # neither ever has all partitions until the other has ended
            assert await asyncio.to_thread(process.wait, 90) == 0, log.read_text()[-4000:]

    done = await feedback(environment, "verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["differences"], found["details"]) == (0, [])
    seen = found["checked"]
    assert seen["raw_rows"] + seen["dead_letters"] == 9_000
    assert (seen["from"], seen["still_moving"]) == (None, 0)
    assert (seen["not_covered"], seen["rules_since"]) == ([], None)
    assert seen["follow_ups"] > 100
    assert all(one["offsets_without_record"] == 0 for one in seen["partitions"])
    await asyncio.to_thread(_tampering_is_found, configured)
    await _every_id_is_traced(configured, topics)
    done = await feedback({**environment, "COLUMNS": "200"}, "trace", "case 7")
    assert done.returncode == 0, done.stderr
    assert "touchpoints / case_" in done.stdout
    done = await feedback(environment, "trace", "nobody")
    assert (done.returncode, "nothing is known of nobody" in done.stderr) == (1, True)


def _tampering_is_found(configured):
    columns = "metric, instrument, touchpoint, channel, segment, bucket, bin, origin, part"
    clocks = [("csat", ""), ("touchpoints", ""), ("resolution", "agent"), ("resolution", "business")]
    tampered = [*clocks, ("reopen", ""), ("fcr", ""), ("sla_breach", "")]
    statements = []
    for metric, clock in tampered:
        some = f"metric = '{metric}'" + (f" AND instrument = '{clock}'" if clock else "")
        statements.append(
            f"INSERT INTO cells SELECT {columns}, n {{}} 1, total, version + 1 FROM cells FINAL "
            f"WHERE {some} ORDER BY {columns} LIMIT 1"
        )
        change(configured, statements[-1].format("+"))
    _tamper_with_follow_ups(configured)
    found = checked(configured)
    cells = [detail for detail in found.details if detail["kind"] == "cell"]
    assert Counter(one["metric"] for one in cells) == Counter(metric for metric, _ in tampered)
    assert {one["instrument"] for one in cells} >= {"agent", "business", ""}
    assert all(one["stored"]["n"] == one["recounted"]["n"] + 1 and one["touchpoint"] for one in cells)
    others = [detail for detail in found.details if detail["kind"] != "cell"]
    sides = [(one["kind"], one["recounted"] is None, one["stored"] is None) for one in others]
    assert sorted(sides) == [
        ("follow-up", *which) for which in ((False, False), (False, True), (True, False))
    ]
    for statement in statements:
        change(configured, statement.format("-"))
    change(configured, "DELETE FROM follow_ups WHERE kafka_offset >= 1000000000")
    assert checked(configured).differences == 0
    _other_rules_are_told(configured)
    change(
        configured,
        "DELETE FROM responses WHERE kafka_partition = 2 AND kafka_offset = "
        "(SELECT min(kafka_offset) FROM responses WHERE kafka_partition = 2 AND NOT retracted)",
    )
    found = checked(configured)
    kinds = {detail["kind"] for detail in found.details}
    assert "outcome" in kinds
    wrong = Counter()
    for detail in found.details:
        if detail["kind"] == "outcome":
            assert detail["partition"] == 2
            wrong[detail["topic"]] += detail["stored"] - detail["recounted"]
    assert wrong == {f"{configured.kafka.prefix}.responses": 1}
    assert any(one["offsets_without_record"] == 1 for one in found.checked["partitions"])


def _other_rules_are_told(configured):
    """What was measured by the rules of before is not judged by those of now, once `setup` has told of them."""
    longer = {name: sla.model_copy(update={"target": 3600.0}) for name, sla in configured.sla.items()}
    fewer = configured.follow_ups.model_copy(update={"detractor": None})
    other = configured.model_copy(update={"sla": longer, "follow_ups": fewer})
    for told in (False, True):  # nobody knows by whose rules was measured; by those of before
        found = checked(other)
        assert (found.differences, list(found.details)) == (0, [])
        assert found.checked["rules_told"] == told
        set_up(other)
        set_up(other)
    assert datetime.fromisoformat(found.checked["rules_since"]) <= datetime.now(UTC)
    set_up(configured)


def _tamper_with_follow_ups(configured):
    """One that is missing, one too many, one due at another time."""
    again = "revision + 1000000000 AS revision, kafka_offset + 1000000000 AS kafka_offset"
    for kind, what in (
        ("detractor", "true AS retracted"),
        ("sla_breach", "'x' AS follow_up_id"),
        ("reopened", "now64(3) AS due_at"),
    ):
        one = f"SELECT min(follow_up_id) FROM current_follow_ups WHERE kind = '{kind}'"
        row = f"SELECT * FROM follow_ups WHERE follow_up_id = ({one}) ORDER BY revision DESC LIMIT 1"
        change(configured, f"INSERT INTO follow_ups SELECT * REPLACE({what}, {again}) FROM ({row})")


async def _every_id_is_traced(configured, topics):
    """Outcomes by id, one question an id, are those of an independent recount."""
    rows = await read_topic(configured.kafka.bootstrap, topics.responses)
    expected = await recount_responses(configured.kafka.bootstrap, topics.responses)
    identities = list({value for part in rows.values() for _, _, value in part if value and len(value) > 60})[
        :40
    ]
    with connect(configured, write=False) as client:
        for value in identities:
            identity = value[6:38].decode("latin-1")
            found = await asyncio.to_thread(
                trace, client, configured.kafka.prefix, HORIZONS, identity, terms_of(configured)
            )
            dead = {(one["partition"], one["offset"]) for one in found.dead_letters}
            assert found.events or dead
            assert dead <= expected.dead
            assert sum(one.counts for one in found.events) <= 1
            assert not any(one.pending for one in found.events)


@pytest.mark.slow
async def test_nothing_differs_while_the_stream_moves(there, tmp_path, seed):
    configured, environment = there
    topics, log = Topics(configured.kafka.prefix), tmp_path / "worker.log"
    with worker(environment, log):
        sending = asyncio.create_task(
            produce(configured.kafka.bootstrap, topics.responses, Traffic(seed), 20_000, 800)
        )
        await asyncio.sleep(8)
        looks = 0
        while not sending.done():
            found = await asyncio.to_thread(checked, configured, Pace(pause=1.0, still=8.0, most=40.0))
            assert found.differences == 0, found.details
            looks += found.checked["looks"]
        await sending
        assert looks > 1
    with worker(environment, log, "--drain") as process:
        assert await asyncio.to_thread(process.wait, 60) == 0, log.read_text()[-4000:]
    found = await asyncio.to_thread(checked, configured)
    assert (found.differences, found.checked["still_moving"], found.checked["looks"]) == (0, 0, 1)
    assert found.checked["raw_rows"] + found.checked["dead_letters"] == 20_000


@pytest.mark.slow
async def test_rebuild_is_right_while_the_stream_moves(there, tmp_path, seed):
    """Late records join the numbers once, whatever is counted meanwhile; live cells stay what they were."""
    configured, environment = there
    topics, log = Topics(configured.kafka.prefix), tmp_path / "worker.log"
    with worker(environment, log):
        sending = asyncio.create_task(
            produce(configured.kafka.bootstrap, topics.responses, Traffic(seed), 8_000, 1_000)
        )
        await asyncio.sleep(4)
        while not sending.done():
            done = await asyncio.to_thread(rebuilt, configured, Pace(pause=0.5, still=3.0, most=6.0))
            assert done.differences == 0
        await sending
    await touchpoints(configured.kafka.bootstrap, topics.touchpoints, seed, 2_000)
    with worker(environment, log, "--drain") as process:
        assert await asyncio.to_thread(process.wait, 60) == 0, log.read_text()[-4000:]
    done = await feedback(environment, "rebuild", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checked"]["changed"] > 0
    done = await feedback(environment, "rebuild")
    assert "nothing to rebuild" in done.stdout, done.stdout + done.stderr
    assert (await asyncio.to_thread(checked, configured)).differences == 0
    seen = await asyncio.to_thread(_surveys, configured)
    assert seen == await full_recount_of_responses(configured.kafka.bootstrap, topics.responses)


def rebuilt(configured, pace):
    metrics = {name: one.metric for name, one in configured.catalogue().items()}
    with connect(configured, write=True) as client:
        prefix, keep, terms = configured.kafka.prefix, 400 * 86_400, terms_of(configured)
        return rebuild(
            client,
            prefix,
            metrics,
            keep,
            terms,
            EVERYTHING,
            lambda _: nullcontext(Silent()),
            pace,
        )


def _surveys(configured):
    with connect(configured, write=False) as client:
        rows = client.query(
            "SELECT metric, instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60), bin, "
            "sum(n) AS n FROM cells FINAL WHERE metric IN ('nps', 'csat', 'ces') GROUP BY ALL HAVING n != 0"
        ).result_rows
    return Counter({tuple(row[:7]): row[7] for row in rows})


@pytest.mark.slow
async def test_cells_that_wait_for_the_roll_are_no_differences(there, tmp_path, seed):
    configured, environment = there
    topics, log = Topics(configured.kafka.prefix), tmp_path / "worker.log"
    await produce(configured.kafka.bootstrap, topics.responses, Traffic(seed), 500, 1e6)
    hasty = Pace(pause=0.1, still=0.2, most=1.0)
    with worker(environment, log, "--only", "tally,archive"):
        for _ in range(300):
            await asyncio.sleep(0.1)
            with connect(configured, write=False) as client:
                if client.query("SELECT sum(n) FROM outcome_counts FINAL").result_rows[0][0] == 500:
                    break
        with pytest.raises(FeedbackError, match="is a worker with its roll running"):
            await asyncio.to_thread(checked, configured, hasty)
    with worker(environment, log, "--drain") as process:
        assert await asyncio.to_thread(process.wait, 60) == 0, log.read_text()[-4000:]
    assert (await asyncio.to_thread(checked, configured)).differences == 0
    # what hangs on another topic is judged once the archive has stored that topic, too
    change(configured, "DELETE FROM progress WHERE stage = 'archive' AND topic LIKE '%.follow-ups'")
    change(configured, "CREATE TABLE IF NOT EXISTS aside AS follow_ups")
    change(configured, "INSERT INTO aside SELECT * FROM follow_ups")
    change(configured, "TRUNCATE TABLE follow_ups")
    with pytest.raises(FeedbackError, match=r"the archive has stored .*\.follow-ups/\d up to offset -1"):
        await asyncio.to_thread(checked, configured, hasty)
