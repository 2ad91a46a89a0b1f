"""Each clock and share of a case beside a plain replay of its events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import (
    UNHEARD,
    Case,
    Rules,
    Schedule,
    Target,
    Version,
    forget_at,
    measure,
    next_due,
    observations,
    open_since,
    passed,
    resolution,
)
from tests.support.single import CaseEvent, step

DAY, HOUR = 86_400_000, 3_600_000
OFFICE = Schedule((Version("UTC", ((),) * 3 + (((9 * HOUR, 17 * HOUR),),) + ((),) * 3),))  # Thursdays
RULES = Rules(
    sla={"P1": Target(20.0), "slow": Target(9 * 3600.0, "office")},
    schedules={"office": OFFICE},
    fcr_ms=30_000,
)
ORDER = ("replied", "contacted", "waiting", "resumed", "resolved", "reopened", "closed")


def at(seconds: float, action: str, priority: str | None = "P1") -> CaseEvent:
    return CaseEvent(f"case_{action}", round(seconds * 1000), "help", "chat", None, priority)


def life(*events: CaseEvent, clock: float = 0) -> Case:
    case = UNHEARD
    for event in events:
        case = step(case, event)
    return passed(case, round(clock * 1000))


def shown(case: Case, name: str) -> list[tuple[float, float]]:
    """(when, how much) of a clock or share: seconds, or 1 and 0."""
    return [
        (seen.at_ms / 1000, seen.value / (1000 if seen.instrument else 1))
        for seen in observations(measure(case, RULES))
        if name in (seen.metric, seen.instrument)
    ]


@pytest.mark.parametrize(
    ("events", "waited"),
    [
        ([(10, "waiting"), (15, "resumed")], 5),
        ([(10, "waiting")], 30),  # a resolve ends waiting
        ([(10, "waiting"), (12, "waiting"), (15, "resumed"), (16, "resumed")], 5),
        ([(10, "resumed")], 0),
        ([(0, "waiting"), (15, "resumed")], 15),
        ([(10, "waiting"), (10, "resumed")], 0),
        (
            [(10, "waiting"), (12, "contacted"), (15, "resumed")],
            5,
        ),  # only `case_resumed` says that it is over
        ([(10, "waiting"), (12, "closed"), (14, "reopened"), (15, "resumed")], 5),
        ([(40, "waiting")], 0),
        ([(45, "waiting"), (60, "resumed")], 0),
        ([(10, "waiting"), (20, "resolved"), (30, "reopened")], 10),
        ([(10, "waiting"), (20, "resolved"), (30, "waiting")], 20),
    ],
)
def test_the_agent_clock_stands_still_while_the_case_waits(events: list[tuple[float, str]], waited: float):
    case = life(at(0, "opened"), *(at(*event) for event in events), at(40, "resolved"))
    assert shown(case, "agent") == [(40, 40 - waited)]


def test_a_wait_after_the_last_resolve_counts_once_it_is_resolved_again():
    events = at(0, "opened"), at(10, "resolved"), at(12, "reopened"), at(13, "waiting"), at(20, "resumed")
    assert shown(life(*events), "agent") == [(10, 10)]
    assert shown(life(*events, at(30, "resolved")), "agent") == [(30, 23)]


@pytest.mark.parametrize(
    ("events", "clock", "expected"),
    [
        ([], 25, (20, 1)),  # it fires while the case is open
        ([], 19, None),
        ([(25, "replied")], 0, (20, 1)),  # a later event proves that the time has come
        ([(20, "resolved")], 99, (20, 0)),  # at the due instant is in time
        ([(20.001, "resolved")], 0, (20, 1)),
        ([(5, "resolved"), (6, "reopened")], 99, (5, 0)),  # reopening starts no new promise
        ([(5, "closed")], 99, None),  # it was closed, nobody waits
        ([(5, "closed"), (30, "reopened")], 0, (20, 1)),
        ([(5, "closed"), (30, "resolved")], 0, (20, 1)),
        ([(5, "closed"), (7, "reopened")], 25, (20, 1)),
        ([(25, "closed")], 0, (20, 1)),
        ([(-1, "resolved")], 25, (20, 1)),
    ],
)
def test_a_promise_is_kept_or_broken(
    events: list[tuple[float, str]], clock: float, expected: tuple[float, float] | None
):
    case = life(at(0, "opened"), *(at(*event) for event in events), clock=clock)
    assert shown(case, "sla_breach") == ([expected] if expected else [])


def test_nothing_is_due_of_a_case_that_nobody_waits_for():
    assert next_due(measure(life(at(0, "opened")), RULES)) == 20_000
    assert next_due(measure(life(at(0, "opened"), at(5, "closed")), RULES)) is None
    assert next_due(measure(life(at(0, "opened"), at(5, "closed"), at(6, "reopened")), RULES)) == 20_000
    assert next_due(measure(life(at(0, "opened"), at(5, "resolved"), at(6, "contacted")), RULES)) is None


def test_an_event_from_before_the_deadline_takes_a_breach_back():
    case = life(at(0, "opened"), clock=25)
    assert shown(case, "sla_breach") == [(20, 1)]
    assert shown(step(case, at(8, "resolved")), "sla_breach") == [(8, 0)]


@pytest.mark.parametrize("priority", [None, "", "P9"])
def test_without_a_promise_none_is_broken(priority: str | None):
    case = life(at(0, "opened", priority), at(90, "resolved", "P1"), clock=99)
    assert shown(case, "sla_breach") == []
    record = resolution("c", measure(case, RULES))
    assert record is not None and (record["sla_target_seconds"], record["sla_breached"]) == (None, None)


def test_a_promise_in_business_hours():
    """The first of January 1970 is a Thursday: eight hours then, and the ninth a week later."""
    case = life(at(0, "opened", "slow"))
    assert next_due(measure(case, RULES)) == 7 * DAY + 10 * HOUR
    resolved = step(case, at(8 * 86_400, "resolved", "slow"))
    assert shown(resolved, "business") == [(8 * 86_400, 16 * 3600)]
    assert shown(resolved, "sla_breach") == [(7 * 86_400 + 36_000, 1)]


@pytest.mark.parametrize(
    ("events", "clock", "expected"),
    [
        ([], 39, None),  # provisional
        ([], 40, (40, 1)),
        ([(41, "replied")], 0, (40, 1)),
        ([(40, "contacted")], 99, (40, 0)),  # within the window, its last instant included
        ([(40.001, "contacted")], 99, (40, 1)),
        ([(25, "reopened")], 0, (25, 0)),
        ([(5, "contacted")], 0, (10, 0)),  # before it was resolved; it counts with the resolve
        ([(0, "contacted")], 99, (40, 1)),  # the contact that opened it
        ([(-5, "contacted")], 99, (40, 1)),
        ([(25, "closed"), (30, "reopened")], 0, (30, 0)),
        ([(20, "resolved")], 99, (40, 1)),  # resolved twice, but nobody had to come back
    ],
)
def test_whether_one_contact_was_enough(
    events: list[tuple[float, str]], clock: float, expected: tuple[float, float] | None
):
    case = life(at(0, "opened"), *(at(*event) for event in events), at(10, "resolved"), clock=clock)
    assert shown(case, "fcr") == ([expected] if expected else [])
    record = resolution("c", measure(case, RULES))
    assert record is not None and record["one_contact"] == (None if expected is None else bool(expected[1]))


def test_reopened_counts_where_the_case_was_first_solved():
    assert shown(life(at(0, "opened"), at(10, "resolved"), at(20, "resolved")), "reopen") == [(10, 0)]
    again = life(at(0, "opened"), at(10, "resolved"), at(500, "reopened"), at(600, "reopened"))
    assert shown(again, "reopen") == [(10, 1)]
    assert shown(life(at(0, "opened"), at(10, "reopened")), "reopen") == []


@pytest.mark.parametrize(
    ("events", "is_open"),
    [
        ([], True),
        ([(5, "replied"), (6, "waiting")], True),
        ([(5, "resolved")], False),
        ([(5, "closed"), (6, "contacted")], False),
        ([(5, "resolved"), (6, "reopened")], True),
        ([(5, "closed"), (6, "reopened"), (7, "reopened")], True),
        ([(5, "reopened"), (5, "resolved")], True),  # at one instant a case is resolved before it is reopened
        ([(-5, "closed")], True),
    ],
)
def test_a_case_is_open_until_it_is_resolved_or_closed(events: list[tuple[float, str]], is_open: bool):
    case = life(at(0, "opened"), *(at(*event) for event in events))
    assert open_since(measure(case, RULES)) == (case.openings[0] if is_open else None)


def test_a_case_that_was_never_opened_is_not_open():
    assert open_since(measure(life(at(0, "replied")), RULES)) is None
    silent = life(at(0, "opened"), at(200 * 86_400, "resolved"))
    assert (
        open_since(measure(silent, RULES)) == silent.openings[0]
    )  # who wrote after so long meant another case


def replayed(events: list[CaseEvent]) -> set[tuple[str, int, int]]:
    """Durations by a walk through every millisecond of a life, with a flag as an agent would keep it."""
    opened = min(event.at_ms for event in events if event.action == "case_opened")
    when: dict[int, set[str]] = {}
    for event in events:
        when.setdefault(event.at_ms, set()).add(event.action.removeprefix("case_"))
    found: dict[str, tuple[int, int]] = {}
    waiting, worked = False, 0
    for tick in range(opened, max(when) + 1):
        for action in [one for one in ORDER if one in when.get(tick, ())]:
            if action == "replied":
                found.setdefault("first_reply", (tick, tick - opened))
            elif action in ("waiting", "resumed"):
                waiting = action == "waiting"
            elif action == "resolved":
                waiting = False
                found.setdefault("first_resolution", (tick, tick - opened))
                found |= {"full_resolution": (tick, tick - opened), "agent": (tick, worked)}
        worked += not waiting
    return {(name, *pair) for name, pair in found.items()}


MOMENTS = st.integers(0, 60)
SOME = st.lists(st.tuples(st.sampled_from(ORDER), MOMENTS), max_size=10)


@settings(max_examples=300)
@given(SOME, st.integers(0, 20))
def test_durations_are_those_of_a_walk_through_every_millisecond(some: list[tuple[str, int]], opened: int):
    events = [at(opened / 1000, "opened"), *(at(tick / 1000, action) for action, tick in some)]
    seen = observations(measure(life(*events), Rules()))
    assert {(one.instrument, one.at_ms, one.value) for one in seen if one.instrument} == replayed(events)


GAPS = st.lists(
    st.sampled_from([0, 1, 5 * DAY, 8 * DAY, 90 * DAY, 90 * DAY + 1, 97 * DAY, 120 * DAY]), max_size=10
)


@settings(max_examples=200)
@given(GAPS, st.data())
def test_forgetting_changes_no_number(gaps: list[int], data: st.DataObject):
    """A partition as it is read: events up to the horizon late, cases forgotten by its watermark or kept."""
    rules = Rules(sla={"P1": Target(200 * 86_400.0)})
    times = [sum(gaps[:k]) for k in range(len(gaps) + 1)]
    actions = data.draw(
        st.lists(st.sampled_from(("opened", *ORDER)), min_size=len(times), max_size=len(times))
    )
    events = [at(t / 1000, action) for t, action in zip(times, actions, strict=True)]
    arrived = data.draw(st.permutations(events)) if data.draw(st.booleans()) else _nearly(events, data)
    watermark, counted, settled, case = -1, [], [], None
    for event in [*arrived, None]:
        if case is not None and watermark > forget_at(measure(case, rules)) and data.draw(st.booleans()):
            settled += observations(measure(passed(case, watermark), rules))
            case = None
        if event is None or event.at_ms < watermark - rules.horizon_ms:
            continue
        counted.append(event)
        watermark = max(watermark, event.at_ms)
        case = step(case, event)
    live = settled + list(observations(measure(passed(case, watermark), rules)) if case else ())
    assert sorted(live, key=repr) == sorted(
        observations(measure(passed(life(*counted), watermark), rules)), key=repr
    )


def _nearly(events: list[CaseEvent], data: st.DataObject) -> list[CaseEvent]:
    """In order but for some days, so that few are late."""
    moved = [(event.at_ms + data.draw(st.integers(0, 7)) * DAY, k) for k, event in enumerate(events)]
    return [events[k] for _, k in sorted(moved)]


def test_a_case_that_speaks_again_after_a_long_silence_is_another():
    first = life(at(0, "opened"), at(10, "resolved"))
    assert forget_at(measure(first, RULES)) == 10_000 + 97 * DAY
    within, after = at(90 * 86_400 + 10, "resolved"), at(90 * 86_400 + 10.001, "resolved")
    assert shown(step(first, within), "full_resolution") == [(90 * 86_400 + 10, 90 * 86_400 + 10)]
    assert shown(step(first, after), "full_resolution") == [(10, 10)]
    anew = step(first, at(95 * 86_400, "opened", None))
    assert resolution("c", measure(anew, RULES)) == {
        **(resolution("c", measure(first, RULES)) or {}),
        "one_contact": True,
        "revision": 3,
    }
    again = step(anew, at(95 * 86_400 + 5, "resolved"))
    assert shown(again, "full_resolution") == [(10, 10), (95 * 86_400 + 5, 5)]
    record = resolution("c", measure(again, RULES))
    assert record is not None and (record["opened_at"], record["full_resolution_seconds"]) == (
        95 * 86_400_000,
        5.0,
    )


def test_what_bridges_the_silence_makes_one_case_of_two():
    two = life(at(0, "opened"), at(10, "resolved"), at(95 * 86_400, "resolved"))
    assert shown(two, "full_resolution") == [(10, 10)]
    assert shown(step(two, at(50 * 86_400, "replied")), "full_resolution") == [(95 * 86_400, 95 * 86_400)]


def test_a_flood_is_no_silence():
    """So many replies that most of their times are not kept."""
    case = life(
        at(0, "opened"), *(at(day * 86_400, "replied") for day in range(400)), at(401 * 86_400, "resolved")
    )
    assert shown(case, "full_resolution") == [(401 * 86_400, 401 * 86_400)]


def test_nothing_is_forgotten_before_it_is_decided():
    rules = Rules(sla={"P1": Target(300 * 86_400.0)}, forget_ms=DAY)
    assert forget_at(measure(life(at(0, "opened")), rules)) == 300 * DAY
    assert forget_at(measure(life(at(0, "opened"), at(5, "resolved")), rules)) == 8 * DAY + 5000
