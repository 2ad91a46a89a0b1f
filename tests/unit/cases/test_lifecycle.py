"""Whole lives of cases: what comes out of the events, in whatever order they came."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import (
    UNHEARD,
    Case,
    Rules,
    Target,
    follow_ups,
    forget_at,
    measure,
    next_due,
    observations,
    passed,
    resolution,
)
from pipeline.events.schemas import schema
from pipeline.events.wire import decode, encode
from tests.support.single import CaseEvent, step

DAY = 86_400_000
ACTIONS = (
    *("opened", "replied", "contacted", "waiting", "resumed"),
    *("resolved", "reopened", "closed", "escalated"),
)
RULES = Rules(sla={"P1": Target(8.0), "P2": Target(30 * 86_400.0)})


def at(milliseconds: int, action: str, touchpoint: str = "help") -> CaseEvent:
    return CaseEvent(f"case_{action}", milliseconds, touchpoint, "chat", "gold", "P1", "c-7")


def life(events: list[CaseEvent], clock: int | None = None) -> Case:
    case = UNHEARD
    for event in events:
        case = step(case, event)
    return case if clock is None else passed(case, clock)


def record(case: Case) -> dict[str, Any]:
    found = resolution("c-1", measure(case, RULES))
    assert found is not None
    return found


def shown(case: Case, rules: Rules = RULES) -> set[tuple[str, int, int]]:
    """Metric or clock, when, how much."""
    return {
        (seen.instrument or seen.metric, seen.at_ms, seen.value)
        for seen in observations(measure(case, rules))
    }


def settled(case: Case) -> dict[str, Any] | None:
    """The Resolution without the one field that counts how it came about."""
    found = resolution("c-1", measure(case, RULES))
    return None if found is None else {**found, "revision": None}


STORY = [
    at(1000, "opened"),
    at(4000, "replied"),
    at(4500, "waiting"),
    at(6500, "resolved"),
    at(7000, "contacted"),
    at(7500, "reopened"),
    at(9000, "replied"),
    at(11_000, "resolved"),
    at(90_000, "closed"),
]


def test_a_whole_life():
    case = life(STORY)
    assert shown(case) == {
        ("first_reply", 4000, 3000),
        ("first_resolution", 6500, 5500),
        ("full_resolution", 11_000, 10_000),
        ("agent", 11_000, 8000),
        ("reopen", 6500, 1),
        ("fcr", 7000, 0),
        ("sla_breach", 6500, 0),
    }
    assert record(case) == {
        "case_id": "c-1",
        "occurred_at": 11_000,
        "touchpoint": "help",
        "channel": "chat",
        "segment": "gold",
        "priority": "P1",
        "opened_at": 1000,
        "first_reply_seconds": 3.0,
        "first_resolution_seconds": 5.5,
        "full_resolution_seconds": 10.0,
        "agent_seconds": 8.0,
        "business_seconds": None,
        "replies": 2,
        "contacts": 1,
        "reopens": 1,
        "sla_target_seconds": 8.0,
        "sla_breached": False,
        "one_contact": False,
        "revision": 8,
        "retracted": False,
    }


def test_the_record_is_the_avro_record():
    found = record(life(STORY))
    assert list(found) == [field["name"] for field in schema("Resolution").avro["fields"]]
    read = decode(encode(schema("Resolution"), found))[1]
    dates = {"occurred_at", "opened_at"}
    assert {k: v for k, v in read.items() if k not in dates} == {
        k: v for k, v in found.items() if k not in dates
    }
    assert [int(read[name].timestamp() * 1000) for name in sorted(dates)] == [11_000, 1000]


def test_reopening_tells_at_once_and_leaves_the_times():
    resolved = life(STORY[:4])
    reopened = step(resolved, at(7500, "reopened"))
    assert (record(resolved)["reopens"], record(reopened)["reopens"]) == (0, 1)
    assert record(reopened)["revision"] == record(resolved)["revision"] + 1
    assert {k: v for k, v in record(reopened).items() if k.endswith("seconds")} == {
        k: v for k, v in record(resolved).items() if k.endswith("seconds")
    }


def test_closed_is_not_resolved():
    case = life([at(0, "opened"), at(500, "closed")], clock=10 * DAY)
    assert observations(measure(case, RULES)) == ()
    assert resolution("c-1", measure(case, RULES)) is None


def test_reopening_a_closed_case_is_a_reopen():
    case = life([at(0, "opened"), at(500, "closed"), at(700, "reopened"), at(900, "resolved")])
    assert record(case)["reopens"] == 1
    assert {("reopen", 900, 1), ("fcr", 900, 0)} <= shown(case)


def test_without_an_opening_nothing_is_measured_until_it_arrives():
    lost = life([at(500, "resolved"), at(600, "replied")], clock=100 * DAY)
    assert observations(measure(lost, RULES)) == () and resolution("c-1", measure(lost, RULES)) is None
    assert next_due(measure(lost, RULES)) is None
    assert ("first_resolution", 500, 400) in shown(step(lost, at(100, "opened")))


def test_what_came_before_the_opening_does_not_count():
    early = [at(400, action) for action in ACTIONS if action != "opened"]
    found = record(life([*early, at(1000, "opened"), at(2000, "resolved")]))
    assert (found["replies"], found["contacts"], found["reopens"]) == (0, 0, 0)
    assert found["first_resolution_seconds"] == found["agent_seconds"] == 1.0
    assert observations(measure(life([*early, at(1000, "opened")]), RULES)) == ()


def test_a_resolve_at_the_instant_of_the_opening_takes_no_time():
    assert record(life([at(5, "opened"), at(5, "resolved")]))["first_resolution_seconds"] == 0.0


def test_an_earlier_opening_moves_everything_to_its_place():
    before = life([at(2000, "opened", "refund"), at(5000, "resolved")])
    after = step(before, at(1000, "opened", "help"))
    assert (record(before)["touchpoint"], record(after)["touchpoint"]) == ("refund", "help")
    assert record(after)["full_resolution_seconds"] == 4.0
    assert record(after)["revision"] == record(before)["revision"] + 1


def test_what_is_unknown_is_none():
    unasked = CaseEvent("case_opened", 0, "help", "chat")
    found = record(life([unasked, at(500, "resolved")]))
    assert {name for name, value in found.items() if value is None} == {
        *("segment", "priority", "first_reply_seconds", "business_seconds"),
        *("sla_target_seconds", "sla_breached", "one_contact"),
    }


def test_every_order_of_a_story_ends_the_same():
    wanted, seen = settled(life(STORY)), shown(life(STORY))
    for order in permutations(STORY[:7]):
        case = life([*order, *STORY[7:]])
        assert settled(case) == wanted and shown(case) == seen


# Times that lie close together, at the deadlines, and so far apart that a silence is a new life.
MOMENTS = st.builds(
    lambda day, seconds: day * DAY + seconds * 1000,
    st.sampled_from([0, 7, 30, 91, 97, 200]),
    st.sampled_from([0, 1, 5, 8, 9]),
)
EVENTS = st.builds(
    CaseEvent,
    st.sampled_from(ACTIONS).map("case_{}".format),
    MOMENTS,
    st.sampled_from(["help", "refund"]),
    st.sampled_from(["chat", "phone"]),
    st.sampled_from([None, "gold"]),
    st.sampled_from([None, "P1", "P2"]),
    st.sampled_from([None, "c-7"]),
)
SOME = st.lists(EVENTS, min_size=1, max_size=12)


@settings(max_examples=300)
@given(SOME, st.data())
def test_any_permutation_and_any_duplication_ends_the_same(events: list[CaseEvent], data: st.DataObject):
    """Also with time passing in between, as long as it ends at the same instant."""
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = data.draw(st.permutations(events + again))
    clocks = data.draw(st.lists(MOMENTS, min_size=len(shuffled), max_size=len(shuffled)))
    one, other = life(events, clock=max(clocks)), UNHEARD
    for event, clock in zip(shuffled, clocks, strict=True):
        other = passed(step(other, event), clock)
    other = passed(other, max(clocks))
    assert observations(measure(one, RULES)) == observations(measure(other, RULES))
    assert settled(one) == settled(other)
    mine, theirs = measure(one, RULES), measure(other, RULES)
    assert (next_due(mine), forget_at(mine)) == (next_due(theirs), forget_at(theirs))


def test_an_event_proves_that_time_has_passed():
    case = passed(life([at(10, "opened"), at(900, "replied")]), 500)
    assert measure(case, RULES).now_ms == 900
    assert measure(passed(case, 1000), RULES).now_ms == 1000


@given(SOME, MOMENTS)
def test_time_changes_nothing_before_the_next_due_instant(events: list[CaseEvent], clock: int):
    case = life(events)
    due = next_due(measure(case, RULES))
    if due is None:
        assert observations(measure(passed(case, clock + 1000 * DAY), RULES)) == observations(
            measure(case, RULES)
        )
    else:
        assert due > measure(case, RULES).now_ms == case.last_ms
        assert observations(measure(passed(case, due - 1), RULES)) == observations(measure(case, RULES))
        assert observations(measure(passed(case, due), RULES)) != observations(measure(case, RULES))


@given(SOME)
def test_no_duration_is_negative_and_each_lies_where_it_ends(events: list[CaseEvent]):
    case = life(events, clock=10**12)
    for seen in observations(measure(case, RULES)):
        took = seen.value if seen.metric == "resolution" and seen.instrument != "agent" else 0
        assert seen.value >= 0
        assert seen.at_ms >= seen.opening.at_ms + took
    keys = [(seen.metric, seen.instrument, seen.opening) for seen in observations(measure(case, RULES))]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("extra", [None, at(2_000_000, "reopened")])
def test_follow_ups_of_a_change(extra: CaseEvent | None):
    opened = life([at(0, "opened")])
    late = passed(opened, 8000)
    told = follow_ups("c-1", measure(opened, RULES), measure(late, RULES))
    assert [(one["follow_up_id"], one["occurred_at"], one["due_at"]) for one in told] == [
        ("c-1/sla_breach/8000", 8000, 8000 + 4 * 3_600_000)
    ]
    encode(schema("FollowUp"), told[0])
    assert follow_ups("c-1", measure(late, RULES), measure(passed(late, 9000), RULES)) == []
    resolved = step(late, at(7000, "resolved"))
    taken_back = follow_ups("c-1", measure(late, RULES), measure(resolved, RULES))
    assert [(one["follow_up_id"], one["retracted"]) for one in taken_back] == [("c-1/sla_breach/8000", True)]
    assert taken_back[0]["revision"] > told[0]["revision"]
    if extra is not None:
        again = follow_ups("c-1", measure(resolved, RULES), measure(step(resolved, extra), RULES))
        assert [one["follow_up_id"] for one in again] == ["c-1/reopened/2000000"]


def test_a_new_life_takes_back_nothing_of_an_earlier_one():
    """Else it would hang on when the earlier one was forgotten."""
    late = passed(life([at(0, "opened")]), 8000)
    begins = RULES.forget_ms + 9000
    assert follow_ups("c-1", measure(late, RULES), measure(step(late, at(begins, "opened")), RULES)) == []
