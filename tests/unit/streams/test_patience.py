"""What is worth another try, and what is not."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from pipeline.errors import Away, FeedbackError
from pipeline.journal.log import Unknown
from pipeline.streams.patience import GiveWay, persist, until


def failing(error, times=1):
    left = [error] * times

    async def call(what):
        if left:
            raise left.pop()
        return what

    return call


@pytest.mark.parametrize("error", [Away("no broker answers"), Unknown("?"), KafkaConnectionError()])
async def test_what_is_away_may_come_back(error):
    assert await persist(failing(error, 2), "the broker", "there") == "there"


async def test_what_is_refused_stays_refused():
    with pytest.raises(FeedbackError, match="run feedback setup"):
        await persist(failing(FeedbackError("run feedback setup")), "the broker", 1)


async def test_a_wait_that_is_given_up_leaves_nothing_behind():
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(until(asyncio.Event(), asyncio.Event().wait()), 0.001)
    for _ in range(3):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_what_can_wait_gives_way_to_a_recovery_but_not_for_ever():
    now = [0.0]
    way = GiveWay(longest=10, clock=lambda: now[0])

    def at(seconds, *, recovery=True):
        now[0] = seconds
        return way.to(recovery=recovery)

    assert not at(5, recovery=False)
    assert [at(7), at(16), at(17), at(30)] == [True, True, False, False]
    assert not at(40, recovery=False)
    assert at(50), "the next recovery goes first again"
