"""What a worker owns the group alone decides, whatever is still under way; what it commits is done for good."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from faust.types import TP

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.streams.drain import _rolled
from pipeline.streams.owned_inputs import Owned
from pipeline.streams.roll import Roll
from pipeline.streams.safe_consumer import SafeConsumer
from pipeline.streams.tally import Tally
from tests.support.memory_log import MemoryLog

NOBODY = SimpleNamespace(forget=lambda *_: None)


def tally():
    return Tally("responses", 1, None, lambda _: pytest.fail("made"), NOBODY)


def roll():
    return Roll(Settings(), lambda _: (MemoryLog(), MemoryLog()), None, NOBODY)


@pytest.mark.parametrize("handler", [tally, roll])
async def test_a_batch_that_waited_while_its_partition_went_to_another_is_left_to_that_one(handler):
    one = handler()
    assert not await one.on_batch(3, Records.of([b""], [7], [0]))
    await one.recover(3)
    assert not one.partitions


async def test_a_drain_does_not_take_back_what_another_has_now():
    one = roll()
    assert not await _rolled(one)(SimpleNamespace(partition=3), 0)
    assert not one.partitions


async def test_nothing_is_shown_of_a_partition_that_went_to_another_meanwhile():
    shown, applied = [], SimpleNamespace(applied=6, published=0)

    class Shown:
        def __getattr__(self, name):
            return lambda *_: shown.append(name)

    class Partition:
        partition, state, expired = 3, applied, 0

        async def behind(self):
            one.forget([3])
            return 5

        async def apply(self, _):
            one.forget([3])
            effect = SimpleNamespace(outcomes={}, watermark=7)
            return [SimpleNamespace(effect=effect, rejected=[], misplaced=0, checked=None)]

        async def tidy(self):
            return False

    one = Tally("responses", 1, None, lambda _: Partition(), Shown())
    for work in (lambda: one.observe(), lambda: one.on_batch(3, Records.of([b""], [7], [0]))):
        one.own([3])
        one._owned[3].ready = True
        one._owned[3].told = SimpleNamespace(tell=lambda *_: None)
        await work()
        assert not one.partitions
    assert not {"lag", "watermark"} & set(shown)
    assert shown.count("forget") == 2


async def test_work_under_way_goes_on_for_nobody():
    log = MemoryLog()
    one = Roll(
        Settings(),
        lambda _: (log, MemoryLog()),
        None,
        SimpleNamespace(**vars(NOBODY), recovery=lambda *_: None),
    )
    one.own([3])
    batch = asyncio.create_task(one.on_batch(3, Records.of([], [], [])))
    await asyncio.sleep(0)
    one.forget([3])
    assert await batch
    assert not one.partitions


@pytest.mark.parametrize(
    ("done", "in_flight", "committed"), [(0, [], None), (9, [], 5), (10, [], 10), (99, [7], 5), (99, [], 20)]
)
def test_only_what_is_sent_on_is_committed(done, in_flight, committed):
    """A drain goes by it: a worker that is killed with a commit ahead of what it sent would leave that to nobody."""
    tp, consumer = TP("responses", 3), SafeConsumer.__new__(SafeConsumer)
    consumer.handlers = {"responses": SimpleNamespace(done=lambda _: done)}
    consumer._acked, consumer._acked_index = {tp: [4, 9, 19]}, {tp: {4, 9, 19}}
    consumer._unacked_messages = [
        SimpleNamespace(tp=tp, acked=False, value=None, offset=first) for first in in_flight
    ]
    assert consumer._new_offset(tp) == committed
    assert consumer._acked[tp] == [offset for offset in (4, 9, 19) if offset >= (committed or 0)]


def test_an_input_is_done_when_its_outcomes_are_told_and_all_that_was_owed_then_is_sent():
    state = SimpleNamespace(published=0)
    one = Owned(SimpleNamespace(state=state))
    found = []
    for published, told in (
        (0, None),
        (0, (10, 1)),
        (0, (20, 3)),
        (1, None),
        (2, (30, 4)),
        (4, None),
        (4, (40, 0)),
    ):
        state.published = published
        if told:
            one.told_to(*told)
        found.append(one.done)
    assert found == [0, 0, 0, 11, 11, 31, 41]
