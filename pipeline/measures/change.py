"""Whether a score changed: against the window before, and more than chance alone would have it (two-sided, 95 %).

| score              | test                                                                                   |
|--------------------|----------------------------------------------------------------------------------------|
| a share            | two proportions, N - 1 version (I. Campbell, Statist. Med. 26 (2007) 3661-3675); not known  |
|                    | where fewer than one hit or miss would be expected on either side                      |
| a net score (NPS)  | z of the difference, both with three answers added as in their intervals (adjusted Wald) |
| a mean (CES)       | B. L. Welch, Biometrika 34 (1947) 28-35; not known below two answers on a side         |
| a median           | yes where the two intervals do not touch; otherwise not known                          |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.measures.instruments import Instrument
from pipeline.measures.intervals import Z
from pipeline.measures.scores import (
    RESOLUTION,
    Floats,
    Int32s,
    Int64s,
    ScoreColumns,
    group_counts,
    score_matrix,
)

_LEAST_FREEDOM = 2.0  # below it the series for Student's t is no good


@dataclass(frozen=True, slots=True)
class ChangeColumns:
    """How one score of many series changed; NaN is "not known".

    Attributes:
        change: float64[k], now minus before, in units of the score.
        surely: float64[k], 1 if more than chance would have it, 0 if not.
    """

    change: Floats
    surely: Floats

    def row(self, at: int) -> tuple[float | None, bool | None]:
        """Of one series: the change, and whether it is significant; None is "not known"."""
        change, surely = self.change[at], self.surely[at]
        return None if np.isnan(change) else float(change), None if np.isnan(surely) else bool(surely)


def changes(
    metric: str, instrument: Instrument | None, before: Int64s, now: Int64s, bins: Int32s
) -> dict[str, ChangeColumns]:
    """How the scores of many series changed, by the names that `score_matrix` has for them.

    Args:
        metric: of the series.
        instrument: the one that was asked; None where the metric has none.
        before: int64[k, width], a histogram a row.
        now: int64[k, width], of the same series.
        bins: int32[width], ascending.
    """
    old, new = (score_matrix(metric, instrument, counts, bins) for counts in (before, now))
    found = {}
    for name in new:
        if instrument is None:
            surely = _medians(old[name], new[name]) if metric == RESOLUTION else _shares(old[name], new[name])
        elif name in ("ces", "ces_ease"):
            surely = welch(*_moments(instrument, before, bins), *_moments(instrument, now, bins))
        elif "promoter" in (groups := group_counts(instrument, now, bins)):
            was = group_counts(instrument, before, bins)
            sides = ((was, old[name].n), (groups, new[name].n))
            surely = nets(*(x for side, n in sides for x in (side["promoter"], side["detractor"], n)))
        else:
            surely = _shares(old[name], new[name])
        change = new[name].value - old[name].value
        found[name] = ChangeColumns(change, np.where(np.isnan(change), np.nan, surely))
    return found


def shares(
    hits_before: npt.ArrayLike, before: npt.ArrayLike, hits: npt.ArrayLike, n: npt.ArrayLike
) -> Floats:
    """Of two shares, hits of n each."""
    x1, n1, x2, n2 = (np.asarray(one, np.float64) for one in (hits_before, before, hits, n))
    with np.errstate(divide="ignore", invalid="ignore"):
        total = n1 + n2
        pooled = (x1 + x2) / total
        variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
        z = (x2 / n2 - x1 / n1) / np.sqrt(variance) * np.sqrt((total - 1) / total)
        least = np.minimum(pooled, 1 - pooled) * np.minimum(n1, n2)
        known = np.where(least >= 1, (np.abs(z) > Z).astype(np.float64), np.nan)
        # everybody says the same in both: nothing changed
        return np.where((pooled == 0) | (pooled == 1), 0.0, known)


def nets(
    promoters_before: npt.ArrayLike,
    detractors_before: npt.ArrayLike,
    before: npt.ArrayLike,
    promoters: npt.ArrayLike,
    detractors: npt.ArrayLike,
    n: npt.ArrayLike,
) -> Floats:
    """Of two net scores, both with three answers added as in `intervals.adjusted_wald`.

    The plain difference over these variances would call chance a change twice as often as it may at n = 10.
    """
    sides = ((promoters_before, detractors_before, before), (promoters, detractors, n))
    net, variance = zip(*(_adjusted(*side) for side in sides), strict=True)
    result: Floats = (np.abs(net[1] - net[0]) > Z * np.sqrt(variance[0] + variance[1])).astype(np.float64)
    return result


def _adjusted(promoters: npt.ArrayLike, detractors: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Floats]:
    """A net score -1..1 and its variance."""
    size = np.asarray(n, np.float64) + 3
    good = (np.asarray(promoters, np.float64) + 0.75) / size
    bad = (np.asarray(detractors, np.float64) + 0.75) / size
    return good - bad, (good + bad - (good - bad) ** 2) / size


def welch(
    mean_before: Floats, variance_before: Floats, before: Floats, mean: Floats, variance: Floats, n: Floats
) -> Floats:
    """Of two means, each with its sample variance (n - 1) and its n."""
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = variance_before / before, variance / n
        error = np.sqrt(a + b)
        freedom = (a + b) ** 2 / (a * a / (before - 1) + b * b / (n - 1))
        sure = (np.abs(mean - mean_before) / error > student(freedom)).astype(np.float64)
    # without any spread there is nothing to measure a difference by
    known = (before > 1) & (n > 1) & (error > 0) & (freedom >= _LEAST_FREEDOM)
    return np.where(known, sure, np.nan)


def student(freedom: npt.ArrayLike) -> Floats:
    """0.975 quantile of Student's t, from 2 degrees of freedom on within 2 % (Abramowitz and Stegun 26.7.5)."""
    v, z = np.asarray(freedom, np.float64), Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum((term / v**power for power, term in enumerate(terms, 1)), np.zeros_like(v))


def _shares(before: ScoreColumns, now: ScoreColumns) -> Floats:
    hits = [np.rint(np.nan_to_num(one.value) * one.n) for one in (before, now)]
    return shares(hits[0], before.n, hits[1], now.n)


def _medians(before: ScoreColumns, now: ScoreColumns) -> Floats:
    apart = (now.lower > before.upper) | (now.upper < before.lower)
    return np.where(apart, 1.0, np.nan)


def _moments(instrument: Instrument, counts: Int64s, bins: Int32s) -> tuple[Floats, Floats, Floats]:
    """Mean, sample variance and n of each series, on the scale turned to high = easy."""
    answers = np.array([instrument.turn(int(k)) for k in bins], np.float64)
    n = counts.sum(axis=1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = counts @ answers / n
        spread = (counts * (answers[None, :] - mean[:, None]) ** 2).sum(axis=1)
        return mean, spread / (n - 1), n
