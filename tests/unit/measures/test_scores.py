"""Scores against the field's own test cases, and against a second implementation in plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.bins import ZERO_BIN
from pipeline.measures.instruments import SHIPPED, Instrument
from pipeline.measures.scores import SHARES, Score, group_counts, score, score_matrix
from tests.support.single import bin_of

Z = 1.96
EVERY = (*SHIPPED.values(), Instrument("stars", "net_1_5", 1, 5, "high", promoters_from=4, detractors_to=3))
ONE = st.sampled_from(EVERY)
COUNTS = st.one_of(st.integers(0, 5), st.integers(0, 10**6))


def of(name: str, histogram: Mapping[int, int]) -> dict[str, Score]:
    return score(SHIPPED[name].metric, SHIPPED[name], histogram)


def plain_share(hits: int, n: int) -> Score:
    p, scale = hits / n, 1 + Z * Z / n
    centre, half = (p + Z * Z / (2 * n)) / scale, Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / scale
    return Score(p, max(centre - half, 0), min(centre + half, 1), n)


def plain_net(promoters: int, detractors: int, n: int) -> Score:
    p, d = (promoters + 0.75) / (n + 3), (detractors + 0.75) / (n + 3)
    half = Z * math.sqrt((p + d - (p - d) ** 2) / (n + 3))
    return Score(
        100 * (promoters - detractors) / n, max(100 * (p - d - half), -100), min(100 * (p - d + half), 100), n
    )


def plain_effort(one: Instrument, turned: Mapping[int, int], n: int) -> dict[str, Score]:
    average = sum(k * m for k, m in turned.items()) / n
    lower = upper = None
    if n > 1:
        half = Z * math.sqrt(sum(m * (k - average) ** 2 for k, m in turned.items()) / (n - 1) / n)
        lower, upper = max(average - half, one.low), min(average + half, one.high)
    ease = [
        None if x is None else 100 * (x - one.low) / (one.high - one.low) for x in (average, lower, upper)
    ]
    easy = sum(m for k, m in turned.items() if k >= (one.easy_from or 0))
    return {
        "ces": Score(average, lower, upper, n),
        "ces_easy": plain_share(easy, n),
        "ces_ease": Score(ease[0], ease[1], ease[2], n),
    }


def plain(one: Instrument, histogram: Mapping[int, int]) -> dict[str, Score]:
    """What `score` must give, written down from the definitions without arrays."""
    n = sum(histogram.values())
    if not n:
        names = ("ces", "ces_easy", "ces_ease") if one.metric == "ces" else (one.metric,)
        return dict.fromkeys(names, Score(None, None, None, 0))
    low = one.direction == "low"
    turned = {(one.low + one.high - k if low else k): m for k, m in histogram.items()}
    if one.metric == "ces":
        return plain_effort(one, turned, n)
    if one.metric == "csat":
        return {"csat": plain_share(sum(m for k, m in turned.items() if k >= (one.satisfied_from or 0)), n)}
    promoters = sum(m for k, m in turned.items() if k >= (one.promoters_from or 0))
    detractors = sum(m for k, m in turned.items() if k <= (one.detractors_to or 0))
    return {one.metric: plain_net(promoters, detractors, n)}


@st.composite
def surveys(draw: st.DrawFn) -> tuple[Instrument, list[dict[int, int]]]:
    one = draw(ONE)
    answers = st.dictionaries(st.integers(one.low, one.high), COUNTS)
    return one, draw(st.lists(answers, min_size=1, max_size=6))


def matrix(histograms: list[dict[int, int]], bins: np.ndarray) -> np.ndarray:
    return np.array([[one.get(int(k), 0) for k in bins] for one in histograms], np.int64).reshape(
        len(histograms), len(bins)
    )


def scale(one: Instrument) -> np.ndarray:
    return np.array(one.answers, np.int32)


def same(found: Mapping[str, Score], wanted: Mapping[str, Score]) -> None:
    assert found.keys() == wanted.keys()
    for name, (value, lower, upper, n) in wanted.items():
        assert found[name].n == n
        for got, want in zip(found[name][:3], (value, lower, upper), strict=True):
            assert (got is None) == (want is None), name
            assert got == (want if want is None else pytest.approx(want, rel=1e-9, abs=1e-7)), name


def test_very_easy_on_a_scale_where_7_is_hard_is_ease_83():
    found = of("ces_1_7_hard", {2: 1})
    assert found["ces_ease"].value == pytest.approx(83.33, abs=0.01)
    assert found["ces"].value == 6.0
    assert found["ces_easy"].value == 1.0
    assert of("ces_1_7", {2: 1})["ces_ease"].value == pytest.approx(16.67, abs=0.01)


def test_dismissals_are_in_no_denominator():
    # 100 people dismissed the question: they gave no answer, so there is no bin that could hold them.
    found = of("nps_0_10", {10: 30, 9: 30, 8: 10, 7: 10, 6: 5, 0: 15})["nps"]
    assert found.value == 40.0
    assert found.n == 100
    assert (found.lower, found.upper) == pytest.approx((23.38, 54.29), abs=0.005)


def test_no_answers_are_no_score():
    for one in EVERY:
        assert set(score(one.metric, one, {}).values()) == {Score(None, None, None, 0)}


def test_one_answer_has_a_value_and_for_a_mean_no_interval():
    effort = of("ces_1_7", {5: 1})
    assert effort["ces"] == Score(5.0, None, None, 1)
    assert effort["ces_ease"][1:3] == (None, None)
    assert effort["ces_easy"].lower == pytest.approx(0.2065, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "hits"), [("csat_1_3", 1), ("csat_1_4", 2), ("csat_1_5", 2), ("csat_1_7", 2), ("csat_1_10", 3)]
)
def test_csat_is_the_share_of_top_boxes(name: str, hits: int):
    one = SHIPPED[name]
    found = of(name, dict.fromkeys(one.answers, 1))["csat"]
    assert (found.value, found.n) == (hits / len(one.answers), len(one.answers))


def test_nps_on_1_to_10_is_not_shifted():
    assert of("nps_1_10", {1: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1})["nps"].value == 0.0


def test_everybody_agreeing_stays_within_the_possible():
    assert of("nps_0_10", {10: 1000})["nps"][:3] == (100.0, pytest.approx(99.25, abs=0.5), 100.0)
    assert of("csat_1_5", {5: 1000})["csat"].upper == 1.0
    assert of("ces_1_7", {7: 1000})["ces"][:3] == (7.0, 7.0, 7.0)


@given(surveys())
def test_scores_are_those_of_plain_python(survey: tuple[Instrument, list[dict[int, int]]]):
    one, histograms = survey
    for histogram in histograms:
        same(score(one.metric, one, histogram), plain(one, histogram))


@given(surveys())
def test_a_row_of_a_matrix_is_scored_as_alone_bit_for_bit(survey: tuple[Instrument, list[dict[int, int]]]):
    one, histograms = survey
    columns = score_matrix(one.metric, one, matrix(histograms, scale(one)), scale(one))
    for at, histogram in enumerate(histograms):
        assert {name: column.row(at) for name, column in columns.items()} == score(one.metric, one, histogram)


@pytest.mark.parametrize("seed", [7])
def test_fifty_thousand_rows_are_scored_as_alone_bit_for_bit(seed: int):
    random = np.random.default_rng(seed)
    for one in EVERY:
        counts = random.poisson(random.choice([0.05, 2, 300], size=(50_000, 1)), (50_000, len(one.answers)))
        columns = score_matrix(one.metric, one, counts.astype(np.int64), scale(one))
        for at in random.integers(0, 50_000, 40).tolist():
            alone = score(one.metric, one, dict(zip(one.answers, counts[at].tolist(), strict=True)))
            assert {name: column.row(at) for name, column in columns.items()} == alone


@given(surveys())
def test_columns_of_answers_that_nobody_gave_may_be_missing(survey: tuple[Instrument, list[dict[int, int]]]):
    one, histograms = survey
    given_bins = np.array(sorted({k for histogram in histograms for k in histogram}), np.int32)
    columns = score_matrix(one.metric, one, matrix(histograms, given_bins), given_bins)
    for at, histogram in enumerate(histograms):
        same({name: column.row(at) for name, column in columns.items()}, plain(one, histogram))


@given(surveys())
def test_groups_add_up_to_n(survey: tuple[Instrument, list[dict[int, int]]]):
    one, histograms = survey
    counts = matrix(histograms, scale(one))
    groups = group_counts(one, counts, scale(one))
    np.testing.assert_array_equal(sum(groups.values()), counts.sum(axis=1))


@pytest.mark.parametrize(("metric", "one", "bad"), [("nps", SHIPPED["nps_1_10"], 0), ("reopen", None, 2)])
def test_an_answer_off_the_scale_is_an_error_and_not_a_diluted_score(
    metric: str, one: Instrument | None, bad: int
):
    with pytest.raises(ValueError, match="not all on the scale"):
        score(metric, one, {1: 5, bad: 1})
    score(metric, one, {1: 5, bad: 0})  # taken back: nobody gave it


@pytest.mark.parametrize("metric", sorted(SHARES))
def test_a_share_is_what_came_out_1(metric: str):
    assert score(metric, None, {1: 3, 0: 7}) == {metric: plain_share(3, 10)}
    assert score(metric, None, {}) == {metric: Score(None, None, None, 0)}


def test_plain_counts_have_no_score():
    assert score("touchpoints", None, {0: 12}) == {}


def durations(*seconds: float) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in seconds:
        k = bin_of(round(one * 1000))
        found[k] = found.get(k, 0) + 1
    return found


def test_resolution_is_the_median_with_order_statistics_around_it():
    found = score("resolution", None, durations(*range(60, 6060, 60)))["resolution"]  # 1 .. 100 minutes
    assert found.n == 100
    assert found.value == pytest.approx(50 * 60, rel=0.045)
    assert found.lower is not None and found.upper is not None
    assert found.lower < 40 * 60 <= found.lower * 2 ** (1 / 8)
    assert found.upper / 2 ** (1 / 8) < 61 * 60 <= found.upper


def test_every_part_of_a_median_is_read_from_its_bin():
    found = score("resolution", None, {8: 100})["resolution"]
    assert found == Score(2 ** (7.5 / 8), 2 ** (7 / 8), 2.0, 100)


def test_the_median_of_an_even_number_is_the_lower_of_the_two_in_the_middle():
    assert score("resolution", None, {0: 50, 80: 50})["resolution"].value == 2 ** (-0.5 / 8)


def test_the_interval_of_five_resolutions_is_all_of_them_and_four_have_none():
    found = score("resolution", None, durations(1, 2, 3, 4, 5))["resolution"]
    assert found == Score(pytest.approx(3, rel=0.045), 2 ** (-1 / 8), pytest.approx(5, rel=0.09), 5)
    few = score("resolution", None, durations(1, 2, 3, 4))["resolution"]
    assert few == Score(pytest.approx(2, rel=0.045), None, None, 4)


def test_resolutions_of_no_time_at_all_take_zero_seconds():
    assert score("resolution", None, {ZERO_BIN: 8})["resolution"] == Score(0.0, 0.0, 0.0, 8)
    assert score("resolution", None, {})["resolution"] == Score(None, None, None, 0)


@given(st.lists(st.integers(0, 10**9), min_size=5, max_size=200))
def test_the_interval_of_a_median_holds_the_median(milliseconds: list[int]):
    found = score("resolution", None, durations(*(ms / 1000 for ms in milliseconds)))["resolution"]
    assert found.lower is not None and found.upper is not None and found.value is not None
    assert found.lower <= found.value <= found.upper
    middle = sorted(milliseconds)[(len(milliseconds) - 1) // 2] / 1000
    assert found.lower * (1 - 1e-12) <= middle <= found.upper * (1 + 1e-12)


@given(st.lists(st.dictionaries(st.integers(-5, 9), COUNTS), min_size=1, max_size=5))
def test_a_row_of_durations_is_scored_as_alone(histograms: list[dict[int, int]]):
    bins = np.array([ZERO_BIN, *range(-5, 10)], np.int32)
    columns = score_matrix("resolution", None, matrix(histograms, bins), bins)
    for at, histogram in enumerate(histograms):
        assert {name: column.row(at) for name, column in columns.items()} == score(
            "resolution", None, histogram
        )
