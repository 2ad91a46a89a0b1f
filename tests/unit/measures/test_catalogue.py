from __future__ import annotations

import pytest

from pipeline.measures.catalogue import catalogue
from pipeline.measures.instruments import SHIPPED, Instrument
from pipeline.measures.scores import score


def only_fault(given: Instrument) -> str:
    found, faults = catalogue([given])
    assert found.get(given.name) == SHIPPED.get(given.name)
    assert len(faults) == 1, faults
    return faults[0]


def made(given: Instrument) -> Instrument:
    found, faults = catalogue([given])
    assert not faults
    return found[given.name]


def test_nothing_custom_leaves_the_shipped_ones():
    assert catalogue([]) == (SHIPPED, ())


def test_nps_on_another_scale_is_refused_with_a_lesson():
    fault = only_fault(Instrument("stars", "nps", 1, 5, "high"))
    assert fault.startswith("instruments.stars: NPS is asked on 0-10 or 1-10")
    assert "+18.5" in fault and "-4.0" in fault
    assert "promoters_from and detractors_to" in fault and "net_1_5, not NPS" in fault


def test_nps_mapped_explicitly_is_called_net():
    stars = made(Instrument("stars", "nps", 1, 5, "high", promoters_from=4, detractors_to=2))
    assert stars.metric == "net_1_5"
    assert set(score(stars.metric, stars, {5: 1})) == {"net_1_5"}
    assert stars == made(Instrument("stars", "net_1_5", 1, 5, "high", promoters_from=4, detractors_to=2))


def test_two_mappings_of_the_same_stars_differ_by_more_than_twenty_points():
    # Shares of 1..5 in a part of the Olist reviews (top box 40.8 %, top two 55.2 %, mean 3.27).
    answers = {1: 321, 2: 46, 3: 81, 4: 144, 5: 408}
    loose = Instrument("loose", "nps", 1, 5, "high", promoters_from=4, detractors_to=2)
    strict = Instrument("strict", "nps", 1, 5, "high", promoters_from=5, detractors_to=3)
    values = [score("net_1_5", made(one), answers)["net_1_5"].value for one in (loose, strict)]
    assert values[0] == pytest.approx(18.5)
    assert values[1] == pytest.approx(-4.0)


@pytest.mark.parametrize(
    "given",
    [
        Instrument("own", "nps", 0, 10, "high", promoters_from=8),
        Instrument("own", "nps", 0, 10, "low", promoters_from=9, detractors_to=6),
    ],
)
def test_nps_with_a_mapping_or_direction_of_its_own_does_not_carry_the_name(given: Instrument):
    assert made(given).metric == "net_0_10"


def test_nps_on_its_scale_upside_down_is_refused():
    assert "not on 0-10 with the low end as good" in only_fault(Instrument("down", "nps", 0, 10, "low"))


def test_usual_thresholds_are_filled_in():
    assert made(Instrument("mood", "csat", 1, 7, "high")).satisfied_from == 6
    assert made(Instrument("effort", "ces", 1, 5, "low")).easy_from == 4
    assert made(Instrument("friends", "nps", 0, 10, "high")).metric == "nps"


def test_a_low_scale_counts_its_thresholds_from_the_good_end():
    grades = made(Instrument("grades", "csat", 1, 6, "low", satisfied_from=5))  # school grades, 1 is best
    assert grades.groups == (("dissatisfied", 3, 6), ("satisfied", 1, 2))


def test_a_threshold_of_zero_is_a_threshold():
    smileys = made(Instrument("smileys", "csat", -1, 1, "high", satisfied_from=0))
    assert smileys.satisfied_from == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            Instrument("mood", "csat", 1, 6, "high"),
            "set satisfied_from: only the scales 1-3, 1-4, 1-5, 1-7, 1-10",
        ),
        (Instrument("mood", "ces", 0, 10, "high"), "set easy_from: only the scales 1-5, 1-7"),
        (Instrument("mood", "net_1_5", 1, 5, "high"), "set promoters_from and detractors_to"),
        (
            Instrument("mood", "net_1_5", 1, 6, "high", 4, 2),
            'metric must be nps, csat, ces or net_1_6, not "net_1_5"',
        ),
        (Instrument("mood", "smile", 1, 5, "high"), "metric must be nps, csat, ces or net_1_5"),
        (Instrument("mood", "csat", 5, 1, "high"), "min must be below max"),
        (Instrument("mood", "csat", 0, 101, "high", satisfied_from=50), "at most 101 answers"),
        (
            Instrument("mood", "csat", 1, 5, "high", satisfied_from=1),
            "satisfied_from = 1 must leave answers of 1..5",
        ),
        (
            Instrument("mood", "csat", 1, 5, "high", satisfied_from=6),
            "satisfied_from = 6 must leave answers of 1..5",
        ),
        (Instrument("mood", "csat", 1, 5, "high", easy_from=4), "easy_from has no meaning for csat"),
        (Instrument("mood", "net_1_5", 1, 5, "high", 3, 3), "nobody is both"),
        (Instrument("Mood!", "csat", 1, 5, "high"), "a name is up to 64 lower case letters"),
    ],
)
def test_a_fault_is_one_sentence_that_names_what_is_allowed(given: Instrument, said: str):
    assert said in only_fault(given)


def test_a_shipped_name_keeps_its_scale():
    fault = only_fault(Instrument("csat_1_5", "csat", 1, 10, "high"))
    assert "csat 1..5 (high is good, satisfied_from 4)" in fault
    assert "csat 1..10 (high is good, satisfied_from 8)" in fault


def test_saying_again_what_is_shipped_is_no_fault():
    assert made(Instrument("csat_1_5", "csat", 1, 5, "high")) == SHIPPED["csat_1_5"]


def test_all_faults_of_all_instruments_come_at_once():
    found, faults = catalogue(
        [
            Instrument("A", "smile", 3, 3, "high"),
            Instrument("good", "csat", 1, 5, "high"),
            Instrument("b", "csat", 1, 5, "high", promoters_from=4, satisfied_from=9),
        ]
    )
    assert [fault.split(":")[0] for fault in faults] == ["instruments.A"] * 3 + ["instruments.b"] * 2
    assert "good" in found and "A" not in found and "b" not in found
