"""/readyz: only when what is owned is recovered, also for a worker that owns nothing; what a worker says of itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from pipeline.embedded.process import free_port
from pipeline.streams.setup import ensure
from pipeline.streams.topics import Topics
from tests.support.traffic import Traffic

COUNTING = ("-m", "pipeline", "worker", "--only", "tally,roll")


@pytest.fixture
def start(variables, tmp_path):
    """Starts a worker with these settings; the address of its HTTP server."""

    @contextmanager
    def started(*arguments, **more):
        log, environment = tmp_path / f"{free_port()}.log", variables(**more)
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=out, stderr=out)
        try:
            yield f"http://{environment['FEEDBACK_METRICS__LISTEN']}"
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()[-4000:]
        finally:
            process.kill()
            process.wait()
            print(log.read_text()[-4000:])

    return started


def get(url):
    """Status and text; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def shown(address, topic=None):
    """Values of /metrics by name: those without a topic, and those of this one."""
    families = text_string_to_metric_families(get(f"{address}/metrics")[1])
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("topic") in (topic, None) and "le" not in sample.labels
    }


def test_ready_only_when_every_partition_is_recovered(settings, start, embedded_kafka, tmp_path):
    kafka, gate = {"bootstrap": embedded_kafka, "partitions": 2}, tmp_path / "gate"
    configured = settings(kafka=kafka)
    asyncio.run(ensure(configured))
    recovered = "feedback_recovery_seconds"
    with start("-m", "tests.support.slow_worker", str(gate), kafka=kafka) as address:
        until(lambda: recovered in shown(address, Topics(configured.kafka.prefix).responses))
        time.sleep(1.5)  # one look of the watchdog, and the other partitions
        assert get(f"{address}/readyz") == (503, "recovering\n")
        assert get(f"{address}/healthz") == (200, "ok\n")
        assert shown(address)["feedback_worker_ready"] == 0
        gate.touch()
        until(lambda: get(f"{address}/readyz") == (200, "ready\n"))
        until(lambda: shown(address)["feedback_worker_ready"] == 1)


def test_a_worker_for_which_no_partition_is_left_is_ready(settings, start, embedded_kafka):
    """A rolling upgrade waits for it."""
    kafka = {"bootstrap": embedded_kafka, "partitions": 1}
    asyncio.run(ensure(settings(kafka=kafka)))
    listen = [{"listen": f"127.0.0.1:{free_port()}"} for _ in range(2)]
    with (
        start(*COUNTING, kafka=kafka, metrics=listen[0]) as one,
        start(*COUNTING, kafka=kafka, metrics=listen[1]) as other,
    ):
        for address in (one, other):
            until(lambda address=address: get(f"{address}/readyz")[0] == 200)


def test_a_worker_tells_how_its_journal_is(settings, start, embedded_kafka, seed):
    more = {"kafka": {"bootstrap": embedded_kafka, "partitions": 1}, "worker": {"snapshot_mb": 0.05}}
    configured = settings(**more)
    topic = Topics(configured.kafka.prefix).responses
    asyncio.run(ensure(configured))
    asyncio.run(send(embedded_kafka, topic, Traffic(seed), 3_000))

    def settled():
        found = shown(address, topic)
        return found.get("feedback_ids_remembered", 0) > 2_000 and not found["feedback_consumer_lag_records"]

    with start(*COUNTING, **more) as address:
        until(settled)
        time.sleep(1.5)
        found = shown(address, topic)
    assert abs(time.time() - found["feedback_snapshot_timestamp_seconds"]) < 60
    assert found["feedback_ids_memory_bytes"] > 20 * found["feedback_ids_remembered"]
    assert found["feedback_gap_filled_records_total"] == 0
    assert found["feedback_outbox_effects"] == 0
    with start(*COUNTING, **more) as address:
        until(lambda: get(f"{address}/readyz")[0] == 200)
        until(lambda: "feedback_ids_remembered" in shown(address, topic))
        after = shown(address, topic)
    for same in ("feedback_ids_remembered", "feedback_journal_tail_records", "feedback_journal_tail_bytes"):
        assert after[same] == found[same], same
    told = "feedback_snapshot_timestamp_seconds"
    assert after[told] == pytest.approx(found[told], abs=5), "by the log's time, by our own before"


async def send(bootstrap, topic, traffic, n):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    sent = []
    for _ in range(n):
        key, value = traffic.next()
        sent.append(await producer.send(topic, value, key=key, partition=0))
    await asyncio.gather(*sent)
    await producer.stop()
