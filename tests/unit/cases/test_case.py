"""What a case keeps of what it heard: sets, which forget order and repetition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.cases.case import (
    MOST_OPENINGS,
    MOST_TIMES,
    NEVER,
    UNHEARD,
    Case,
    Opening,
    action_of,
    passed,
    time_of,
)
from tests.support.single import CaseEvent, step

DAY = 86_400_000


def happened(action: str, at: int, *, touchpoint: str = "help", segment: str | None = None) -> CaseEvent:
    return CaseEvent(f"case_{action}", at, touchpoint, "chat", segment, "P2", "c-7")


def after(*events: CaseEvent) -> Case:
    case = UNHEARD
    for event in events:
        case = step(case, event)
    return case


def times(case: Case, action: int) -> list[int]:
    return [time_of(mark) for mark in case.heard if action_of(mark) == action]


def test_a_case_keeps_the_times_of_each_action():
    case = after(
        happened("resolved", 40),
        happened("opened", 10),
        happened("replied", 20),
        happened("contacted", 25),
        happened("replied", 15),
        happened("waiting", 26),
        happened("resumed", 27),
        happened("reopened", 50),
        happened("closed", 60),
    )
    assert case.openings == (Opening(10, "help", "chat", None, "P2", "c-7"),)
    assert [times(case, action) for action in range(7)] == [[15, 20], [25], [26], [27], [40], [50], [60]]
    assert (case.first_ms, case.last_ms) == (10, 60)


def test_of_nothing_nothing_is_known():
    assert (UNHEARD.first_ms, UNHEARD.last_ms) == (NEVER, NEVER)


def test_openings_are_kept_in_order():
    early, late = happened("opened", 10, touchpoint="early"), happened("opened", 20, touchpoint="late")
    assert (
        after(early, late).openings
        == after(late, early).openings
        == (Opening(*early[1:]), Opening(*late[1:]))
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (happened("opened", 10, touchpoint="a"), happened("opened", 10, touchpoint="b")),
        (happened("opened", 10, segment="gold"), happened("opened", 10, segment=None)),
        (happened("opened", 10, segment=""), happened("opened", 10, segment=None)),
    ],
)
def test_two_openings_at_one_instant_agree_in_both_orders(one: CaseEvent, other: CaseEvent):
    assert (
        after(one, other).openings == after(other, one).openings == (Opening(*one[1:]), Opening(*other[1:]))
    )


@pytest.mark.parametrize(
    "action", ["case_opened", "case_replied", "case_resolved", "page_viewed", "case_", ""]
)
def test_what_is_not_new_gives_the_same_object(action: str):
    event = CaseEvent(action, 7, "help", "chat")
    case = step(UNHEARD, event)
    assert step(case, event) is case


@pytest.mark.parametrize("action", ["page_viewed", "case_escalated", ""])
def test_an_action_without_meaning_leaves_no_trace(action: str):
    assert step(None, CaseEvent(action, 7, "help", "chat")) is UNHEARD


def test_time_passes_forwards_only():
    case = after(happened("opened", 10))
    later = passed(case, 500)
    assert (later.clock_ms, later.revision) == (500, case.revision + 1)
    assert passed(later, 500) is later and passed(later, 3) is later


def test_a_revision_rises_with_every_change_and_across_lives():
    first = after(happened("opened", 3 * DAY), happened("replied", 3 * DAY), happened("replied", 3 * DAY))
    assert first.revision == 3001
    assert after(happened("opened", 100 * DAY)).revision == 100_000
    assert after(happened("opened", -5)).revision == 0
    assert after(happened("opened", 2**55)).revision == 2_000_000_000


def test_a_customer_id_of_any_length_does_not_stand_in_every_record():
    long = happened("opened", 10)._replace(customer_id="x" * 100_000)
    assert after(long).openings[0].customer_id is None
    assert after(long, long) == after(long)


@given(st.lists(st.integers(0, 3 * MOST_TIMES)), st.randoms(use_true_random=False))
def test_a_flood_keeps_the_first_and_the_last_in_every_order(ats: list[int], random):
    events = [happened("resolved", at) for at in ats + list(range(MOST_TIMES - 5, 2 * MOST_TIMES + 5))]
    events += [happened("replied", at) for at in ats]
    case = after(*events)
    random.shuffle(events)
    assert replace(after(*events, *events), revision=0) == replace(case, revision=0)
    resolved = times(case, 4)
    assert resolved[0] == min(at for action, at, *_ in events if action == "case_resolved")
    assert resolved[-1] == max(at for action, at, *_ in events if action == "case_resolved")
    assert len(resolved) == MOST_TIMES


def test_a_flood_of_events_of_one_case_stays_small():
    case = after(*(happened("replied", at * 7919 % 10_007) for at in range(10_007)))
    half = MOST_TIMES // 2
    assert times(case, 0) == [*range(half), *range(10_007 - half, 10_007)]


def test_a_flood_of_openings_keeps_the_first_and_the_last():
    case = after(*(happened("opened", at * 7 % 1000) for at in range(1000)))
    half = MOST_OPENINGS // 2
    assert [opening.at_ms for opening in case.openings] == [*range(half), *range(1000 - half, 1000)]
