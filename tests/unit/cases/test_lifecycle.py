from __future__ import annotations

from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import (
    Case,
    CaseEvent,
    Observation,
    from_row,
    observations,
    resolution,
    step,
    to_row,
)
from pipeline.events.schemas import schema
from pipeline.events.wire import decode, encode

ACTIONS = (
    "opened",
    "replied",
    "contacted",
    "waiting",
    "resumed",
    "resolved",
    "reopened",
    "closed",
    "escalated",
)
EVENTS = st.builds(
    CaseEvent,
    st.sampled_from(ACTIONS).map("case_{}".format),
    st.integers(0, 12),
    st.sampled_from(["help", "refund"]),
    st.sampled_from(["chat", "phone"]),
    st.sampled_from([None, "gold"]),
    st.sampled_from([None, "P1"]),
)


def at(milliseconds: int, action: str, touchpoint: str = "help") -> CaseEvent:
    return CaseEvent(f"case_{action}", milliseconds, touchpoint, "chat", "gold", "P1")


def life(events: list[CaseEvent]) -> Case:
    case = None
    for event in events:
        case = step(case, event)
    assert case is not None
    return case


def record(case: Case) -> dict[str, Any]:
    found = resolution("c-1", case)
    assert found is not None
    return found


def settled(case: Case) -> dict[str, Any] | None:
    """The Resolution without the one field that counts how it came about."""
    found = resolution("c-1", case)
    return None if found is None else {**found, "revision": None}


STORY = [
    at(1000, "opened"),
    at(4000, "replied"),
    at(6500, "resolved"),
    at(7000, "contacted"),
    at(7500, "reopened"),
    at(9000, "replied"),
    at(11_000, "resolved"),
    at(90_000, "closed"),
]


def test_a_whole_life():
    case = life(STORY)
    assert observations(case) == (
        Observation("first_reply", 4000, 3000),
        Observation("first_resolution", 6500, 5500),
        Observation("full_resolution", 11_000, 10_000),
    )
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
        "agent_seconds": None,
        "business_seconds": None,
        "replies": 2,
        "contacts": 1,
        "reopens": 1,
        "sla_target_seconds": None,
        "sla_breached": None,
        "one_contact": None,
        "revision": 4,
        "retracted": False,
    }


def test_the_record_is_the_avro_record():
    found = record(life(STORY))
    assert list(found) == [field["name"] for field in schema("Resolution").avro["fields"]]
    read = decode(encode(schema("Resolution"), found))[1]
    times = {"occurred_at", "opened_at"}
    assert {k: v for k, v in read.items() if k not in times} == {
        k: v for k, v in found.items() if k not in times
    }
    assert [int(read[name].timestamp() * 1000) for name in sorted(times)] == [11_000, 1000]


def test_revision_counts_changes_of_the_record():
    revisions, case = [], None
    for event in STORY:
        case = step(case, event)
        found = resolution("c-1", case)
        revisions.append(found and found["revision"])
    # Nothing to tell before the first resolve; being closed changes nothing that the record says.
    assert revisions == [None, None, 0, 1, 2, 3, 4, 4]


def test_reopening_writes_a_revision_at_once_and_leaves_the_times():
    resolved = life(STORY[:3])
    reopened = step(resolved, at(7500, "reopened"))
    assert (record(resolved)["reopens"], record(reopened)["reopens"]) == (0, 1)
    assert record(reopened)["revision"] == record(resolved)["revision"] + 1
    assert observations(reopened) == observations(resolved)


def test_closed_is_not_resolved():
    case = life([at(0, "opened"), at(500, "closed")])
    assert observations(case) == ()
    assert resolution("c-1", case) is None


def test_without_an_opening_nothing_is_measured_until_it_arrives():
    lost = life([at(500, "resolved"), at(600, "replied")])
    assert observations(lost) == () and resolution("c-1", lost) is None
    found = step(lost, at(100, "opened"))
    assert observations(found)[1] == Observation("first_resolution", 500, 400)
    assert record(found)["revision"] == 0


def test_a_resolve_before_the_opening_ends_no_clock():
    assert observations(life([at(1000, "opened"), at(999, "resolved")])) == ()
    both = life([at(1000, "opened"), at(999, "resolved"), at(3000, "resolved")])
    assert record(both)["first_resolution_seconds"] == record(both)["full_resolution_seconds"] == 2.0


def test_what_came_before_the_opening_is_not_counted():
    early = [at(400, action) for action in ("replied", "contacted", "reopened")]
    found = record(life([*early, at(1000, "opened"), at(2000, "resolved")]))
    assert (found["replies"], found["contacts"], found["reopens"]) == (0, 0, 0)


def test_a_resolve_at_the_instant_of_the_opening_takes_no_time():
    assert record(life([at(5, "opened"), at(5, "resolved")]))["first_resolution_seconds"] == 0.0


def test_an_earlier_opening_moves_everything_to_its_place():
    before = life([at(2000, "opened", "refund"), at(5000, "resolved")])
    after = step(before, at(1000, "opened", "help"))
    assert (record(before)["touchpoint"], record(after)["touchpoint"]) == ("refund", "help")
    assert record(after)["full_resolution_seconds"] == 4.0
    assert record(after)["revision"] == 1


def test_unknown_clocks_are_none():
    found = record(life([at(0, "opened"), at(500, "resolved")]))
    unknown = {name for name, value in found.items() if value is None}
    assert unknown == {
        *("first_reply_seconds", "agent_seconds", "business_seconds"),
        *("sla_target_seconds", "sla_breached", "one_contact"),
    }


def test_every_order_of_a_story_ends_the_same():
    wanted = settled(life(STORY))
    assert all(settled(life(list(order))) == wanted for order in permutations(STORY[:7]))


@settings(max_examples=500)
@given(st.lists(EVENTS, min_size=1, max_size=12), st.data())
def test_any_permutation_and_any_duplication_ends_the_same(events: list[CaseEvent], data: st.DataObject):
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    shuffled = data.draw(st.permutations(events + again))
    one, other = life(events), life(shuffled)
    assert observations(one) == observations(other)
    assert settled(one) == settled(other)


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_revision_rises_by_one_exactly_when_the_record_changes(events: list[CaseEvent]):
    case, known = None, None
    for event in events:
        case = step(case, event)
        found = resolution("c-1", case)
        if known is None:
            assert found is None or found["revision"] == 0
        else:
            assert found is not None  # a Resolution never goes away
            changed = {**found, "revision": None} != {**known, "revision": None}
            assert found["revision"] == known["revision"] + changed
        known = found


@given(st.lists(EVENTS, min_size=1, max_size=12), st.integers(0, 12))
def test_a_case_put_away_as_a_row_goes_on_as_before(events: list[CaseEvent], cut: int):
    case = None
    for number, event in enumerate(events):
        case = step(case, event)
        if number == cut:
            case = from_row(to_row(case))
    assert case == life(events)


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_no_duration_is_negative_and_each_ends_where_it_lies(events: list[CaseEvent]):
    case = life(events)
    for seen in observations(case):
        assert case.opening is not None
        assert seen.milliseconds >= 0
        assert seen.at_ms == case.opening.at_ms + seen.milliseconds
    assert len({seen.clock for seen in observations(case)}) == len(observations(case))
