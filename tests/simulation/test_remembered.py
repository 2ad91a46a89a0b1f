"""Remembered decisions are the decisions; what they depend on cannot be hidden from their key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.events.records import Records
from pipeline.events.schemas import schema
from pipeline.journal.effect import pack_effect
from pipeline.journal.partition import Decision
from pipeline.journal.state import State
from tests.simulation.load import BEGIN, HORIZON, RECORDS, history
from tests.simulation.remembered import AGAIN, HiddenInput, Remembered
from tests.simulation.world import DECIDE

RESPONSES = DECIDE["responses"]


class LooksAside:
    """A decider that looks at something which is in no key."""

    max_records, horizon = 9, HORIZON

    def __call__(self, state: State, partition: int, records: Records) -> Decision:
        return replace(RESPONSES(state, partition, records), misplaced=state.applied)


def test_a_hidden_input_is_found() -> None:
    decide, records, state = Remembered(LooksAside(), schema("SurveyResponse")), some(0, 3), State()
    decide(state, 0, records)
    state.applied = 1
    with pytest.raises(HiddenInput):
        for _ in range(AGAIN):
            decide(state, 0, records)


def test_numbers_go_on_from_the_state() -> None:
    """The same batch after other effects: the counters are those of now, everything else is the same."""
    decide = Remembered(RESPONSES, schema("SurveyResponse"))
    for sequence, published, numbers in ((0, 0, {}), (7, 5, {0: 3, 1: 4})):
        state = State()
        state.sequence, state.published = sequence, published
        state.numbers.update(numbers)
        for records in (some(0, 9), some(9, RECORDS)):
            got, want = decide(state, 0, records), RESPONSES(state, 0, records)
            assert pack_effect(got.effect) == pack_effect(want.effect)
            assert state.fold(want.effect)


def some(start: int, stop: int) -> Records:
    """Some records of a history without transaction markers."""
    values = [value if isinstance(value, bytes) else b"" for value in history("responses", 1).values]
    offsets = range(start, stop)
    return Records.of(values[start:stop], offsets, [BEGIN] * len(offsets))
