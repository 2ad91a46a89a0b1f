"""What a worker owns the group alone decides, whatever is still under way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from pipeline.config import Settings
from pipeline.events.records import Records
from pipeline.streams.drain import _rolled
from pipeline.streams.roll import Roll
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
