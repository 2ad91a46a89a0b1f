"""Reading along: the archive takes what the tallies offer, and has each offset once and in order."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import polars as pl
import pytest
from aiokafka import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import Rules
from pipeline.events.checked import Checked
from pipeline.events.records import Records
from pipeline.events.schemas import by_ids
from pipeline.journal.decide import DecideResponses, DecideTouchpoints
from pipeline.journal.state import State
from pipeline.measures.instruments import SHIPPED, bounds
from pipeline.streams import along as along_module
from pipeline.streams.along import Along, read_along
from pipeline.streams.rows import sources
from pipeline.streams.tables import Tables
from pipeline.streams.topics import Topics
from tests.support.traffic import Touchpoints, Traffic

T = Topics("feedback")
TP = TopicPartition(T.responses, 0)
HORIZON = 7 * 86_400_000


def log(first: int, last: int) -> Records:
    """The records of [first, last)."""
    return Records.of([b"%d" % n for n in range(first, last)], range(first, last), range(first, last))


class Clock:
    """Stands still until the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Consumer:
    """As far as reading along asks it: one partition, a position, and whether it is paused."""

    readable = (TP, TopicPartition(T.responses, 1))

    def __init__(self) -> None:
        self.at = 0
        self.stopped = False

    async def position(self, _: TopicPartition) -> int:
        return self.at

    def paused(self) -> set[TopicPartition]:
        return {TP} if self.stopped else set()

    def pause(self, _: TopicPartition) -> None:
        self.stopped = True

    def resume(self, _: TopicPartition) -> None:
        self.stopped = False

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.at = offset


class Several(Consumer):
    """The same of more than one partition, each at a position of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Counter[TopicPartition]()

    async def position(self, tp: TopicPartition) -> int:
        return self.places[tp]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.places[tp] = offset


def following(room: int = 1 << 20) -> tuple[Along, Clock]:
    clock = Clock()
    along = Along([T.responses], room, clock)
    along.want([TP, TopicPartition(T.cells, 0)])
    return along, clock


def taken(along: Along, position: int) -> list[tuple[int, int]]:
    return [(some.first, some.last + 1) for some in along.take(TP, position)]


async def looked(along: Along, consumer: Consumer) -> Sequence[Records]:
    return (await read_along(consumer, along, 1000, lambda: True, Consumer.readable)).get(TP, ())


def test_what_goes_on_at_the_position_is_taken_and_what_comes_after_a_gap_waits() -> None:
    along, _ = following()
    for first, last in [(0, 4), (4, 10), (10, 12), (15, 20)]:
        along.offer(TP.topic, TP.partition, log(first, last))
    assert taken(along, 6) == [(6, 10), (10, 12)]
    assert taken(along, 12) == []
    assert taken(along, 15) == [(15, 20)]


def test_the_hole_that_a_transaction_leaves_is_no_gap() -> None:
    along, _ = following()
    for first, last, since in [(0, 4, 0), (5, 10, 4), (11, 12, 10), (15, 20, 14)]:
        along.offer(TP.topic, TP.partition, replace(log(first, last), since=since))
    assert taken(along, 0) == [(0, 4), (5, 10), (11, 12)]
    assert taken(along, 14) == [(15, 20)]


def test_without_room_and_for_nobody_it_is_dropped() -> None:
    along, _ = following(room=3_200)
    along.offer(TP.topic, 1, log(0, 4))
    for first in range(0, 100, 10):
        along.offer(TP.topic, TP.partition, log(first, first + 10))
    assert taken(along, 0) == [(0, 10), (10, 20)]
    along.offer(TP.topic, TP.partition, log(100, 110))
    along.want([TP])
    assert taken(along, 100) == []
    along.offer(TP.topic, TP.partition, log(100, 140))  # there is room again
    assert taken(along, 100) == [(100, 140)]


async def test_a_partition_is_not_fetched_while_its_tally_is_alive_and_not_ahead() -> None:
    along, clock = following()
    consumer = Consumer()
    await looked(along, consumer)
    assert consumer.stopped  # at first it may be about to offer
    along.offer(TP.topic, 0, log(0, 10))
    assert [len(some) for some in await looked(along, consumer)] == [10]
    assert (consumer.at, consumer.stopped) == (10, True)
    along.offer(TP.topic, 0, log(12, 20))
    assert not await looked(along, consumer)
    assert not consumer.stopped  # it has passed us: 10 and 11 are to be fetched
    consumer.at = 12
    assert await looked(along, consumer)
    assert (consumer.at, consumer.stopped) == (20, True)
    clock.now += 3
    await looked(along, consumer)
    assert not consumer.stopped  # nothing is offered any more: it may be somebody else's


async def test_nobody_waits_for_ever_behind_a_partition_of_which_much_is_offered() -> None:
    along, other = Along([T.responses]), TopicPartition(T.responses, 1)
    along.want([TP, other])
    along.offer(other.topic, other.partition, log(0, 10))
    consumer, read = Several(), set[TopicPartition]()
    for first in range(0, 30, 10):
        along.offer(TP.topic, TP.partition, log(first, first + 10))
        read |= (await read_along(consumer, along, 10, lambda: True, Consumer.readable)).keys()
    assert read == {TP, other}


async def test_a_partition_that_waits_for_a_schema_stays_paused() -> None:
    along, clock = following()
    consumer = Consumer()
    await looked(along, consumer)
    along.offer(TP.topic, 0, log(0, 10))
    clock.now += 3
    assert not await read_along(consumer, along, 1000, lambda: True, ())
    assert (consumer.at, consumer.stopped) == (0, True)


async def test_of_large_records_some_are_taken_and_the_rest_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(along_module, "_AT_ONCE", 15)
    along, _ = following()
    consumer = Consumer()
    for first in range(0, 30, 10):
        along.offer(TP.topic, TP.partition, log(first, first + 10))  # ten bytes, then twenty each
    for stops in ([10, 20], [30]):
        assert [some.last + 1 for some in await looked(along, consumer)] == stops
        assert (consumer.at, consumer.stopped) == (stops[-1], True)


async def test_after_a_rebalance_nothing_moves_that_may_be_somebody_elses() -> None:
    along, _ = following()
    consumer = Consumer()
    await looked(along, consumer)
    along.offer(TP.topic, 0, log(0, 10))
    assert not await read_along(consumer, along, 1000, lambda: False, Consumer.readable)
    assert consumer.at == 0
    along.want(())  # while the group is being joined the partition is still paused
    assert not await looked(along, consumer)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["offer", "offer", "lost", "fetch", "look", "look", "wait", "rebalance"]),
        st.integers(1, 30),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(steps=STEPS, room=st.sampled_from([4_000, 12_000, 1 << 20]))
async def test_each_offset_comes_once_and_in_order(steps: list[tuple[str, int]], room: int) -> None:
    """Whatever the tally offers, loses and drops, however far the archive fetches for itself."""
    along, clock = following(room)
    consumer, told, read = Consumer(), 0, list[int]()
    for step, n in [*steps, ("wait", 30), ("look", 1), ("fetch", 10_000)]:
        if step in ("offer", "lost"):
            if step == "offer":
                along.offer(TP.topic, 0, log(told, told + n))
            told += n
        elif step == "fetch" and not consumer.stopped:
            read += range(consumer.at, consumer.at + n)
            consumer.at += n
        elif step == "look":
            read += [offset for some in await looked(along, consumer) for offset in some.offsets.tolist()]
        elif step == "wait":
            clock.now += n / 10
        elif step == "rebalance":  # what was not stored is read again
            consumer = Consumer()
            consumer.at = max(0, len(read) - n)
            del read[consumer.at :]
            along.want([TP])
    assert read == list(range(len(read)))
    assert len(read) > 9_000  # in the end it is left to itself


@pytest.mark.parametrize("topic", ["responses", "touchpoints"])
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_the_same_whoever_decoded_them(
    monkeypatch: pytest.MonkeyPatch, topic: str, seed: int
) -> None:
    """Garbage, rejected scores, edits and empty segments included; cut anywhere, offered or fetched."""
    monkeypatch.setattr(along_module, "_SMALL", 3)
    rng, now = random.Random(seed), int(time.time() * 1000)
    traffic = Traffic(seed) if topic == "responses" else Touchpoints(seed)
    values = [traffic.next()[1] for _ in range(600)]
    values[7], values[8] = None, b""
    whole = Records.of(values, range(len(values)), [now + k for k in range(len(values))])
    decide = (
        DecideResponses(T.responses, SHIPPED, HORIZON, 1)
        if topic == "responses"
        else DecideTouchpoints(T.touchpoints, Rules(), HORIZON, 1)
    )
    tp, rest, parts = TopicPartition(f"feedback.{topic}", 0), whole, []
    along = Along([tp.topic], 1 << 30)
    along.want([tp])
    while len(rest):
        part, rest = rest.split(rng.choice([1, 2, 40, 90]))
        if rng.random() < 0.4:
            parts.append(part)
            continue
        checked = decide(State(), 0, part).checked
        assert checked is not None
        along.offer(*tp, checked)
        fetched, _ = part.split(rng.choice([0, 0, 1]))  # the archive may be somewhat ahead
        parts += [*([fetched] if len(fetched) else []), *along.take(tp, part.first + len(fetched))]
    assert any(isinstance(part, Checked) for part in parts)
    tables = Tables(sources(T, bounds(SHIPPED)), by_ids)
    plain, mixed = tables.of({tp: [whole]}), tables.of({tp: parts})
    assert plain.keys() == mixed.keys() == {topic, "progress"}
    assert plain["progress"].equals(mixed["progress"])
    assert _told(plain[topic]).equals(_told(mixed[topic]))
    assert len(plain[topic]) < len(values)


def _told(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).sort("kafka_offset")
