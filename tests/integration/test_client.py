"""The client against real brokers: what is acknowledged is there, what is not is told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.client import (
    AsyncFeedback,
    BufferFullError,
    ClosedError,
    Delivery,
    DeliveryError,
    EventError,
    Feedback,
)
from pipeline.config import Settings
from pipeline.embedded import apache
from pipeline.embedded.apache import ApacheKafka
from pipeline.embedded.broker import EmbeddedBroker
from pipeline.embedded.process import Child, free_port
from pipeline.errors import FeedbackError
from pipeline.events.partition import partition_of
from pipeline.streams.setup import ensure
from tests.support import topic_log
from tests.support.needs import need

ROOT = Path(__file__).parents[2]
Build = Callable[..., Settings]
Broker = ApacheKafka | EmbeddedBroker
PARTITIONS = 4


@pytest.fixture
async def prefix(settings: Build, kafka: str) -> str:
    """Of topics that are set up, on the broker of the test."""
    on_broker = settings(kafka={"bootstrap": kafka, "partitions": PARTITIONS})
    await ensure(on_broker)
    return on_broker.kafka.prefix


async def test_the_five_lines(kafka: str, prefix: str) -> None:
    with Feedback(kafka, source="checkout", prefix=prefix) as feedback:
        feedback.touchpoint("checkout", "order_paid", channel="web", customer_id="c-1")
        feedback.csat("checkout", 5, channel="web", comment="fast!")
    (paid,) = await topic_log.events(kafka, f"{prefix}.touchpoints")
    (rated,) = await topic_log.events(kafka, f"{prefix}.responses")
    assert (paid["source"], paid["action"], paid["customer_id"]) == ("checkout", "order_paid", "c-1")
    assert (rated["instrument"], rated["score"], rated["comment"]) == ("csat_1_5", 5, "fast!")


async def test_every_call_of_both_clients_makes_its_record(kafka: str, prefix: str) -> None:
    with Feedback(kafka, source="app", prefix=prefix) as feedback:
        ids = [
            feedback.nps("shop", 10, channel="web", response_id="mine", revision=2, retracted=True),
            feedback.ces("shop", 7, channel="web", segment="new", language="de"),
            feedback.response("mood_1_4", 4, touchpoint="shop", channel="web"),
        ]
    async with AsyncFeedback(kafka, source="app", prefix=prefix) as other:
        ids.append(await other.csat("shop", 1, channel="app", case_id="k"))
        await other.flush()
        paid = await other.touchpoint("shop", "paid", channel="app", attributes={"a": "b"}, event_id="e")
    found = {one["response_id"]: one for one in await topic_log.events(kafka, f"{prefix}.responses")}
    assert (ids[0], paid) == ("mine", "e")
    assert [(found[one]["instrument"], found[one]["score"]) for one in ids] == [
        ("nps_0_10", 10),
        ("ces_1_7", 7),
        ("mood_1_4", 4),
        ("csat_1_5", 1),
    ]
    assert (found["mine"]["revision"], found["mine"]["retracted"]) == (2, True)
    (event,) = await topic_log.events(kafka, f"{prefix}.touchpoints")
    assert event["attributes"] == {"a": "b"}


async def test_records_are_placed_by_their_keys_and_deliveries_tell_where(kafka: str, prefix: str) -> None:
    told: dict[str, Delivery] = {}

    def note(delivery: Delivery) -> None:
        told[delivery.message.id] = delivery

    with Feedback(kafka, source="app", prefix=prefix, on_delivery=note) as feedback:
        for number in range(200):
            feedback.nps("shop", number % 11, channel="web", customer_id="c")
            feedback.touchpoint("shop", "seen", channel="web", customer_id=f"c-{number % 7}")
    responses = await topic_log.records(kafka, f"{prefix}.responses")
    touchpoints = await topic_log.records(kafka, f"{prefix}.touchpoints")
    assert len(told) == len(responses) + len(touchpoints) == 400
    assert {one.partition for one in responses} == set(range(PARTITIONS))
    by_place = {(one.topic, one.partition, one.offset): one for one in [*responses, *touchpoints]}
    for delivery in told.values():
        record = by_place[delivery.topic, delivery.partition, delivery.offset]
        assert (record.key, record.value) == (delivery.message.key, delivery.message.value)
        assert record.partition == partition_of(record.key, PARTITIONS)
    assert {one.key for one in touchpoints} == {f"c-{number}".encode() for number in range(7)}


async def test_many_threads_share_a_client_and_keep_their_order(kafka: str, prefix: str) -> None:
    def work(feedback: Feedback, name: str) -> None:
        for step in range(500):
            feedback.touchpoint("shop", str(step), channel="web", customer_id=name)

    # A buffer of some hundred events, so that threads wait for room as well.
    with Feedback(kafka, source="app", prefix=prefix, buffer_bytes=200_000, block_seconds=60) as feedback:
        threads = [threading.Thread(target=work, args=(feedback, f"c-{number}")) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    steps: dict[str, list[int]] = defaultdict(list)
    for event in await topic_log.events(kafka, f"{prefix}.touchpoints"):
        steps[event["customer_id"]].append(int(event["action"]))
    assert dict(steps) == {f"c-{number}": list(range(500)) for number in range(8)}


async def test_wrong_arguments_are_told_at_the_call_and_send_nothing(kafka: str, prefix: str) -> None:
    with Feedback(kafka, source="app", prefix=prefix) as feedback:
        with pytest.raises(ValueError, match="score must be 1 to 5 on csat_1_5, not 6"):
            feedback.csat("shop", 6, channel="web")
        with pytest.raises(EventError, match=r"touchpoint must not be empty; .*channel must not be empty"):
            feedback.touchpoint("", "paid", channel="")
        with pytest.raises(EventError, match=r"comments is not a field; did you mean comment\?"):
            feedback.csat("shop", 5, channel="web", comments="x")  # type: ignore[call-arg]  # the mistake under test
    with pytest.raises(EventError, match="source must name the app"):
        Feedback(kafka, source="")
    assert await topic_log.events(kafka, f"{prefix}.responses") == []


async def test_a_missing_topic_is_told_and_never_created(kafka: str, kafka_prefix: str) -> None:
    with (
        pytest.raises(DeliveryError, match=f"there is no topic {kafka_prefix}.touchpoints.*feedback setup"),
        Feedback(kafka, source="app", prefix=kafka_prefix, close_seconds=2) as feedback,
    ):
        feedback.csat("shop", 5, channel="web")
    assert not {name for name in await topic_log.names(kafka) if name.startswith(kafka_prefix)}


async def test_a_setup_that_comes_later_lets_the_waiting_events_through(
    kafka: str, settings: Build, kafka_prefix: str
) -> None:
    async with AsyncFeedback(kafka, source="app", prefix=kafka_prefix) as feedback:
        sent = await feedback.csat("shop", 5, channel="web")
        with pytest.raises(DeliveryError) as caught:
            await feedback.flush(1.0)
        assert caught.value.ids == (sent,)
        await ensure(settings(kafka={"bootstrap": kafka}))
        await feedback.flush(30.0)
    assert [one["response_id"] for one in await topic_log.events(kafka, f"{kafka_prefix}.responses")] == [
        sent
    ]


def test_a_call_does_not_wait_for_a_broker_that_is_away_and_nothing_is_lost_in_silence() -> None:
    feedback = Feedback(f"127.0.0.1:{free_port()}", source="app", buffer_bytes=5000, block_seconds=0.2)
    taken = []
    with pytest.raises(BufferFullError, match=r"no broker answers at .* This event was not taken"):
        while True:
            taken.append(feedback.csat("shop", 5, channel="web"))
    assert len(taken) > 3
    with pytest.raises(DeliveryError) as flushed:
        feedback.flush(0.2)
    with pytest.raises(
        DeliveryError, match=r"events were not acknowledged: no answer within 0\.2 s"
    ) as closed:
        feedback.close(0.2)
    assert list(flushed.value.ids) == list(closed.value.ids) == taken
    assert feedback.trouble
    feedback.close()
    with pytest.raises(ClosedError):
        feedback.csat("shop", 5, channel="web")
    with pytest.raises(ClosedError):
        feedback.flush()


async def test_the_asynchronous_client_tells_the_same() -> None:
    feedback = AsyncFeedback(f"127.0.0.1:{free_port()}", source="app", buffer_bytes=5000, block_seconds=0.2)
    with pytest.raises(ClosedError, match="async with"):
        await feedback.csat("shop", 5, channel="web")
    taken = []
    with pytest.raises(DeliveryError) as caught:
        async with feedback:
            with pytest.raises(BufferFullError):
                while True:
                    taken.append(await feedback.csat("shop", 5, channel="web"))
            await feedback.close(0.2)
    assert list(caught.value.ids) == taken
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_apps_own_exception_goes_before_what_was_not_delivered() -> None:
    with (
        pytest.raises(KeyError) as caught,
        Feedback(f"127.0.0.1:{free_port()}", source="app", close_seconds=0.2) as feedback,
    ):
        feedback.csat("shop", 5, channel="web")
        raise KeyError("app")
    assert "1 event was not acknowledged" in caught.value.__notes__[0]


FORGETFUL = """
import logging, sys
from pipeline.client import Feedback
logging.basicConfig()
feedback = Feedback(sys.argv[1], source="app", prefix=sys.argv[2], close_seconds=float(sys.argv[3]))
print(feedback.csat("shop", 5, channel="web"))
"""
FORKED = """
import os, sys
from pipeline.client import ClosedError, Feedback
with Feedback(sys.argv[1], source="app", prefix=sys.argv[2]) as feedback:
    feedback.csat("shop", 5, channel="web")
    child = os.fork()
    if child == 0:
        try:
            feedback.csat("shop", 4, channel="web")
        except ClosedError as fault:
            print(fault, flush=True)
        feedback.close()
        os._exit(0)
    os.waitpid(child, 0)
"""


def script(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)


async def test_who_forgets_to_close_delivers_at_exit(kafka: str, prefix: str) -> None:
    run = await asyncio.to_thread(script, FORGETFUL, kafka, prefix, "20")
    (event,) = await topic_log.events(kafka, f"{prefix}.responses")
    assert run.stdout.strip() == event["response_id"]
    assert run.stderr == ""


def test_who_forgets_to_close_while_the_broker_is_away_is_told_at_exit() -> None:
    run = script(FORGETFUL, f"127.0.0.1:{free_port()}", "feedback", "0.3")
    assert "lost at exit: 1 event was not acknowledged" in run.stderr


async def test_a_forked_process_is_told_to_make_its_own(kafka: str, prefix: str) -> None:
    run = await asyncio.to_thread(script, FORKED, kafka, prefix)
    assert "was made before a fork" in run.stdout
    assert [one["score"] for one in await topic_log.events(kafka, f"{prefix}.responses")] == [5]


# Outages, on brokers of the tests' own


class Mortal:
    """A broker that a test may end and start again."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.child: Child | None = None

    async def start(self) -> None:
        # In this thread: the child dies with the thread that starts it.
        self.child = self.broker.start()
        await asyncio.to_thread(self.child.wait_ready)

    async def end(self) -> None:
        """By SIGKILL; the embedded broker loses its last second by that, so it is asked to stop."""
        assert self.child
        if isinstance(self.broker, ApacheKafka):
            await asyncio.to_thread(self.child.kill)
        self.broker.stop()


@pytest.fixture(params=["embedded", "apache"])
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mortal]:
    broker: Any
    if request.param == "embedded":
        broker = EmbeddedBroker(tmp_path, port=free_port())
    else:
        try:
            apache.require_java()
            broker = ApacheKafka(apache.fetch(ROOT / apache.BUILD), tmp_path)
        except FeedbackError as missing:
            need(str(missing))
    yield Mortal(broker)
    broker.stop()


@pytest.mark.slow
async def test_events_outlive_a_broker_that_is_away_and_ends_and_is_back(
    mortal: Mortal, settings: Build, caplog: pytest.LogCaptureFixture
) -> None:
    address = mortal.broker.bootstrap
    on_broker = settings(kafka={"bootstrap": address, "partitions": PARTITIONS})
    topic = f"{on_broker.kafka.prefix}.responses"
    delivered: list[Delivery] = []
    feedback = AsyncFeedback(
        address, source="app", prefix=on_broker.kafka.prefix, on_delivery=delivered.append, block_seconds=60
    )
    async with feedback:
        ids = [await feedback.csat("shop", 5, channel="web") for _ in range(100)]  # nobody is there yet
        await mortal.start()
        await ensure(on_broker)
        await feedback.flush(60)
        assert Counter(one.message.id for one in delivered) == Counter(ids)
        for number in range(2000):
            if number == 700:
                await mortal.end()
            if number == 1400:
                await mortal.start()
            ids.append(await feedback.csat("shop", number % 5 + 1, channel="web"))
        await feedback.flush(90)
    assert Counter(one.message.id for one in delivered) == Counter(ids)
    stored = await topic_log.records(address, topic)
    by_place = {(one.partition, one.offset): one.value for one in stored}
    assert all(by_place[one.partition, one.offset] == one.message.value for one in delivered)
    said = [one.created for one in caplog.records if one.name.startswith("aiokafka")]
    assert len(said) < 30 + 15 * (said[-1] - said[0])  # it stands in the app's own log
    print(f"{len(said)} lines of aiokafka's within {said[-1] - said[0]:.0f} s")
    print(f"{len(ids)} events, {len(stored) - len(ids)} of them twice in the log")
