"""Effort against CSAT: when it is said, when not, and the page that shows how often it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import direction as simulation
from pipeline.measures.direction import CSAT, EASE, LEAST, Told, runs_against, verdicts
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scores import Score, score
from pipeline.stores.report import Line, against_csat

HARD, EASY = Score(20.0, 15.0, 25.0, 100), Score(80.0, 75.0, 85.0, 100)
GOOD, BAD = Score(0.9, 0.8, 0.95, 100), Score(0.1, 0.05, 0.2, 100)
ANY = st.builds(
    lambda ends, n: Score(sum(ends) / 2, *sorted(ends), n),
    st.tuples(st.floats(0, 100), st.floats(0, 100)),
    st.integers(LEAST, 10**6),
)


def share(of: Score) -> Score:
    return Score(*(end / 100 if end is not None else None for end in of[:3]), of.n)


def turned(of: Score) -> Score:
    return Score(100 - of.value, 100 - of.upper, 100 - of.lower, of.n)


@pytest.mark.parametrize(
    ("ease", "satisfied", "against"),
    [
        (HARD, GOOD, True),
        (EASY, BAD, True),
        (EASY, GOOD, False),
        (HARD, BAD, False),
        (Score(48.0, 45.0, 51.0, 500), GOOD, False),
        (HARD, Score(0.52, 0.49, 0.55, 900), False),
        (HARD._replace(n=99), GOOD, None),
        (HARD, GOOD._replace(n=99), None),
        (Score(None, None, None, 0), GOOD, None),
    ],
)
def test_opposite_sides_with_a_hundred_answers_each(ease: Score, satisfied: Score, against: bool | None):
    assert runs_against(ease, satisfied) is against


@given(ANY, ANY)
def test_turning_the_scale_never_leaves_a_warning_and_two_turns_change_nothing(ease: Score, csat: Score):
    satisfied = share(csat)
    assert not (runs_against(ease, satisfied) and runs_against(turned(ease), satisfied))
    assert runs_against(turned(ease), turned(csat)._replace(n=csat.n)) is not None
    mirrored = share(turned(csat))
    assert runs_against(turned(ease), mirrored) == runs_against(ease, satisfied)


def test_the_same_answers_read_both_ways_round():
    """120 people find a touchpoint very easy on a scale where 7 is very hard; 90 % of them are satisfied."""
    answers, satisfied = {1: 70, 2: 40, 6: 10}, score("csat", SHIPPED["csat_1_5"], {5: 108, 1: 12})["csat"]
    read = {name: score("ces", SHIPPED[name], answers)["ces_ease"] for name in ("ces_1_7", "ces_1_7_hard")}
    assert {name: runs_against(ease, satisfied) for name, ease in read.items()} == {
        "ces_1_7": True,
        "ces_1_7_hard": False,
    }


def test_only_the_same_touchpoint_and_window_are_compared_and_each_pair_is():
    told = [
        Told(EASE, "ces_1_7", "1h", "checkout", HARD),
        Told(EASE, "ces_1_5", "1h", "checkout", EASY),
        Told(CSAT, "csat_1_5", "1h", "checkout", GOOD),
        Told(CSAT, "csat_1_7", "1h", "checkout", BAD),
        Told(CSAT, "csat_1_5", "24h", "checkout", GOOD),
        Told(CSAT, "csat_1_5", "1h", "support", GOOD),
        Told("ces", "ces_1_7", "1h", "support", HARD),
    ]
    assert {(one.effort, one.csat, one.against) for one in verdicts(told)} == {
        ("ces_1_7", "csat_1_5", True),
        ("ces_1_7", "csat_1_7", False),
        ("ces_1_5", "csat_1_5", False),
        ("ces_1_5", "csat_1_7", True),
    }


def test_a_report_says_it_once_for_each_touchpoint_and_pair():
    at = datetime(2026, 5, 1, tzinfo=UTC)

    def lines(window: str, touchpoint: str, channel: str, ease: Score) -> list[Line]:
        return [
            Line(EASE, "ces_1_7", window, touchpoint, channel, "", ease, at, None, None),
            Line(CSAT, "csat_1_5", window, touchpoint, channel, "", GOOD, at, None, None),
        ]

    found = against_csat(
        [
            *lines("1h", "checkout", "", HARD),
            *lines("24h", "checkout", "", HARD),
            *lines("24h", "checkout", "web", HARD),
            *lines("24h", "", "", HARD),
            *lines("24h", "support", "", EASY),
        ]
    )
    assert [(one.touchpoint, one.window) for one in found] == [("checkout", "24h")]


def test_false_warnings_are_rare_and_wrong_scales_are_found_and_the_page_says_so():
    found = simulation.table()
    fine, middle = (found[name] for name in simulation.RIGHT)
    assert max(fine) < 0.005
    assert max(middle) < 0.035  # one end of a 95 % interval, 2.5 %, and chance
    assert min(found["wrong way round, ease 60 to 85"]) > 0.98
    page = simulation.PAGE.read_text(encoding="utf-8")
    assert simulation.written(page, simulation.text(found)) == page, "run: python -m bench.direction"
