from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.events import wire
from pipeline.sample import world
from pipeline.sample.event import RESPONSES, Event
from pipeline.sample.feed import HISTORY_RATE, encoded
from pipeline.sample.progress import DROP_AT, HISTORY_MS, first
from pipeline.sample.traffic import Traffic

HOUR = 3_600_000
DAY = 24 * HOUR
# Noon and deep night: the hour of the last answers is busy in one and quiet in the other.
STARTS = (1_790_164_800_000, 1_790_212_517_123)


def history(now: int) -> list[Event]:
    return first(now).traffic.between(now - HISTORY_MS, now, HISTORY_RATE, daily=True)


def identity(event: Event) -> str:
    return event.record["response_id"] if event.topic == RESPONSES else event.record["event_id"]


def csat_of_hour(events: list[Event], end: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in events:
        record = event.record
        if event.topic == RESPONSES and record["instrument"] == world.CSAT and end - HOUR <= event.at < end:
            found.setdefault(record["touchpoint"], []).append(record["score"])
    return found


def wilson_upper(answers: list[int], z: float = 1.96) -> float:
    n = len(answers)
    share = sum(score >= 4 for score in answers) / n
    middle = share + z * z / (2 * n)
    return (middle + z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5) / (1 + z * z / n)


@pytest.mark.parametrize("now", STARTS)
def test_a_day_is_in_order_within_the_day_and_has_no_id_twice(now: int) -> None:
    events = history(now)
    times = [event.at for event in events]
    assert 25_000 < len(events) < 50_000
    assert times == sorted(times)
    assert now - DAY <= times[0] and times[-1] < now
    assert len({identity(event) for event in events}) == len(events)


@pytest.mark.parametrize("now", STARTS)
def test_one_touchpoint_is_below_target_beyond_doubt_and_no_other(now: int) -> None:
    answers = csat_of_hour(history(now), now)
    assert len(answers[DROP_AT]) >= 45
    assert wilson_upper(answers[DROP_AT]) < world.TARGET - 0.08
    others = {name: wilson_upper(scores) for name, scores in answers.items() if name != DROP_AT}
    assert len(others) == len(world.PLACES) - 1
    assert min(others.values()) > world.TARGET


def test_the_drop_stays_and_the_others_hold_once_live_traffic_flows() -> None:
    now = STARTS[0]
    answers = csat_of_hour(first(now).traffic.between(now, now + HOUR, 5, daily=False), now + HOUR)
    assert wilson_upper(answers.pop(DROP_AT)) < 0.6
    assert min(wilson_upper(scores) for scores in answers.values()) > world.TARGET


def test_before_the_drop_its_touchpoint_is_as_good_as_the_others() -> None:
    now = STARTS[0]
    progress = first(now)
    early = [event for event in history(now) if event.at < progress.drop]
    scores = [
        event.record["score"]
        for event in early
        if event.topic == RESPONSES and event.record["touchpoint"] == DROP_AT
    ]
    assert sum(score >= 4 for score in scores) / len(scores) > 0.85


def test_every_stage_channel_and_segment_occurs() -> None:
    events = history(STARTS[0])
    assert {place.stage for place in world.PLACES} == {"discover", "engage", "order", "pay", "use", "support"}
    assert {event.record["touchpoint"] for event in events} == {place.name for place in world.PLACES}
    assert {event.record["channel"] for event in events} == set(world.CHANNELS)
    assert {event.record["segment"] for event in events} == {name for name, _ in world.SEGMENTS}


def test_evenings_are_busier_than_nights() -> None:
    hours = Counter(event.at // HOUR % 24 for event in history(STARTS[0]))
    assert hours[19] > 1.7 * hours[3]


def test_cases_open_wait_resolve_and_reopen_in_this_order() -> None:
    now = STARTS[0]
    cases: dict[str, list[str]] = {}
    for event in history(now):
        if event.topic != RESPONSES and event.record["case_id"]:
            cases.setdefault(event.record["case_id"], []).append(event.record["action"])
    assert len(cases) > 200
    assert all(actions[0] == "case_opened" for actions in cases.values())
    assert all(actions.count("case_opened") == 1 for actions in cases.values())
    for earlier, later in (
        ("case_opened", "case_resolved"),
        ("case_waiting", "case_resumed"),
        ("case_resolved", "case_reopened"),
    ):
        both = [actions for actions in cases.values() if later in actions]
        assert len(both) > 5
        assert all(actions.index(earlier) < actions.index(later) for actions in both)


@settings(max_examples=25, deadline=None)
@given(
    start=st.integers(0, 30 * DAY),
    cut=st.integers(0, 2 * HOUR),
    length=st.integers(0, 2 * HOUR),
    rate=st.floats(0, 3),
    daily=st.booleans(),
)
def test_a_span_is_its_parts(start: int, cut: int, length: int, rate: float, daily: bool) -> None:
    traffic = first(STARTS[0] + start).traffic
    at = traffic.origin + start % DAY
    end = at + length
    middle = min(at + cut, end)
    whole = traffic.between(at, end, rate, daily=daily)
    parts = traffic.between(at, middle, rate, daily=daily) + traffic.between(middle, end, rate, daily=daily)
    assert parts == whole


@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, DAY), low=st.floats(0, 4), more=st.floats(0, 4))
def test_a_higher_rate_only_adds(start: int, low: float, more: float) -> None:
    traffic = first(STARTS[0]).traffic
    at = traffic.origin + start
    few = {identity(event): event for event in traffic.between(at, at + 120_000, low, daily=False)}
    many = {identity(event): event for event in traffic.between(at, at + 120_000, low + more, daily=False)}
    assert few.items() <= many.items()


def test_nothing_happens_before_the_origin() -> None:
    now = STARTS[0]
    traffic = first(now).traffic
    assert not traffic.between(now - 3 * DAY, traffic.origin, 5, daily=True)
    assert isinstance(traffic, Traffic)


def test_events_fit_their_schemas_and_read_back() -> None:
    for event in history(STARTS[0])[::97]:
        schema, record = wire.decode(encoded(event))
        assert schema.name == ("SurveyResponse" if event.topic == RESPONSES else "TouchpointEvent")
        assert round(record.pop("occurred_at").timestamp() * 1000) == event.at
        assert record == {key: value for key, value in event.record.items() if key != "occurred_at"}
