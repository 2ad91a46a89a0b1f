"""Whether a change is significant: published examples, and how often nothing changed and it says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measures.change import changes, nets, shares, student, welch
from pipeline.measures.instruments import SHIPPED

CSAT, NPS, CES = (SHIPPED[name] for name in ("csat_1_5", "nps_0_10", "ces_1_7"))


def changed(instrument, before, now):
    """name -> (change, significant) of one series; histograms as answer -> count."""
    bins = np.array(instrument.answers, np.int32)
    sides = [np.array([[side.get(int(k), 0) for k in bins]], np.int64) for side in (before, now)]
    return {name: one.row(0) for name, one in changes(instrument.metric, instrument, *sides, bins).items()}


def test_two_shares_of_the_literature():
    """11 of 12 against 5 of 12: chi-square 6.75 by hand, times 23 / 24."""
    assert shares(11, 12, 5, 12) == 1
    assert shares(9, 12, 5, 12) == 0


def test_a_share_needs_an_expected_hit_and_miss():
    assert np.isnan(shares(0, 3, 1, 100))
    assert shares(5, 5, 9, 9) == 0, "everybody said the same in both"


def test_students_t_is_that_of_the_tables():
    table = {2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 100: 1.984, 10**6: 1.960}
    assert student(list(table)) == pytest.approx(list(table.values()), rel=0.02)
    assert student([5, 30]) == pytest.approx([2.571, 2.042], rel=0.001)


def test_welch_goes_by_the_spread_of_each_side():
    """Means 20.6 and 23.4 of 10 and 25, variances 4 and 1.6: t = 4.06 by hand, with about 12 degrees of freedom."""
    one = [np.array([x]) for x in (20.6, 4.0, 10.0)]
    assert welch(*one, *(np.array([x]) for x in (23.4, 1.6, 25.0))) == [1]
    assert welch(*one, *(np.array([x]) for x in (21.0, 1.6, 25.0))) == [0]
    assert np.isnan(welch(*one, *(np.array([x]) for x in (23.4, np.nan, 1.0))))


def test_two_net_scores():
    """NPS 40 of 100 against 10 of 100, and against 30: half widths are about 15."""
    assert nets(60, 20, 100, 40, 30, 100) == 1
    assert nets(60, 20, 100, 55, 25, 100) == 0


def test_the_change_is_in_units_of_the_score():
    assert changed(CSAT, {5: 50, 1: 50}, {5: 80, 1: 20}) == {"csat": (pytest.approx(0.3), True)}
    assert changed(NPS, {10: 50, 0: 50}, {10: 60, 0: 40}) == {"nps": (pytest.approx(20), False)}
    found = changed(CES, {4: 40, 5: 40}, {6: 40, 7: 40})
    assert found["ces"] == (pytest.approx(2), True)
    assert found["ces_ease"] == (pytest.approx(100 / 3), True)
    assert found["ces_easy"] == (pytest.approx(0.5), True)


def test_nobody_before_is_no_change():
    assert changed(CSAT, {}, {5: 50}) == {"csat": (None, None)}


def test_a_median_changed_where_the_intervals_do_not_touch():
    bins = np.array([0, 40, 80], np.int32)
    sides = lambda *counts: np.array([counts], np.int64)  # noqa: E731 - one line
    far = changes("resolution", None, sides(50, 1, 0), sides(0, 1, 50), bins)["resolution"].row(0)
    near = changes("resolution", None, sides(50, 1, 0), sides(40, 11, 0), bins)["resolution"].row(0)
    assert far[1] is True
    assert near[1] is None


@given(st.integers(2, 400), st.integers(2, 400), st.randoms(use_true_random=False))
def test_the_same_answers_never_changed(n, times, random):
    counts = {k: random.randrange(n) for k in range(1, 8)}
    for _, significant in changed(CES, counts, {k: times * c for k, c in counts.items()}).values():
        assert significant in (False, None)


@pytest.mark.parametrize("n", [10, 30, 300])
def test_chance_alone_is_taken_for_a_change_in_about_one_of_twenty(n):
    rng, k = np.random.default_rng(7), 20_000
    hits = rng.binomial(n, 0.8, (2, k))
    share = shares(hits[0], n, hits[1], n)
    answers = rng.multinomial(n, [0.2, 0.3, 0.5], (2, k))
    net = nets(answers[0, :, 2], answers[0, :, 0], n, answers[1, :, 2], answers[1, :, 0], n)
    scores = rng.multinomial(n, [0.05, 0.05, 0.1, 0.2, 0.25, 0.2, 0.15], (2, k)).astype(float)
    means = scores @ np.arange(1, 8) / n
    variances = (scores * (np.arange(1, 8) - means[..., None]) ** 2).sum(axis=2) / (n - 1)
    sizes = np.full(k, float(n))
    mean = welch(means[0], variances[0], sizes, means[1], variances[1], sizes)
    for false_alarms in (np.nanmean(share), np.nanmean(net), np.nanmean(mean)):
        assert 0.02 <= false_alarms <= 0.065
