"""Duration bins: bin k holds the durations in (2^((k-1)/8), 2^(k/8)] seconds, bin -1000 holds zero.

A value read from a bin is its geometric middle, at most 2^(1/16) - 1 = 4.43 % away from the duration. The bin
of a duration is found in a table of whole milliseconds and not by a logarithm: the last bit of a logarithm
differs between machines, and a duration on an edge (1 s, 2 s, 4 s are common) would then change its cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

ZERO_BIN = -1000
PER_DOUBLING = 8
RELATIVE_ERROR = 2 ** (1 / (2 * PER_DOUBLING)) - 1
PERCENTS = (50, 90, 95, 99)
_FIRST_BIN = -79  # one millisecond
_LAST_BIN = 425  # beyond what an int64 of milliseconds can hold


def _upper_edge_ms(k: int) -> int:
    """The largest whole number of milliseconds up to the edge: floor(1000 * 2^(k/8)), exact in integers."""
    eighth_power = 1000**8 << k if k >= 0 else 1000**8 >> -k
    return math.isqrt(math.isqrt(math.isqrt(eighth_power)))


_LONGEST_MS = (1 << 63) - 1
_UPPER_MS: Int64s = np.array(
    [min(_upper_edge_ms(k), _LONGEST_MS) for k in range(_FIRST_BIN, _LAST_BIN + 1)], np.int64
)


def bins_of(milliseconds: Int64s) -> Int32s:
    """The bin of each duration.

    Raises:
        ValueError: a duration is negative; which events can end a clock is for `cases` to say.
    """
    if milliseconds.size and milliseconds.min() < 0:
        msg = "a duration is negative: it has no bin"
        raise ValueError(msg)
    found = np.searchsorted(_UPPER_MS, milliseconds, side="left") + _FIRST_BIN
    return np.where(milliseconds == 0, ZERO_BIN, found).astype(np.int32)


def upper_edges(bins: Int32s) -> Floats:
    """The longest duration of each bin, seconds."""
    return np.where(bins == ZERO_BIN, 0.0, np.exp2(bins / PER_DOUBLING))


def lower_edges(bins: Int32s) -> Floats:
    """Every duration of a bin is longer than this, seconds (0 for the bin of zero)."""
    return np.where(bins == ZERO_BIN, 0.0, np.exp2((bins - 1) / PER_DOUBLING))


def middles(bins: Int32s) -> Floats:
    """The geometric middle of each bin, seconds: what a duration in it is reported as."""
    return np.where(bins == ZERO_BIN, 0.0, np.exp2((bins - 0.5) / PER_DOUBLING))


def ranks(n: Int64s, percent: int) -> Int64s:
    """The rank, from 1, of a quantile among n sorted values: nearest rank, ceil(n * percent / 100)."""
    return np.maximum(-(-n * percent // 100), 1)


def bins_of_ranks(counts: Int64s, bins: Int32s, wanted: Int64s) -> Int32s:
    """The bin in which each wanted rank of a histogram lies.

    Args:
        counts: int64[k, width], a histogram a row.
        bins: int32[width], ascending: the bin of each column.
        wanted: int64[k, m], ranks from 1 on; for one beyond the row's n the last bin is given.

    Returns:
        int32[k, m].
    """
    if not len(bins):
        return np.full(wanted.shape, ZERO_BIN, np.int32)
    reached: Int64s = np.cumsum(counts, axis=1)
    places = np.stack([(reached < rank[:, None]).sum(axis=1) for rank in wanted.T], axis=1)
    found: Int32s = bins[np.minimum(places, len(bins) - 1)]
    return found


def quantile_matrix(counts: Int64s, bins: Int32s, percents: Sequence[int] = PERCENTS) -> Floats:
    """Quantiles of many histograms of durations.

    Args:
        counts: int64[k, width].
        bins: int32[width], ascending: the bin of each column.
        percents: which quantiles.

    Returns:
        float64[k, len(percents)] seconds, NaN in a row without durations. Each is within 4.43 % of the sample
        quantile by nearest rank.
    """
    n = counts.sum(axis=1)
    wanted = np.stack([ranks(n, percent) for percent in percents], axis=1)
    found = middles(bins_of_ranks(counts, bins, wanted))
    return np.where(n[:, None] > 0, found, np.nan)


def quantiles(histogram: Mapping[int, int], percents: Sequence[int] = PERCENTS) -> tuple[float | None, ...]:
    """Quantiles of one histogram (bin -> count), seconds; None without durations."""
    kept = sorted((k, n) for k, n in histogram.items() if n)
    if not kept:
        return (None,) * len(percents)
    bins = np.array([k for k, _ in kept], np.int32)
    counts = np.array([[n for _, n in kept]], np.int64)
    return tuple(float(seconds) for seconds in quantile_matrix(counts, bins, percents)[0])
