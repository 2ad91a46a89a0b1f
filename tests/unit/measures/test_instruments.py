from __future__ import annotations

import pytest

from pipeline.measures.instruments import SHIPPED, Instrument, bounds

NAMES = {
    *("nps_0_10", "nps_1_10"),
    *("csat_1_3", "csat_1_4", "csat_1_5", "csat_1_7", "csat_1_10"),
    *("ces_1_5", "ces_1_7", "ces_1_7_hard"),
}


def answers(instrument: Instrument, group: str) -> set[int]:
    return {k for name, first, last in instrument.groups if name == group for k in range(first, last + 1)}


def test_the_shipped_instruments_are_those_of_the_contract():
    assert set(SHIPPED) == NAMES
    assert all(name == one.name for name, one in SHIPPED.items())


def test_nobody_can_change_what_is_shipped():
    with pytest.raises(TypeError):
        SHIPPED["nps_0_10"] = SHIPPED["nps_1_10"]  # type: ignore[index]  # the mistake under test


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("csat_1_3", {3}),
        ("csat_1_4", {3, 4}),
        ("csat_1_5", {4, 5}),
        ("csat_1_7", {6, 7}),
        ("csat_1_10", {8, 9, 10}),
    ],
)
def test_top_boxes_follow_the_scale(name: str, top: set[int]):
    assert answers(SHIPPED[name], "satisfied") == top


@pytest.mark.parametrize("name", ["nps_0_10", "nps_1_10"])
def test_both_nps_scales_have_the_same_cuts(name: str):
    one = SHIPPED[name]
    assert answers(one, "promoter") == {9, 10}
    assert answers(one, "passive") == {7, 8}
    assert answers(one, "detractor") == set(range(one.low, 7))


@pytest.mark.parametrize(
    ("name", "easy"), [("ces_1_5", {4, 5}), ("ces_1_7", {5, 6, 7}), ("ces_1_7_hard", {1, 2, 3})]
)
def test_easy_is_at_the_easy_end(name: str, easy: set[int]):
    assert answers(SHIPPED[name], "easy") == easy


@pytest.mark.parametrize("one", SHIPPED.values(), ids=lambda one: one.name)
def test_every_answer_is_in_exactly_one_group(one: Instrument):
    placed = [k for _, first, last in one.groups for k in range(first, last + 1)]
    assert sorted(placed) == list(one.answers)


def test_a_net_score_without_passives_has_two_groups():
    one = Instrument("thumbs_1_4", "net_1_4", 1, 4, "high", promoters_from=3, detractors_to=2)
    assert one.groups == (("detractor", 1, 2), ("promoter", 3, 4))


def test_turning_twice_gives_the_answer_back():
    hard = SHIPPED["ces_1_7_hard"]
    assert [hard.turn(k) for k in range(1, 8)] == [7, 6, 5, 4, 3, 2, 1]
    assert all(one.turn(one.turn(k)) == k for one in SHIPPED.values() for k in one.answers)


def test_bounds_are_what_a_response_is_checked_against():
    assert bounds(SHIPPED)["nps_1_10"] == (1, 10)
    assert bounds(SHIPPED).keys() == NAMES
