from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.measures.bins import (
    RELATIVE_ERROR,
    ZERO_BIN,
    bins_of,
    lower_edges,
    middles,
    quantile_matrix,
    quantiles,
    upper_edges,
)
from tests.support.single import bin_of

LONGEST = (1 << 63) - 1
DURATIONS = st.one_of(st.integers(0, 100_000), st.integers(0, 10**12), st.integers(0, LONGEST))


def column(*milliseconds: int) -> np.ndarray:
    return np.array(milliseconds, np.int64)


def histogram(milliseconds: list[int]) -> dict[int, int]:
    bins, counts = np.unique(bins_of(column(*milliseconds)), return_counts=True)
    return dict(zip(bins.tolist(), counts.tolist(), strict=True))


def nearest_rank(milliseconds: list[int], percent: int) -> float:
    ordered = sorted(milliseconds)
    return ordered[max(-(-len(ordered) * percent // 100), 1) - 1] / 1000


@given(DURATIONS.filter(lambda ms: ms > 0))
@example(1)
@example(LONGEST)
def test_a_duration_lies_in_its_bin_exactly(ms: int):
    k = bin_of(ms)
    eighth_power = Fraction(ms, 1000) ** 8
    assert Fraction(2) ** (k - 1) < eighth_power <= Fraction(2) ** k


@pytest.mark.parametrize(
    ("ms", "k"),
    [
        (0, -1000),
        (1000, 0),
        (1001, 1),
        (2000, 8),
        (2001, 9),
        (500, -8),
        (501, -7),
        (250, -16),
        (86_400_000, 132),
    ],
)
def test_edges_belong_to_the_bin_below(ms: int, k: int):
    assert bin_of(ms) == k


@given(st.integers(0, 40))
def test_powers_of_two_stay_on_their_edge(power: int):
    assert bin_of(1000 << power) == 8 * power
    assert bin_of((1000 << power) + 1) == 8 * power + 1


def test_a_longer_duration_never_has_a_lower_bin():
    assert (np.diff(bins_of(np.arange(200_000))) >= 0).all()


@pytest.mark.parametrize("negative", [-1, -(1 << 63)])
def test_a_negative_duration_has_no_bin(negative: int):
    with pytest.raises(ValueError, match="negative"):
        bins_of(column(5, negative))


def test_no_durations_have_no_bins():
    assert len(bins_of(column())) == 0


@given(DURATIONS.filter(lambda ms: ms > 0))
def test_the_middle_is_within_the_stated_error(ms: int):
    k = np.array([bin_of(ms)], np.int32)
    seconds = ms / 1000
    assert abs(middles(k)[0] - seconds) <= RELATIVE_ERROR * seconds * (1 + 1e-12)
    assert lower_edges(k)[0] < seconds * (1 + 1e-12) and seconds <= upper_edges(k)[0] * (1 + 1e-12)
    assert RELATIVE_ERROR < 0.045


def test_the_bin_of_zero_is_zero():
    zero = np.array([ZERO_BIN], np.int32)
    assert [edge(zero)[0] for edge in (lower_edges, middles, upper_edges)] == [0.0, 0.0, 0.0]


@given(st.lists(DURATIONS, min_size=1, max_size=300))
def test_quantiles_are_within_4_5_percent_of_those_of_the_sample(milliseconds: list[int]):
    found = quantiles(histogram(milliseconds))
    for percent, seconds in zip((50, 90, 95, 99), found, strict=True):
        true = nearest_rank(milliseconds, percent)
        assert seconds is not None
        assert abs(seconds - true) <= 0.045 * true


@pytest.mark.parametrize("seed", [20_260_101])
def test_quantiles_of_two_thousand_lognormal_durations(seed: int):
    sample = np.random.default_rng(seed).lognormal(11, 1.4, 2000).astype(np.int64).tolist()
    found = quantiles(histogram(sample))
    assert found == pytest.approx([nearest_rank(sample, p) for p in (50, 90, 95, 99)], rel=0.045)


def test_without_durations_there_are_no_quantiles():
    assert quantiles({}) == (None, None, None, None)
    assert quantiles({4: 0}, (50,)) == (None,)
    assert np.isnan(quantile_matrix(np.zeros((2, 3), np.int64), np.arange(3, dtype=np.int32))).all()
    assert np.isnan(quantile_matrix(np.zeros((2, 0), np.int64), np.zeros(0, np.int32))).all()


@given(st.lists(st.dictionaries(st.integers(-20, 20), st.integers(0, 9)), min_size=1, max_size=5))
def test_a_row_of_a_matrix_has_the_quantiles_of_its_histogram(histograms: list[dict[int, int]]):
    bins = np.arange(-20, 21, dtype=np.int32)
    counts = np.array([[one.get(int(k), 0) for k in bins] for one in histograms], np.int64)
    rows = quantile_matrix(counts, bins).tolist()
    wanted = [[np.nan if s is None else s for s in quantiles(one)] for one in histograms]
    np.testing.assert_array_equal(rows, wanted)
