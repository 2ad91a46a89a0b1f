"""`feedback reset` on Apache Kafka: what the worker refuses to go on with is cured, and every number is right again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager, nullcontext

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete

from pipeline.cli.terms import terms_of
from pipeline.rebuild.run import EVERYTHING, rebuild
from pipeline.reset.run import intend, reset
from pipeline.stores.client import connect
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from pipeline.verify.check import verify
from pipeline.verify.stages import Pace
from tests.support.recount import full_recount_of_responses
from tests.support.stores import set_up
from tests.support.traffic import Traffic, produce

DAY = 86_400
HORIZONS = {"responses": 7 * DAY * 1000, "touchpoints": 7 * DAY * 1000}
QUICK = Pace(pause=0.1, still=0.5, most=20.0)


class Silent:
    def advance(self, count=1):
        pass

    def say(self, text):
        pass


class Killed(Exception):
    pass


@pytest.fixture
def there(apache_kafka, settings, variables, store):
    more = {
        "kafka": {"bootstrap": apache_kafka, "session_timeout": "6s"},
        "worker": {"snapshot_mb": 0.001},
    }
    configured = settings(**more)
    asyncio.run(ensure(configured))
    set_up(configured)
    return (
        configured,
        variables(**more),
        lambda partitions: settings(**more | {"kafka": {**more["kafka"], "partitions": partitions}}),
    )


def run(environment, *arguments, seconds=60):
    command = [sys.executable, "-m", "pipeline", "--log-text", *arguments]
    try:
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError((late.stderr or b"")[-4000:].decode()) from late


async def feedback(environment, *arguments):
    return await asyncio.to_thread(run, environment, *arguments)


async def drained(environment):
    done = await feedback(environment, "worker", "--drain")
    assert done.returncode == 0, done.stderr[-4000:]


async def refused(environment, sentence, *more):
    """The worker ends by itself, and says what to do."""
    done = await feedback(environment, "worker", "--drain", *more)
    assert done.returncode not in (0, -signal.SIGKILL)
    assert sentence in done.stderr, done.stderr[-4000:]
    assert "feedback reset" in done.stderr, done.stderr[-4000:]


def mended(configured):
    """Rebuild, then verify: how many cells were rebuilt."""
    prefix, keep, metrics = configured.kafka.prefix, 400 * DAY, _metrics(configured)
    with connect(configured, write=True) as client:
        done = rebuild(
            client,
            prefix,
            metrics,
            keep,
            terms_of(configured),
            EVERYTHING,
            lambda _: nullcontext(Silent()),
            QUICK,
        )
        assert (done.differences, done.checked["still_moving"]) == (0, 0)
        found = verify(
            client, prefix, HORIZONS, keep, terms_of(configured), lambda _: nullcontext(Silent()), QUICK
        )
        assert (found.differences, list(found.details)) == (0, [])
        return done.checked["changed"]


def _metrics(configured):
    return {name: one.metric for name, one in configured.catalogue().items()}


def surveys(configured):
    with connect(configured, write=False) as client:
        rows = client.query(
            "SELECT metric, instrument, touchpoint, channel, segment, intDiv(toUnixTimestamp(bucket), 60), bin, "
            "sum(n) AS n FROM cells FINAL WHERE metric IN ('nps', 'csat', 'ces') GROUP BY ALL HAVING n != 0"
        ).result_rows
    return Counter({tuple(row[:7]): row[7] for row in rows})


async def delete_records(bootstrap, topic, before=-1):
    async with administering(bootstrap) as admin:
        await admin.delete_records({TopicPartition(topic, p): RecordsToDelete(before) for p in range(4)})


@asynccontextmanager
async def administering(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@pytest.mark.slow
async def test_deleted_ids_journals_and_deltas_are_cured(there, seed):
    configured, environment, _ = there
    topics, address = Topics(configured.kafka.prefix), configured.kafka.bootstrap
    await produce(address, topics.responses, Traffic(seed), 2_000, 1e6)
    await drained(environment)
    for topic, sentence in (
        (topics.ids_responses, "names ids that are not there"),
        (topics.journal_responses, "its records were deleted"),
    ):
        await delete_records(address, topic)
        await produce(address, topics.responses, Traffic(seed + 1), 40, 1e6)
        await refused(environment, sentence)
    await delete_records(address, topics.deltas)
    await refused(environment, "holds the offsets", "--only", "roll")
    await _refused_while_somebody_works(configured, environment)
    wanted = await full_recount_of_responses(address, topics.responses)
    await delete_records(address, topics.responses, 250)  # half of them are held by the raw tables alone
    done = await feedback(environment, "reset", "--yes")
    assert done.returncode == 0, done.stderr
    await drained(environment)
    assert await asyncio.to_thread(mended, configured) > 0
    assert await asyncio.to_thread(surveys, configured) == wanted
    assert await asyncio.to_thread(mended, configured) == 0


async def _refused_while_somebody_works(configured, environment):
    prefix, address = configured.kafka.prefix, configured.kafka.bootstrap
    member = AIOKafkaConsumer(
        Topics(prefix).cells, bootstrap_servers=address, group_id=f"{prefix}.archive", client_id="somebody"
    )
    await member.start()
    try:
        done = await feedback(environment, "reset", "--yes")
    finally:
        await member.stop()
    assert done.returncode == 1
    assert "workers are running (somebody" in done.stderr


@pytest.mark.slow
async def test_a_source_made_anew_with_more_partitions(there, seed):
    """Its old rows are put aside, not overwritten; killed at any step, the reset is run again."""
    configured, environment, with_partitions = there
    topics, address = Topics(configured.kafka.prefix), configured.kafka.bootstrap
    await produce(address, topics.responses, Traffic(seed), 600, 1e6)
    await drained(environment)
    old = await full_recount_of_responses(address, topics.responses)
    async with administering(address) as admin:
        await admin.delete_topics([topics.responses])
        await admin.create_partitions({topics.touchpoints: NewPartitions(total_count=6)})
        await asyncio.sleep(2)
        await admin.create_topics([NewTopic(topics.responses, 6, 1)])
    await refused(environment, "kafka.partitions")
    environment = {**environment, "FEEDBACK_KAFKA__PARTITIONS": "6"}
    await refused(environment, "kafka.partitions")
    six = with_partitions(6)
    await produce(address, topics.responses, Traffic(seed + 1), 900, 1e6, 6)
    new = await full_recount_of_responses(address, topics.responses, 6)
    steps = await _reset_with_deaths(six, environment)
    assert len(steps) > 8
    await drained(environment)
    assert await asyncio.to_thread(surveys, six) != old + new
    assert await asyncio.to_thread(mended, six) > 0
    assert await asyncio.to_thread(surveys, six) == old + new  # no id is in both
    assert await asyncio.to_thread(mended, six) == 0
    with connect(six, write=True) as client:
        intent = await intend(six, client, lambda text: None)
    # what is derived alone: the source is the one that the store knows
    assert intent.plan.aside == (topics.follow_ups, topics.resolutions)
    assert intent.records == 900


async def _reset_with_deaths(configured, environment):
    """A reset that dies at its first step, is started again and dies at its third, and so on; the last one's steps."""
    steps = []
    for death in range(0, 100, 2):
        steps = []

        def say(text, death=death, steps=steps):
            steps.append(text)
            if len(steps) > death:
                raise Killed

        try:
            await asyncio.to_thread(_reset, configured, say)
        except Killed:
            if death == 0:
                done = await feedback(environment, "setup")
                assert (done.returncode, "broken off" in done.stderr) == (1, True)
        else:
            return steps
    raise AssertionError("it never ends")


def _reset(configured, say):
    with connect(configured, write=True) as client:
        intent = asyncio.run(intend(configured, client, lambda text: None))
        reset(configured, client, intent, say)


@pytest.mark.slow
@pytest.mark.parametrize("break_it", ["journal", "source"])
async def test_what_the_worker_refuses_is_cured_also_by_a_reset_that_is_killed(there, seed, break_it):
    configured, environment, _ = there
    environment = {
        **environment,
        "FEEDBACK_WORKER__SNAPSHOT_MB": "16",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": "200",
    }
    topics, address = Topics(configured.kafka.prefix), configured.kafka.bootstrap
    await produce(address, topics.responses, Traffic(seed), 400, 1e6)
    await drained(environment)
    wanted = await full_recount_of_responses(address, topics.responses)
    if break_it == "journal":
        wanted = await _journal_with_a_hole(configured, environment, seed)
    else:
        await _made_anew(address, topics.responses)
        await produce(address, topics.responses, Traffic(seed + 1), 40, 1e6)
        await refused(environment, "was made anew")
        wanted += await full_recount_of_responses(address, topics.responses)
    kills = await _reset_with_kills(environment, random.Random(seed))
    assert kills > 0
    await drained(environment)
    assert await asyncio.to_thread(mended, configured) >= 0
    assert await asyncio.to_thread(surveys, configured) == wanted


async def _journal_with_a_hole(configured, environment, seed):
    """The journal loses its end and one effect under a worker; what all responses come to."""
    topics, address = Topics(configured.kafka.prefix), configured.kafka.bootstrap
    for k in (1, 2):  # more effects
        await produce(address, topics.responses, Traffic(seed + k), 100, 1e6)
        await drained(environment)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline", "--log-text", "worker"), env=environment, stderr=subprocess.PIPE
    )
    try:
        recovered = 0
        while recovered < 12:  # four partitions of three topics
            recovered += b"recovered a partition" in await worker.stderr.readline()
        kept = await _values(address, topics.journal_responses)
        await _made_anew(address, topics.journal_responses)
        producer = AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        for p, values in kept.items():
            for value in (values[0], values[2]):
                await producer.send_and_wait(topics.journal_responses, value, partition=p)
        await producer.stop()
        await produce(address, topics.responses, Traffic(seed + 3), 100, 1e6)
        told = await asyncio.wait_for(worker.stderr.read(), 60)
        assert b"was made anew" in told, told[-4000:]
        assert b"feedback reset" in told
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()
    await refused(environment, "a hole after effect 1")
    return await full_recount_of_responses(address, topics.responses)


async def _made_anew(address, topic):
    async with administering(address) as admin:
        await admin.delete_topics([topic])
        await asyncio.sleep(1)
        await admin.create_topics([NewTopic(topic, 4, 1)])
        await asyncio.sleep(1)


async def _values(address, topic):
    """What a topic holds, by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    places = [TopicPartition(topic, p) for p in range(4)]
    consumer.assign(places)
    ends, found = await consumer.end_offsets(places), {p: [] for p in range(4)}
    while any(len(found[one.partition]) < end for one, end in ends.items()):
        for one, records in (await consumer.getmany(timeout_ms=200)).items():
            found[one.partition] += [record.value for record in records]
    await consumer.stop()
    return found


async def _reset_with_kills(environment, rng, most=5):
    """SIGKILL at any moment after it has begun, then once more to the end; how many kills."""
    kills = 0
    for k in range(most + 1):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipeline", "reset", "--yes"),
            env=environment,
            stderr=subprocess.PIPE,
        )
        while (line := await process.stderr.readline()) and b"counted anew" not in line:
            pass
        if k < most:
            await asyncio.sleep(rng.uniform(0, 1.5))
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
        _, told = await process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), told[-4000:].decode()
        kills += process.returncode != 0
    assert process.returncode == 0
    return kills
