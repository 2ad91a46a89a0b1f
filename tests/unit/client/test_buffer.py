"""The buffer: in order, bounded, nothing forgotten."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.client.buffer import Buffer, Entry, Ticket
from pipeline.client.errors import ClosedError
from pipeline.client.message import Message


def message(name: str, size: int = 0) -> Message:
    return Message("touchpoint", name, b"", b"x" * size, 0)


def everything(_: Entry) -> bool:
    return True


def test_who_takes_is_told_once_until_it_has_looked() -> None:
    told: list[str] = []
    buffer = Buffer(10**6, lambda: told.append("now"))
    buffer.offer([message("a")])
    buffer.offer([message("b")])
    assert told == ["now"]
    assert not buffer.take(everything)
    buffer.offer([message("c")])
    assert told == ["now", "now"]


def test_a_full_buffer_takes_all_or_nothing_and_a_lone_message_always() -> None:
    buffer = Buffer(2000, lambda: None)
    assert buffer.offer([message("big", 5000)])
    assert not buffer.offer([message("next")])
    buffer.take(everything)
    assert not buffer.offer([message("next")]), "what is under way takes room as well"
    assert buffer.unsettled(1) == [message("big", 5000)]


async def test_withdrawing_leaves_what_is_under_way_and_what_others_wait_for() -> None:
    buffer = Buffer(10**6, lambda: None)
    ours, theirs = Ticket(2), Ticket(1)
    buffer.offer([message("sent"), message("waits")], ours)
    buffer.offer([message("theirs")], theirs)
    buffer.take(lambda entry: entry.message.id == "sent")
    buffer.withdraw(ours)
    assert [one.id for one in buffer.unsettled(3)] == ["sent", "theirs"]


async def test_a_ticket_ends_with_its_last_message_or_its_first_fault() -> None:
    good, bad = Ticket(2), Ticket(2)
    good.settle(None)
    assert not good.future.done()
    good.settle(None)
    assert good.future.done()
    bad.settle(ClosedError())
    bad.settle(None)
    with pytest.raises(ClosedError):
        await bad.future


def test_a_closed_buffer_takes_nothing() -> None:
    buffer = Buffer(10**6, lambda: None)
    buffer.close()
    with pytest.raises(ClosedError):
        buffer.offer([message("late")])


class Life(RuleBasedStateMachine):
    """Any order of offers, chunks, acknowledgements and failures."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer(20_000, lambda: None)
        self.waiting: list[Message] = []
        self.under_way: list[Entry] = []

    @rule(count=st.integers(1, 4), size=st.integers(0, 3000))
    def offer(self, count: int, size: int) -> None:
        messages = [message(f"{self.buffer.accepted + place}", size) for place in range(count)]
        held = [*(entry.message for entry in self.under_way), *self.waiting]
        fits = not held or sum(one.size for one in [*held, *messages]) <= 20_000
        assert self.buffer.offer(messages) == fits
        if fits:
            self.waiting += messages

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        if self.under_way:
            return
        taken: list[Entry] = []

        def fits(entry: Entry) -> bool:
            if len(taken) == count:
                return False
            taken.append(entry)
            return True

        more = self.buffer.take(fits)
        assert [entry.message for entry in taken] == self.waiting[:count]
        self.waiting, self.under_way = self.waiting[count:], taken
        assert more == bool(self.waiting)

    @rule(which=st.sets(st.integers(0, 4)))
    def settle(self, which: set[int]) -> None:
        self.buffer.settle([entry for place, entry in enumerate(self.under_way) if place in which])
        self.under_way = [entry for place, entry in enumerate(self.under_way) if place not in which]

    @rule()
    def put_back(self) -> None:
        self.buffer.put_back()
        self.waiting = [*(entry.message for entry in self.under_way), *self.waiting]
        self.under_way = []

    @invariant()
    def nothing_is_forgotten(self) -> None:
        held = [*(entry.message for entry in self.under_way), *self.waiting]
        assert self.buffer.unsettled(self.buffer.accepted) == held
        assert self.buffer.is_settled(self.buffer.accepted) == (not held)


TestLife = Life.TestCase
