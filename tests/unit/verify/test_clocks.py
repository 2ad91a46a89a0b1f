"""The recount of cases says what counting said, though they share no code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import polars as pl
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
    measure,
    observations,
    passed,
)
from pipeline.rebuild.full import case_cells
from pipeline.verify.clocks import BY_RULES, Cases, Observation, observed
from pipeline.verify.hours import Calendar, Hours
from pipeline.verify.lives import ACTIONS, CaseEvent
from pipeline.verify.terms import Promise, Terms
from tests.support.single import CaseEvent as Heard
from tests.support.single import bin_of, step

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
BEGIN = 1_774_569_600_000  # 27 March 2026: two days before the clocks of Europe are changed
OFFICE = [((9 * HOUR, 17 * HOUR),)] * 5 + [()] * 2
VERSIONS = [
    ("Europe/Berlin", OFFICE, {date(2026, 4, 3)}, None),
    ("Europe/Paris", [((0, DAY),)] * 7, set(), date(2026, 6, 1)),
]
SCHEDULE = Schedule(
    tuple(Version(zone, tuple(days), frozenset(off), since) for zone, days, off, since in VERSIONS)
)
CALENDAR = Calendar([Hours(zone, days, frozenset(off), since) for zone, days, off, since in VERSIONS])
RULES = Rules(
    sla={"P1": Target(8 * 3600, "office"), "P2": Target(3 * 86_400)},
    schedules={"office": SCHEDULE, "other": SCHEDULE},
    schedule_names={"help": "office"},
    forget_ms=90 * DAY,
)
TERMS = Terms(
    90 * DAY,
    promises={"P1": Promise(8 * HOUR, CALENDAR), "P2": Promise(3 * DAY)},
    calendars={"office": CALENDAR, "other": CALENDAR},
    calendar_of={"help": "office"},
)
COLUMNS = {
    **{"case_id": pl.String, "at": pl.Int64, "action": pl.String, "touchpoint": pl.String},
    **{
        "channel": pl.String,
        "segment": pl.String,
        "priority": pl.String,
        "customer_id": pl.String,
        "p": pl.Int64,
    },
}
DAYS = [0, 1, 3, 7, 10, 90, 91, 200]
EVENTS = st.builds(
    CaseEvent,
    st.just("c-1"),
    st.builds(lambda day, ms: BEGIN + day * DAY + ms, st.sampled_from(DAYS), st.integers(0, 9)),
    st.sampled_from([*ACTIONS, "case_escalated"]),
    st.sampled_from(["help", "refund"]),
    st.just("chat"),
    st.sampled_from([None, "gold"]),
    st.sampled_from([None, "P1", "P2"]),
)


def case_of(events: Iterable[CaseEvent]) -> Case:
    case = UNHEARD
    for _, at, action, *opening in events:
        case = step(case, Heard(action, at, *opening))
    return case


def counted(case: Case) -> list[tuple[object, ...]]:
    return sorted(
        (
            *(seen.metric, seen.instrument, *seen.opening[1:3], seen.opening.segment or "none"),
            seen.at_ms // MINUTE,
            *((bin_of(seen.value), seen.value) if seen.instrument else (seen.value, 0)),
        )
        for seen in observations(measure(case, RULES))
    )


def recounted(events: Iterable[CaseEvent], now: int) -> list[tuple[object, ...]]:
    return sorted(seen[:-1] for seen in observed(events, TERMS) if seen.due is None or seen.due <= now)


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=14), st.sampled_from(DAYS))
def test_two_programs_agree_on_every_case_at_every_time(events: list[CaseEvent], day: int):
    """Before time has gone on, and after: a promise may be broken, and one contact be enough, because nothing came."""
    case, now = case_of(events), BEGIN + day * DAY + HOUR
    assert recounted(events, 0) == counted(case)
    assert recounted(events, now) == counted(passed(case, now))


OTHER = replace(RULES, sla={"P1": Target(30 * 86_400), "P2": Target(3600)})


@settings(max_examples=100)
@given(st.lists(EVENTS, min_size=1, max_size=14))
def test_what_other_rules_counted_is_not_judged_however_late_it_counts(events: list[CaseEvent]):
    cases = Cases(replace(TERMS, since=BEGIN + DAY))
    cases.take((event, BEGIN) for event in events)
    until = cases.earlier_until()
    for seen in observations(measure(passed(case_of(events), BEGIN + 400 * DAY), OTHER)):
        place = (*seen.opening[1:3], seen.opening.segment or "none")
        assert (seen.metric, seen.instrument) not in BY_RULES or seen.at_ms // MINUTE <= until[place]


def test_of_one_action_the_earliest_and_the_latest_times_are_kept_by_both():
    opened = CaseEvent("c-1", BEGIN + 150, "case_opened", "help", "chat", None, None)
    waits = [opened._replace(at=BEGIN + k, action=ACTIONS[3 + k % 2]) for k in range(700)]
    replies = [opened._replace(at=BEGIN + k, action="case_replied") for k in range(400)]
    events = [opened, *waits, *replies, opened._replace(at=BEGIN + HOUR, action="case_resolved")]
    assert recounted(events, 0) == counted(case_of(events))


INSTANTS = st.integers(-3 * 365 * DAY, 3 * 365 * DAY).map(lambda ms: BEGIN + ms)


@settings(max_examples=100)
@given(INSTANTS, INSTANTS, st.integers(1, 2000))
def test_two_programs_agree_on_business_hours(one: int, other: int, hours: int):
    start, end = sorted((one, other))
    assert CALENDAR.worked(start, end) == SCHEDULE.between(start, end)
    due = SCHEDULE.after(start, hours * HOUR)
    assert CALENDAR.reached(start, hours * HOUR) == due
    assert due is not None
    first = Promise(hours * HOUR, CALENDAR).first_opening(due)
    assert first <= start
    assert SCHEDULE.after(first, hours * HOUR) == due
    assert SCHEDULE.after(first - 1, hours * HOUR) != due


@pytest.mark.parametrize(
    "zone", ["America/Sao_Paulo", "Pacific/Apia", "Australia/Lord_Howe", "America/St_Johns"]
)
def test_clocks_that_are_changed_at_odd_hours(zone: str):
    nights = [((0, 3 * HOUR), (22 * HOUR, DAY))] * 7
    schedule, calendar = Schedule((Version(zone, tuple(nights)),)), Calendar([Hours(zone, nights)])
    for start in range(1_293_840_000_000, 1_330_000_000_000, 29 * DAY + 7 * HOUR):  # 2011
        assert calendar.worked(start, start + 40 * DAY) == schedule.between(start, start + 40 * DAY)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from(["c-1", "c-2"]), EVENTS), min_size=1, max_size=20),
    st.sampled_from(DAYS),
)
def test_the_recount_of_a_rebuild_agrees_too(events: list[tuple[str, CaseEvent]], day: int):
    rows = [event._replace(case_id=case_id) for case_id, event in events if event.action in ACTIONS]
    table = pl.DataFrame([(*row, 0) for row in rows], schema=COLUMNS, orient="row").sort("case_id")
    watermark = BEGIN + day * DAY
    cells = case_cells(table, TERMS, {0: watermark}, watermark + 2 * DAY)
    wanted: Counter[tuple[object, ...]] = Counter()
    most: Counter[tuple[object, ...]] = Counter()
    for case_id in ("c-1", "c-2"):
        mine = [row for row in rows if row.case_id == case_id]
        wanted.update(seen[:-1] for seen in recounted(mine, watermark))
        most.update(seen[:-1] for seen in recounted(mine, watermark + 2 * DAY + HOUR))
    names = list(Observation._fields[:-2])
    assert {row[:-1]: row[-1] for row in cells.select(*names, "n").iter_rows() if row[-1]} == wanted
    assert {row[:-2]: sum(row[-2:]) for row in cells.select(*names, "n", "maybe").iter_rows()} == most
