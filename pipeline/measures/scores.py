"""Scores: a value, its interval and its n out of one small histogram.

What a metric gives, by name (`score` and `score_matrix` use the same names):

| metric          | scores                                                                          |
|-----------------|---------------------------------------------------------------------------------|
| nps, net_1_5 .. | one of that name, -100..100                                                     |
| csat            | csat, the share of top boxes, 0..1                                              |
| ces             | ces, the mean turned to high = easy; ces_easy, 0..1; ces_ease, 0..100           |
| resolution      | resolution, the median in seconds                                               |
| a share         | one of that name, 0..1                                                          |
| anything else   | none: `touchpoints` is a count and nothing more                                 |

Without answers there is no value: None here, NaN in columns, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.measures import bins as durations
from pipeline.measures import intervals
from pipeline.measures.instruments import Instrument

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

RESOLUTION = "resolution"
SHARES = frozenset({"reopen", "fcr", "sla_breach", "response_rate"})


class Score(NamedTuple):
    """One score; None is "unknown". `n` is how many answers, cases or trials it is made of."""

    value: float | None
    lower: float | None
    upper: float | None
    n: int


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """One score of many series; NaN is "unknown".

    Attributes:
        value: float64[k].
        lower: float64[k], the lower end of the 95 % interval.
        upper: float64[k].
        n: int64[k].
    """

    value: Floats
    lower: Floats
    upper: Floats
    n: Int64s

    def row(self, at: int) -> Score:
        """The score of one series."""
        value, lower, upper = (_known(column[at]) for column in (self.value, self.lower, self.upper))
        return Score(value, lower, upper, int(self.n[at]))


def score(metric: str, instrument: Instrument | None, histogram: Mapping[int, int]) -> dict[str, Score]:
    """The scores of one series.

    Args:
        metric: of the series.
        instrument: the one that was asked; None where the metric has none (resolution, shares).
        histogram: bin -> count.

    Raises:
        ValueError: a bin is not on the scale.
    """
    asked = instrument.answers if instrument else ()
    bins = np.array(sorted({*asked, *(k for k, n in histogram.items() if n)}), np.int32)
    counts = np.array([[histogram.get(int(k), 0) for k in bins]], np.int64)
    return {name: columns.row(0) for name, columns in score_matrix(metric, instrument, counts, bins).items()}


def score_matrix(
    metric: str, instrument: Instrument | None, counts: Int64s, bins: Int32s
) -> dict[str, ScoreColumns]:
    """The scores of many series of one (metric, instrument), each row as `score` has it, bit for bit.

    Args:
        metric: of the series.
        instrument: the one that was asked; None where the metric has none (resolution, shares).
        counts: int64[k, width], a histogram a row.
        bins: int32[width], ascending: the bin of each column.

    Raises:
        ValueError: a bin is not on the scale.
    """
    if instrument is not None:
        return _survey(instrument, counts, _on_scale(bins, instrument.low, instrument.high, instrument.name))
    if metric == RESOLUTION:
        return {metric: _median(counts, bins)}
    if metric in SHARES:
        return {metric: _share(_sum(counts, _on_scale(bins, 0, 1, metric), 1, 1), _total(counts))}
    return {}


def group_counts(instrument: Instrument, counts: Int64s, bins: Int32s) -> dict[str, Int64s]:
    """How many answers of each series are in each group, by the group's name; int64[k] each."""
    return {name: _sum(counts, bins, first, last) for name, first, last in instrument.groups}


def _survey(instrument: Instrument, counts: Int64s, bins: Int32s) -> dict[str, ScoreColumns]:
    n, groups = _total(counts), group_counts(instrument, counts, bins)
    if "satisfied" in groups:
        return {instrument.metric: _share(groups["satisfied"], n)}
    if "easy" in groups:
        return _effort(instrument, counts, bins, groups["easy"])
    return {instrument.metric: _net(groups["promoter"], groups["detractor"], n)}


def _net(promoters: Int64s, detractors: Int64s, n: Int64s) -> ScoreColumns:
    lower, upper = intervals.adjusted_wald(promoters, detractors, _divisor(n))
    return ScoreColumns(100 * (promoters - detractors) / _divisor(n), lower, upper, n)


def _share(hits: Int64s, n: Int64s) -> ScoreColumns:
    return ScoreColumns(hits / _divisor(n), *intervals.wilson(hits, n), n)


def _effort(instrument: Instrument, counts: Int64s, bins: Int32s, easy: Int64s) -> dict[str, ScoreColumns]:
    low, high = instrument.low, instrument.high
    turned = [instrument.turn(int(k)) for k in bins]
    n = _total(counts)
    average = _weighted(counts, turned) / _divisor(n)
    squares = np.zeros(len(n))
    for column, answer in enumerate(turned):
        squares += counts[:, column] * (answer - average) ** 2
    lower, upper = intervals.mean(average, squares, n, low, high)
    ease = [100 * (x - low) / (high - low) for x in (average, lower, upper)]
    return {
        "ces": ScoreColumns(average, lower, upper, n),
        "ces_easy": _share(easy, n),
        "ces_ease": ScoreColumns(ease[0], ease[1], ease[2], n),
    }


def _median(counts: Int64s, bins: Int32s) -> ScoreColumns:
    n = _total(counts)
    low, high = intervals.median_ranks(n)
    wanted = np.stack([durations.ranks(n, 50), low, high], axis=1)
    middle, lower, upper = durations.bins_of_ranks(counts, bins, wanted).T
    return ScoreColumns(
        np.where(n > 0, durations.middles(middle), np.nan),
        np.where(low > 0, durations.lower_edges(lower), np.nan),
        np.where(low > 0, durations.upper_edges(upper), np.nan),
        n,
    )


def _on_scale(bins: Int32s, low: int, high: int, name: str) -> Int32s:
    """`bins`, which must be on the scale: an answer in no group would dilute the score without a trace."""
    if len(bins) and (bins[0] < low or bins[-1] > high):
        msg = f"answers {bins[0]}..{bins[-1]} are not all on the scale of {name}, {low}..{high}"
        raise ValueError(msg)
    return bins


def _sum(counts: Int64s, bins: Int32s, first: int, last: int) -> Int64s:
    """Sum over the bins `first` to `last`, both included."""
    start, stop = np.searchsorted(bins, (first, last + 1))
    return _weighted(counts[:, start:stop], [1] * int(stop - start))


def _total(counts: Int64s) -> Int64s:
    return _weighted(counts, [1] * counts.shape[1])


def _weighted(counts: Int64s, weights: list[int]) -> Int64s:
    return counts @ np.array(weights, np.int64)


def _divisor(n: Int64s) -> Floats:
    return np.where(n > 0, n, np.nan)


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
