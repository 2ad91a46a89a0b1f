"""Intervals against published worked examples, exact arithmetic, and how often they are right."""

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


def binomial(n: int, p: float) -> np.ndarray:
    """Probability of 0..n hits."""
    return np.array([math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.parametrize(
    ("hits", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published_by_newcombe(hits: int, n: int, lower: float, upper: float):
    """R. G. Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3."""
    found = wilson(hits, n)
    assert [round(float(end), 4) for end in found] == [lower, upper]


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


def test_mean_of_one_answer_has_no_interval():
    assert np.isnan(mean(4.0, 0.0, 1, 1, 7)).all()
    assert [float(end) for end in mean(4.0, 0.0, 2, 1, 7)] == [4.0, 4.0]


def test_mean_uses_n_minus_1():
    """1 and 3: variance (1 + 1) / (2 - 1) = 2, standard error 1, so 2 +- 1.96."""
    assert [float(end) for end in mean(2.0, 2.0, 2, 0, 10)] == pytest.approx([0.04, 3.96])


def test_median_ranks_as_published():
    """100 diabetic patients, 40th and 61st: Gardner and Altman, Statistics with Confidence, chapter 8."""
    assert tuple(map(int, median_ranks(100))) == (40, 61)


@pytest.mark.parametrize(
    ("n", "ranks"), [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (12, (3, 10)), (20, (6, 15))]
)
def test_median_ranks_are_those_of_the_exact_tables(n: int, ranks: tuple[int, int]):
    assert tuple(map(int, median_ranks(n))) == ranks


@pytest.mark.parametrize("n", range(6))
def test_no_two_of_five_durations_are_sure_of_the_median(n: int):
    assert tuple(map(int, median_ranks(n))) == (0, 0)


def test_median_ranks_hold_the_median_in_95_of_100_samples():
    """Exact: the median lies between order statistics l and u with probability P(l <= Bin(n, 1/2) < u)."""
    held = []
    for n in range(6, 400):
        lower, upper = map(int, median_ranks(n))
        held.append(sum(math.comb(n, k) for k in range(lower, upper)) / 2**n)
    assert min(held) > 0.935
    assert 0.95 < statistics.fmean(held) < 0.96


@pytest.mark.parametrize("n", [5, 10, 30, 100])
def test_wilson_covers_95_percent(n: int):
    """Exact, averaged over shares 0.01 .. 0.99: how the literature states it (Newcombe 1998: 0.952)."""
    lower, upper = wilson(np.arange(n + 1), n)
    shares = np.arange(1, 100) / 100
    held = [binomial(n, p)[(lower <= p) & (p <= upper)].sum() for p in shares]
    assert 0.945 < statistics.fmean(held) < 0.965


@pytest.mark.parametrize("n", [5, 10, 30])
def test_adjusted_wald_covers_95_percent(n: int):
    """Exact, averaged over a grid of promoters and detractors, all trinomial samples counted."""
    counts = [(p, d) for p in range(n + 1) for d in range(n + 1 - p)]
    promoters, detractors = np.array(counts).T
    ways = np.array([math.comb(n, p) * math.comb(n - p, d) for p, d in counts], float)
    lower, upper = adjusted_wald(promoters, detractors, n)
    held = []
    for good, bad in [(g / 20, b / 20) for g in range(1, 19) for b in range(1, 20 - g)]:
        neither = 1 - good - bad
        chance = ways * good**promoters * bad**detractors * neither ** (n - promoters - detractors)
        net = 100 * (good - bad)
        held.append(chance[(lower <= net) & (net <= upper)].sum())
    assert 0.93 < statistics.fmean(held) < 0.97


def test_nothing_answered_is_unknown_and_not_zero():
    for ends in (wilson(0, 0), adjusted_wald(0, 0, 0), mean(0.0, 0.0, 0, 1, 7)):
        assert np.isnan(ends).all()


def test_arrays_give_what_numbers_give():
    hits, n = np.array([0, 3, 7]), np.array([0, 9, 7])
    each = [tuple(map(float, wilson(h, m))) for h, m in zip(hits, n, strict=True)]
    np.testing.assert_array_equal(np.stack(wilson(hits, n), axis=1), each)
