from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cases.case import MOST_TIMES, Case, CaseEvent, Opening, from_row, heard, to_row


def happened(action: str, at: int, *, touchpoint: str = "help", segment: str | None = None) -> CaseEvent:
    return CaseEvent(f"case_{action}", at, touchpoint, "chat", segment, "P2")


def after(*events: CaseEvent) -> Case:
    case = Case()
    for event in events:
        case = heard(case, event)
    return case


def test_a_case_keeps_the_times_of_each_action():
    case = after(
        happened("opened", 10),
        happened("replied", 20),
        happened("contacted", 25),
        happened("replied", 15),
        happened("resolved", 40),
        happened("reopened", 50),
        happened("closed", 60),
    )
    assert case.opening == Opening(10, "help", "chat", None, "P2")
    assert (case.replied, case.contacted) == ((15, 20), (25,))
    assert (case.resolved, case.reopened, case.closed) == ((40,), (50,), (60,))


def test_the_earliest_opening_wins_and_gives_the_dimensions():
    early, late = happened("opened", 10, touchpoint="early"), happened("opened", 20, touchpoint="late")
    assert after(early, late).opening == after(late, early).opening == Opening(*early[1:])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (happened("opened", 10, touchpoint="a"), happened("opened", 10, touchpoint="b")),
        (happened("opened", 10, segment="gold"), happened("opened", 10, segment=None)),
        (happened("opened", 10, segment=""), happened("opened", 10, segment=None)),
    ],
)
def test_two_openings_at_one_instant_agree_in_both_orders(one: CaseEvent, other: CaseEvent):
    assert after(one, other).opening == after(other, one).opening


@pytest.mark.parametrize("action", ["case_opened", "case_replied", "case_resolved", "page_viewed", ""])
def test_what_is_not_new_gives_the_same_object(action: str):
    event = CaseEvent(action, 7, "help", "chat")
    case = heard(Case(), event)
    assert heard(case, event) is case


def test_before_the_opening_nothing_counts():
    case = after(happened("opened", 100), happened("replied", 99), happened("replied", 100))
    assert case.since_opening(case.replied) == (100,)
    assert Case(replied=(5,)).since_opening((5,)) == ()


@given(st.lists(st.integers(0, 3 * MOST_TIMES)), st.randoms(use_true_random=False))
def test_a_flood_keeps_the_first_and_the_last_in_every_order(times: list[int], random):
    events = [happened("resolved", at) for at in times + list(range(MOST_TIMES - 5, 2 * MOST_TIMES + 5))]
    case = after(*events)
    random.shuffle(events)
    assert after(*events, *events) == case
    assert case.resolved[0] == min(event.at_ms for event in events)
    assert case.resolved[-1] == max(event.at_ms for event in events)
    assert len(case.resolved) == MOST_TIMES


def test_a_million_events_of_one_case_stay_small():
    case = after(*(happened("replied", at * 7919 % 100_003) for at in range(100_003)))
    half = MOST_TIMES // 2
    assert case.replied == (*range(half), *range(100_003 - half, 100_003))


TIMES = st.lists(st.integers(-(10**14), 10**14), max_size=5, unique=True).map(
    lambda times: tuple(sorted(times))
)
NAMES = st.text(max_size=5)
OPENINGS = st.builds(Opening, st.integers(), NAMES, NAMES, st.none() | NAMES, st.none() | NAMES)


@given(st.builds(Case, st.none() | OPENINGS, TIMES, TIMES, TIMES, TIMES, TIMES, st.integers(0)))
def test_a_case_survives_json(case: Case):
    assert from_row(json.loads(json.dumps(to_row(case)))) == case


def test_a_row_of_another_form_is_an_error():
    with pytest.raises(ValueError, match="unpack"):
        from_row([0, None])
