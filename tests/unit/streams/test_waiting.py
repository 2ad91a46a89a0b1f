"""Small batches go together, large ones do not, and a topic has room for many small ones."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.records import Records
from pipeline.journal.log import Unknown
from pipeline.journal.outcomes import Outcome
from pipeline.streams.tally import Tally
from pipeline.streams.waiting import Room, Waiting


def batch(first, n, value=b""):
    return Records.of([value] * n, list(range(first, first + n)), [0] * n)


@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans()), min_size=1, max_size=8))
def test_what_goes_together_goes_on_where_the_one_before_ends(drawn):
    waiting, batches, offset = Waiting(), [], 0
    for n, hole in drawn:
        batches.append(batch(offset + hole, n))
        waiting.add(batches[-1])
        offset += n + hole
    found = waiting.together(batches[0])
    assert [one.first for one in found] == [one.first for one in batches[: len(found)]]
    whole = Records.concat(found)
    assert len(whole) == whole.last + 1 - whole.first
    assert len(found) == 1 or len(whole) <= 4000
    if len(found) < len(batches):
        behind = batches[len(found)]
        assert behind.first > whole.last + 1 or len(whole) + len(behind) > 4000
    waiting.settled(found)
    assert [waiting.holds(one) for one in batches] == [k >= len(found) for k in range(len(batches))]


def test_over_the_marker_of_a_transaction_they_go_together():
    waiting, batches = Waiting(), [replace(batch(11 * k, 10), since=11 * k - 1) for k in range(1, 4)]
    for one in batches:
        waiting.add(one)
    assert waiting.together(batches[0]) == batches


async def test_only_those_that_go_together_let_more_come():
    for first, rests in ((10, True), (11, False)):
        waiting, one = Waiting(), batch(0, 10)
        waiting.add(one)
        await waiting.rest(one)  # as if the one before were just now
        waiting.add(batch(first, 10))
        resting = asyncio.create_task(waiting.rest(one))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert resting.done() is not rests
        await resting


async def test_a_topic_has_room_for_many_small_batches_that_go_together_and_for_a_few_others():
    for size, value, hole, fits in (
        (10, b"", 0, 1229),  # the first of a partition might stand behind a hole
        (10, b"", 1, 4),
        (30_000, b"", 0, 4),
        (4, bytes(1 << 20), 0, 4),  # thousands of them would be all the memory there is
        (4, bytes(1024), 0, 3072),
    ):
        room, taken = Room(), []
        one = partial(batch, n=size, value=value)
        for k in range(fits):
            taken.append(await asyncio.wait_for(room.enter(0, one(k * (size + hole))), 1))
        waits = asyncio.create_task(room.enter(0, one(fits * (size + hole))))
        await asyncio.sleep(0)
        assert not waits.done()
        room.leave(0, taken[0])
        await waits


async def test_a_partition_that_waits_leaves_its_room_to_others_and_is_not_fetched():
    room, large = Room(patience=0.01), partial(batch, n=5000)
    waits = [await room.enter(0, large(k * 5000)) for k in range(4)]
    for k in range(40):  # as they would with nothing else in flight
        room.leave(1, await asyncio.wait_for(room.enter(1, large(k * 5000)), 5))
        assert room.aside == {0}
    waits.append(await asyncio.wait_for(room.enter(0, large(20_000)), 1))  # it was on its way already
    full = [await room.enter(1, large(k * 5000)) for k in range(40, 44)]
    for takes in waits:
        assert room.aside == {0}
        room.leave(0, takes)
    assert not room.aside
    room.leave(1, full.pop())
    assert await asyncio.wait_for(room.enter(0, large(25_000)), 1) == full[0]


async def test_a_partition_of_which_something_is_settled_now_and_then_is_not_put_aside():
    now = [0.0]
    room, large = Room(patience=0.01, clock=lambda: now[0]), partial(batch, n=5000)
    taken = [await room.enter(0, large(k * 5000)) for k in range(4)]
    for k in range(4, 8):
        now[0] += 0.009
        room.leave(0, taken.pop())
        taken.append(await room.enter(0, large(k * 5000)))
        waits = asyncio.create_task(room.enter(0, large((k + 1) * 5000)))
        await asyncio.sleep(0.02)  # it has looked
        assert not room.aside
        waits.cancel()
    now[0] += 0.011
    await asyncio.wait_for(room.enter(1, large(0)), 5)
    assert room.aside == {0}


class Partition:
    """Settles nothing until it is told to; remembers what it was given."""

    def __init__(self):
        self.given, self.began, self.go = [], asyncio.Event(), asyncio.Event()
        self.state = SimpleNamespace(outcomes={}, applied=-1, index=(), leaves=(), outbox={})
        self.journal = SimpleNamespace(snapshot_time=0)
        self.partition = self.expired = 0
        self.sent, self.passed = {}, asyncio.Event()

    async def recover(self):
        pass

    async def apply(self, records):
        self.given.append((records.first, records.last))
        self.began.set()
        await self.go.wait()
        if records.first == 90:
            raise ValueError
        return []

    async def tidy(self):
        return False

    async def behind(self):
        if self.partition == 1:
            raise Unknown
        return 7

    def overdue(self, clock):
        return not self.passed.is_set()

    async def pass_time(self, clock):
        self.passed.set()

    async def publish(self):
        return 1


async def test_a_partition_that_waits_keeps_nothing_of_the_others_waiting():
    """The one waits for a schema, say, and the broker does not answer for the next one."""
    told, behind = [], {}
    outputs = SimpleNamespace(send=lambda sends: told.append(sends[0].partition) or asyncio.sleep(0))
    metrics = SimpleNamespace(
        recovery=lambda *_: None,
        forget=None,
        lag=lambda _, p, n: behind.update({p: n}),
    )
    partitions = [Partition() for _ in range(4)]
    for p, one in enumerate(partitions):
        one.partition = p
        one.state = SimpleNamespace(
            **vars(one.state) | {"outcomes": {(0, Outcome.COUNTED): 1}, "numbers": {}, "watermark": 0}
        )
    tally = Tally("responses", 4, outputs, partitions.__getitem__, metrics)
    tally.own(range(4))
    for p, owned in tally._owned.items():
        owned.told = SimpleNamespace(tell=lambda *_: None, snapshot=0)
        await tally.recover(p)
    waits = asyncio.create_task(tally.on_batch(0, batch(0, 10)))
    await partitions[0].began.wait()
    for _ in range(2):
        await asyncio.wait_for(tally.observe(), 5)
        await asyncio.wait_for(tally.pass_time(), 5)
        await asyncio.wait_for(tally.tell(), 5)
        assert await asyncio.wait_for(tally.tick(), 5) == 4
    assert sorted(behind) == [0, 2, 3]
    assert [one.passed.is_set() for one in partitions] == [False, True, True, True]
    assert len(told) == 3
    waits.cancel()


async def test_batches_that_came_meanwhile_are_settled_at_once_and_each_is_told():
    partition = Partition()
    metrics = SimpleNamespace(recovery=lambda *_: None, latency=lambda *_: None, forget=None)
    tally = Tally("responses", 1, None, lambda _: partition, metrics)
    tally.own([0])
    sent = [asyncio.create_task(tally.on_batch(0, batch(0, 10)))]
    await partition.began.wait()
    sent += [asyncio.create_task(tally.on_batch(0, batch(k, 10))) for k in (10, 20, 30, 50, 90)]
    await asyncio.sleep(0)
    sent[2].cancel()
    partition.go.set()
    done = await asyncio.gather(*sent, return_exceptions=True)
    # the first alone, those behind it together, but never over a hole
    assert partition.given == [(0, 9), (10, 19), (30, 39), (50, 59), (90, 99)]
    assert [type(one) for one in done] == [bool, bool, asyncio.CancelledError, bool, bool, ValueError]
    partition.given.clear()
    await asyncio.gather(*(tally.on_batch(0, batch(k, 10)) for k in (100, 110, 120)))
    assert partition.given == [(100, 129)]
