"""Intervals against published worked examples and exact arithmetic; how often they hold: test_coverage."""

from __future__ import annotations

import math
import statistics
from decimal import Decimal, getcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.measures.intervals import Z, adjusted_wald, mean, median_ranks, wilson

getcontext().prec = 40
SIZES = st.integers(1, 10**7)


@pytest.mark.parametrize(
    ("hits", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published_by_newcombe(hits: int, n: int, lower: float, upper: float):
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    found = wilson(hits, n)
    assert [round(float(end), 4) for end in found] == [lower, upper]


@pytest.mark.parametrize(
    ("hits", "misses", "lower", "upper"),
    [
        (0, 1, 0.0, 0.7934567085261071),
        (1, 1, 0.09452865480086611, 0.905471345199134),
        (10, 1, 0.6226353745137962, 0.9837682477371741),
        (10, 90, 0.05522854161313612, 0.1743673043676654),
        (75, 25, 0.6569535362992417, 0.8245490599627573),
        (100, 0, 0.9630051925239981, 1.0),
    ],
)
def test_wilson_to_the_last_digits(hits: int, misses: int, lower: float, upper: float):
    """The test cases, z = 1.96, of codegolf.stackexchange.com/questions/105389."""
    assert tuple(map(float, wilson(hits, hits + misses))) == pytest.approx((lower, upper), rel=1e-13)


def test_wilson_lies_inside_the_agresti_coull_interval_around_the_same_middle():
    """4 of 5: 0.6696 +- 0.3100, T. Tullis at measuringux.com/adjustedwald.htm.

    Same middle, and never wider: L. D. Brown, T. T. Cai, A. DasGupta, Statistical Science 16 (2001) 101-133.
    """
    lower, upper = map(float, wilson(4, 5))
    assert (lower + upper) / 2 == pytest.approx(0.6696, abs=1e-4)
    assert 0.3596 < lower < upper < 0.9796


@given(SIZES, st.data())
def test_wilson_ends_where_the_score_test_just_rejects(n: int, data: st.DataObject):
    hits = data.draw(st.integers(0, n))
    share = Fraction(hits, n)
    for end in map(float, wilson(hits, n)):
        if 0 < end < 1:  # |share - end| = z * sqrt(end * (1 - end) / n) is what defines it
            distance = Z * math.sqrt(end * (1 - end) / n)
            assert abs(float(share) - end) == pytest.approx(distance, rel=1e-6, abs=1e-9)


@given(SIZES, st.data())
def test_wilson_mirrors(n: int, data: st.DataObject):
    hits = data.draw(st.integers(0, n))
    lower, upper = wilson(hits, n)
    other_lower, other_upper = wilson(n - hits, n)
    assert 0 <= lower <= hits / n <= upper <= 1
    assert (float(lower), float(upper)) == pytest.approx((1 - other_upper, 1 - other_lower))


def test_adjusted_wald_by_hand():
    """60 promoters, 20 passives, 20 detractors: n' = 103, p' = 60.75/103, d' = 20.75/103."""
    p, d, n = Decimal("60.75") / 103, Decimal("20.75") / 103, Decimal(103)
    half = Decimal("1.96") * ((p + d - (p - d) ** 2) / n).sqrt()
    wanted = [float(100 * (p - d - half)), float(100 * (p - d + half))]
    assert [float(end) for end in adjusted_wald(60, 20, 100)] == pytest.approx(wanted, rel=1e-12)
    assert [round(end, 2) for end in wanted] == [23.38, 54.29]


def test_adjusted_wald_of_a_real_survey():
    """291 promoters, 476 passives, 395 detractors: -9 +- 4.4, talkstats.com/threads/58500 (unadjusted: n is large)."""
    lower, upper = map(float, adjusted_wald(291, 395, 1162))
    assert (round((lower + upper) / 2), round((upper - lower) / 2, 1)) == (-9, 4.4)


@given(SIZES, st.data())
def test_adjusted_wald_mirrors_and_stays_in_range(n: int, data: st.DataObject):
    promoters = data.draw(st.integers(0, n))
    detractors = data.draw(st.integers(0, n - promoters))
    lower, upper = adjusted_wald(promoters, detractors, n)
    other_lower, other_upper = adjusted_wald(detractors, promoters, n)
    assert -100 <= lower <= upper <= 100
    assert (float(lower), float(upper)) == pytest.approx((-other_upper, -other_lower))


def test_adjusted_wald_is_clamped():
    assert float(adjusted_wald(5, 0, 5)[1]) == 100.0
    assert float(adjusted_wald(0, 5, 5)[0]) == -100.0


@given(st.lists(st.integers(1, 7), min_size=2, max_size=60))
def test_mean_is_the_textbook_one(answers: list[int]):
    assume(len(set(answers)) > 1)
    average, deviation = statistics.fmean(answers), statistics.stdev(answers)
    squares = sum((answer - average) ** 2 for answer in answers)
    half = 1.96 * deviation / math.sqrt(len(answers))
    found = [float(end) for end in mean(average, squares, len(answers), 1, 7)]
    assert found == pytest.approx([max(average - half, 1), min(average + half, 7)])


@pytest.mark.parametrize(
    ("n", "average", "deviation", "lower", "upper"),
    [(72, 88, 4.5, 86.96, 89.04), (48, 79, 4.2, 77.81, 80.19)],
)
def test_mean_as_published_by_swinscow(n: int, average: float, deviation: float, lower: float, upper: float):
    """72 printers: T. D. V. Swinscow, M. J. Campbell, Statistics at Square One, ch. 4; 48 farmers by its formula."""
    found = mean(average, deviation**2 * (n - 1), n, 0, 300)
    assert [round(float(end), 2) for end in found] == [lower, upper]


def test_mean_of_one_answer_has_no_interval():
    assert np.isnan(mean(4.0, 0.0, 1, 1, 7)).all()
    assert [float(end) for end in mean(4.0, 0.0, 2, 1, 7)] == [4.0, 4.0]


def test_mean_uses_n_minus_1():
    """1 and 3: variance (1 + 1) / (2 - 1) = 2, standard error 1, so 2 +- 1.96."""
    assert [float(end) for end in mean(2.0, 2.0, 2, 0, 10)] == pytest.approx([0.04, 3.96])


def test_median_ranks_as_published():
    """100 diabetic patients, 40th and 61st: Gardner and Altman, Statistics with Confidence, chapter 8."""
    assert tuple(map(int, median_ranks(100))) == (40, 61)


def test_median_ranks_as_published_with_data():
    """The example of ci.median in D. G. Bonett's statpsych (Snedecor, Cochran 1989): 10.8 to 30.9."""
    values = "30.2 20.4 15.1 10.2 10.5 60.8 20.8 25.0 20.7 30.9 10.8 5.1 50.9 40.0 20.9 10.8 0 20.5 50.8"
    ordered = sorted(map(float, values.split()))
    lower, upper = map(int, median_ranks(len(ordered)))
    assert (ordered[lower - 1], ordered[upper - 1]) == (10.8, 30.9)


@pytest.mark.parametrize(
    ("n", "ranks"),
    [(5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (12, (3, 10)), (20, (6, 15))],
)
def test_median_ranks_are_those_of_the_exact_tables(n: int, ranks: tuple[int, int]):
    assert tuple(map(int, median_ranks(n))) == ranks


@pytest.mark.parametrize("n", range(5))
def test_no_two_of_four_durations_are_sure_of_the_median(n: int):
    assert tuple(map(int, median_ranks(n))) == (0, 0)


def test_median_ranks_hold_the_median_in_95_of_100_samples():
    """Exact: the median lies between order statistics l and u with probability P(l <= Bin(n, 1/2) < u)."""
    held = []
    for n in range(5, 400):
        lower, upper = map(int, median_ranks(n))
        held.append(sum(math.comb(n, k) for k in range(lower, upper)) / 2**n)
    assert min(held) > 0.935
    assert 0.95 < statistics.fmean(held) < 0.96


def test_nothing_answered_is_unknown_and_not_zero():
    for ends in (wilson(0, 0), adjusted_wald(0, 0, 0), mean(0.0, 0.0, 0, 1, 7)):
        assert np.isnan(ends).all()


def test_arrays_give_what_numbers_give():
    hits, n = np.array([0, 3, 7]), np.array([0, 9, 7])
    each = [tuple(map(float, wilson(h, m))) for h, m in zip(hits, n, strict=True)]
    np.testing.assert_array_equal(np.stack(wilson(hits, n), axis=1), each)
