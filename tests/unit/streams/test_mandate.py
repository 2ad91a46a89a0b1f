"""A worker shows windows only while the group lets it: not while it shares out, not after a silence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
)

from pipeline.streams.membership import Mandate, refusal


class Group:
    """A consumer whose heartbeats are answered as `alive` says, `takes` seconds after they were sent."""

    def __init__(self):
        self.now, self.takes, self.alive = 100.0, 0.0, True
        self._coordinator = SimpleNamespace(
            _do_heartbeat=self._answer, _push_error_to_user=self._hear, request_rejoin=self._rejoin
        )
        self.heard = []
        self.rejoined = 0

    async def _answer(self):
        self.now += self.takes
        return self.alive

    async def _hear(self, fault):
        self.heard.append(fault)

    def _rejoin(self):
        self.rejoined += 1

    async def refuse(self, fault):
        await self._coordinator._push_error_to_user(fault)

    async def beat(self):
        return await self._coordinator._do_heartbeat()


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def mandate(group):
    mandate = Mandate(6.0, lambda: group.now)
    mandate.follow(group)
    return mandate


def test_only_from_when_it_is_given_until_it_is_taken(mandate):
    assert (mandate.holds, mandate.ever) == (False, False)
    mandate.give()
    assert (mandate.holds, mandate.ever) == (True, True)
    mandate.take()
    assert (mandate.holds, mandate.ever) == (False, True)
    mandate.give()
    assert mandate.holds


async def test_heartbeats_keep_it_and_count_from_when_they_were_sent(group, mandate):
    mandate.give()
    for _ in range(5):
        group.now += 5
        assert mandate.holds
        assert await group.beat()
    group.takes = 4.0
    assert await group.beat()
    group.now += 1.9
    assert mandate.holds
    group.now += 0.2
    assert not mandate.holds


async def test_who_is_cut_off_loses_it_and_has_it_again_if_the_group_never_missed_it(group, mandate):
    mandate.give()
    group.alive = False
    group.now += 6.1
    assert not await group.beat()
    assert not mandate.holds
    group.alive = True
    assert await group.beat()
    assert mandate.holds


async def test_a_heartbeat_does_not_give_back_what_was_taken(group, mandate):
    mandate.give()
    mandate.take()
    assert await group.beat()
    assert not mandate.holds


async def test_a_refusal_is_heard_and_stays_and_trouble_that_passes_is_none(group, mandate):
    faults = KafkaConnectionError(), InvalidSessionTimeoutError(), KafkaConnectionError()
    for fault, refused in zip(faults, (False, True, True), strict=True):
        await group.refuse(fault)
        assert (mandate.refused is not None) is refused
    assert "set it between" in str(mandate.refused)
    assert "READ the groups" in str(refusal(GroupAuthorizationFailedError("g")))


async def test_the_group_is_asked_again_after_trouble_that_passes_and_faust_would_end_for_it(
    group, mandate, caplog
):
    unnamed, refused = KafkaError("UnknownError()"), InvalidSessionTimeoutError()
    await group.refuse(unnamed)
    assert (group.heard, group.rejoined) == ([], 1)
    assert "asking again" in caplog.text
    await group.refuse(refused)
    assert (group.heard, group.rejoined) == ([refused], 1)
