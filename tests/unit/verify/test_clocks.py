"""The recount of cases says what counting said, though they share no code."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import UNHEARD, Rules, observations, step
from pipeline.cases.lifecycle import CaseEvent as Heard
from pipeline.measures.bins import bin_of
from pipeline.verify.clocks import ACTIONS, MEASURES, CaseEvent, observed

MINUTE, DAY = 60_000, 86_400_000
EVENTS = st.builds(
    CaseEvent,
    st.just("c-1"),
    st.builds(lambda day, ms: day * DAY + ms, st.sampled_from([0, 1, 90, 91, 200]), st.integers(0, 9)),
    st.sampled_from([*ACTIONS, "case_escalated"]),
    st.sampled_from(["help", "refund"]),
    st.just("chat"),
    st.sampled_from([None, "gold"]),
    st.sampled_from([None, "P1"]),
)


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=14))
def test_two_programs_agree_on_every_case(events: list[CaseEvent]):
    rules, case = Rules(), UNHEARD
    for _, at, action, touchpoint, channel, segment, priority in events:
        case = step(case, Heard(action, at, touchpoint, channel, segment, priority))
    counted = [
        (
            *(seen.metric, seen.instrument, *seen.opening[1:3], seen.opening.segment or "none"),
            seen.at_ms // MINUTE,
            *((bin_of(seen.value), seen.value) if seen.instrument else (seen.value, 0)),
        )
        for seen in observations(case, rules)
        if (seen.metric, seen.instrument) in MEASURES
    ]
    assert sorted(map(tuple, observed(events, rules.forget_ms))) == sorted(counted)
