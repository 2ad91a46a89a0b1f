"""The recount of cases says what counting said, though they share no code."""

from __future__ import annotations

from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cases.lifecycle import UNHEARD, Rules, observations, step
from pipeline.cases.lifecycle import CaseEvent as Heard
from pipeline.measures.bins import bin_of
from pipeline.rebuild.full import CLOCKS, clock_cells
from pipeline.verify.clocks import ACTIONS, MEASURES, CaseEvent, Observation, observed

MINUTE, DAY = 60_000, 86_400_000
COLUMNS = {
    **{"case_id": pl.String, "at": pl.Int64, "action": pl.String, "touchpoint": pl.String},
    **{"channel": pl.String, "segment": pl.String, "priority": pl.String},
}
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


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["c-1", "c-2"]), EVENTS), min_size=1, max_size=20))
def test_the_recount_of_a_rebuild_agrees_too(events: list[tuple[str, CaseEvent]]):
    rows = [event._replace(case_id=case_id) for case_id, event in events]
    table = pl.DataFrame([row for row in rows if row.action in ACTIONS], schema=COLUMNS, orient="row")
    cells = clock_cells(table, 0, 10**7, 90 * DAY)
    wanted: Counter[tuple[object, ...]] = Counter()
    for case_id in ("c-1", "c-2"):
        for seen in observed([row for row in rows if row.case_id == case_id], 90 * DAY):
            if seen.instrument in CLOCKS:
                wanted[seen[:-1]] += 1
    names = list(Observation._fields[:-1])
    assert {row[:-1]: row[-1] for row in cells.select(*names, "n").iter_rows()} == wanted
