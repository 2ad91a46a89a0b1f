"""A touchpoint looked at closely: every channel and segment of it, and nothing that is not asked for."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.cells import Series, marginals
from pipeline.measures.drilldown import Selection, answers
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.windows import Window
from tests.unit.roll.test_scoreboard import BASE, add

WINDOWS = (Window("3m", 180), Window("1h", 3600))
LEAVES = [
    Series("csat", "csat_1_5", touchpoint, channel, segment)
    for touchpoint in ("checkout", "support")
    for channel in ("web", "app")
    for segment in ("none", "new")
]
cells = st.tuples(st.sampled_from(LEAVES), st.integers(BASE - 90, BASE), st.integers(1, 5), st.integers(1, 3))
selections = st.builds(
    Selection,
    st.sampled_from(["3m", "1h"]),
    st.sampled_from(["checkout", "support", "nowhere", ""]),
    st.sampled_from(["web", "app", ""]),
    st.sampled_from(["none", "new", ""]),
)


def recount(rows, chosen):
    """(window, series) -> answers, of what stands around the selection, the slow way."""
    found = {}
    for window in WINDOWS:
        for leaf, minute, answer, n in rows:
            if BASE - window.seconds // 60 <= minute:
                for one in marginals(leaf):
                    found.setdefault((window.name, one), Counter())[answer] += n
    return {
        (window, one): counts
        for (window, one), counts in found.items()
        if one.touchpoint == chosen.touchpoint
        and (
            (one.channel, one.segment) == (chosen.channel, chosen.segment)
            or (window == chosen.window and (one.channel == chosen.channel or one.segment == chosen.segment))
        )
    }


@given(st.lists(cells, max_size=12), selections)
def test_what_stands_around_a_selection(rows, chosen):
    board = Scoreboard(WINDOWS, SHIPPED)
    board.advance(BASE * 60_000)
    if rows:
        add(board, rows)
    every = list(board.around(chosen))
    scores = [row for sums in every for one in board.standings_of(sums) for row in one.rows()]
    expected = recount(rows, chosen)
    assert {(row["window"], Series(*(row[f] for f in Series._fields))): row["n"] for row in scores} == {
        key: counts.total() for key, counts in expected.items()
    }
    own = expected.get((chosen.window, Series("csat", "csat_1_5", *chosen[1:])))
    one = {"metric": "csat", "instrument": "csat_1_5"}
    assert answers(chosen, every) == (
        [{**one, "counts": [list(x) for x in sorted(own.items())]}] if own else []
    )


def test_only_series_of_the_touchpoint_are_looked_at():
    board = Scoreboard(WINDOWS, SHIPPED)
    board.advance(BASE * 60_000)
    many = [Series("csat", "csat_1_5", f"t{k}", f"c{k}", "none") for k in range(200)]
    add(board, [(leaf, BASE, 5, 1) for leaf in [*many, LEAVES[0]]])
    looked = [len(sums.series) for sums in board.around(Selection("1h", "checkout"))]
    assert looked == [
        1,
        3,
    ]  # itself; in the window that was asked for also its one channel and its one segment
