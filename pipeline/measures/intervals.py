"""95 % confidence intervals, z = 1.96. Each takes numbers or arrays and gives (lower, upper), NaN if unknown.

Each works element by element, so a row of a matrix and the same row alone give the same bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Z = 1.96
_LEAST_FOR_A_MEDIAN = 5
Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


def wilson(hits: npt.ArrayLike, n: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Wilson's score interval of a share, 0..1.

    E. B. Wilson, JASA 22 (1927) 209-212; method 3 of R. G. Newcombe, Statist. Med. 17 (1998) 857-872.
    """
    size = _known(n)
    share = np.asarray(hits, np.float64) / size
    scale = 1 + Z * Z / size
    centre = (share + Z * Z / (2 * size)) / scale
    half = Z * np.sqrt(share * (1 - share) / size + Z * Z / (4 * size * size)) / scale
    # The share is always inside; without this the last bit could put 9 of 9 above its own interval.
    return _clamped(np.minimum(centre - half, share), np.maximum(centre + half, share), 0.0, 1.0)


def adjusted_wald(
    promoters: npt.ArrayLike, detractors: npt.ArrayLike, n: npt.ArrayLike
) -> tuple[Floats, Floats]:
    """Interval of a net score, -100..100: three answers added, 3/4 of them promoters and 3/4 detractors.

    https://measuringu.com/nps-confidence-intervals/ after B. Rocks, The American Statistician 70 (2016).
    It is drawn to the middle, so that in a very small sample the plain score can lie outside it.
    """
    size = _known(n) + 3
    good = (np.asarray(promoters, np.float64) + 0.75) / size
    bad = (np.asarray(detractors, np.float64) + 0.75) / size
    net = good - bad
    half = Z * np.sqrt((good + bad - net * net) / size)
    return _clamped(100 * (net - half), 100 * (net + half), -100.0, 100.0)


def mean(
    average: npt.ArrayLike, squares: npt.ArrayLike, n: npt.ArrayLike, low: float, high: float
) -> tuple[Floats, Floats]:
    """Normal interval of a mean, by the sample variance with n - 1; NaN at n = 1, where there is no variance.

    Args:
        average: the mean.
        squares: sum of the squared distances from the mean.
        n: how many.
        low: smallest possible value.
        high: largest possible value.
    """
    size = _known(n, least=2)
    half = Z * np.sqrt(np.asarray(squares, np.float64) / (size - 1) / size)
    centre = np.asarray(average, np.float64)
    return _clamped(centre - half, centre + half, low, high)


def median_ranks(n: npt.ArrayLike) -> tuple[Int64s, Int64s]:
    """Ranks, from 1, of the two order statistics around a median; 0 where n < 5, since no two would do.

    round(n/2 - z sqrt(n)/2) and round(1 + n/2 + z sqrt(n)/2): M. J. Campbell, M. J. Gardner, BMJ 296 (1988). For n = 5
    that is one rank too far on both sides: the smallest and the largest of five hold the median in 93.75 % of samples.
    """
    size = np.asarray(n, np.float64)
    half = Z * np.sqrt(np.maximum(size, 0)) / 2
    lower = np.maximum(np.rint(size / 2 - half), 1).astype(np.int64)
    upper = np.minimum(np.rint(1 + size / 2 + half), size).astype(np.int64)
    known = size >= _LEAST_FOR_A_MEDIAN
    return np.where(known, lower, 0), np.where(known, upper, 0)


def _known(n: npt.ArrayLike, least: int = 1) -> Floats:
    """`n` as floats, NaN below `least`, which then makes everything computed from it NaN."""
    size = np.asarray(n, np.float64)
    return np.where(size >= least, size, np.nan)


def _clamped(lower: Floats, upper: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    return np.clip(lower, low, high), np.clip(upper, low, high)
