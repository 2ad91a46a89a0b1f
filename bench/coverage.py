"""How often our intervals hold the truth: `python -m bench.coverage` writes the table of docs/scores.md.

Exact sums over every possible sample where that is feasible (shares, net scores, medians); samples drawn with a fixed
seed for the mean of a scale. A test compares the page, and says for which sizes a method keeps its promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.measures import bins, intervals

SIZES = (5, 10, 30, 100, 1000)
PAGE = Path(__file__).parent.parent / "docs" / "scores.md"
START = "<!-- written by python -m bench.coverage -->"
END = "<!-- end of coverage -->"

SEED = 1
SHARES = 1_000  # true shares, in the middles of as many equal parts of 0..1
NET_PARTS = 20  # true shares of promoters and of detractors, likewise
LEVELS = 19  # true means of an effort scale, from nearly all hard to nearly all easy
CLUSTERING = (0.1, 0.3, 0.6)  # of a beta-binomial: a hill, a plateau, and most answers at the two ends
DRAWS = 2_000  # samples of each true distribution
SPREADS = (0.5, 1.0, 2.0)  # standard deviation of the logarithm of a duration
POSITIONS = 16  # of the true median inside its bin
# 97.5 % quantile of Student's t with n - 1 degrees of freedom (any table; here of NIST/SEMATECH, 1.3.6.7.2).
STUDENT = {5: 2.776, 10: 2.262, 30: 2.045, 100: 1.984, 1000: 1.962}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The chance that an interval holds the truth, over true values: their average, and the least of them."""

    mean: float
    least: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ({100 * self.least:.1f})"


def shares(n: int) -> Coverage:
    """Wilson's interval of a share."""
    lower, upper = intervals.wilson(np.arange(n + 1), n)
    truths = _middles(SHARES)
    return _over(((lower <= p) & (p <= upper)) @ _binomial(n, p) for p in truths.tolist())


def nets(n: int) -> Coverage:
    """Adjusted Wald interval of a net score; samples further than 8 standard deviations away count as misses."""
    return _over(_net(n, p, d) for p in _middles(NET_PARTS) for d in _middles(NET_PARTS) if p + d < 1)


def means(n: int) -> Coverage:
    """Interval of the mean of a scale 1..7, z = 1.96."""
    return _means(n, 1.0)


def student(n: int) -> Coverage:
    """The same as wide as Student's t would have it."""
    return _means(n, STUDENT[n] / intervals.Z)


def ranks(n: int) -> Coverage:
    """The two order statistics alone, as if every duration were known exactly: the same for all distributions."""
    low, high = (int(rank) for rank in intervals.median_ranks(n))
    return _over(iter([float(_binomial(n, 0.5)[low:high].sum())]))


def medians(n: int) -> Coverage:
    """Interval of a median duration, read from bins: log-normal durations."""
    return _over(_median(n, spread, at) for spread in SPREADS for at in _middles(POSITIONS).tolist())


METHODS: dict[str, Callable[[int], Coverage]] = {
    "share: Wilson": shares,
    "NPS and other net scores: adjusted Wald": nets,
    "CES mean: z = 1.96": means,
    "CES mean with Student's t (not used)": student,
    "median duration: order statistics": ranks,
    "the same out of bins": medians,
}


def table() -> dict[str, dict[int, Coverage]]:
    """Every method at every size."""
    return {name: {n: method(n) for n in SIZES} for name, method in METHODS.items()}


def text(found: dict[str, dict[int, Coverage]]) -> str:
    """The table as it stands in the page."""
    head = ["| interval | " + " | ".join(f"n = {n}" for n in SIZES) + " |", "|---|" + "---|" * len(SIZES)]
    rows = [f"| {name} | " + " | ".join(str(one[n]) for n in SIZES) + " |" for name, one in found.items()]
    return "\n".join([START, *head, *rows, END])


def written(page: str, block: str) -> str:
    """`page` with a table in its place, which begins and ends as the table does."""
    start, *_, end = block.splitlines()
    before, rest = page.split(start)
    return before + block + rest.split(end, 1)[1]


def answers(level: float, clustering: float) -> Floats:
    """Chances of the answers of a scale of seven: a beta-binomial; `level` is its mean, 0 the lowest, 1 the highest."""
    a, b = (share * (1 / clustering - 1) for share in (level, 1 - level))
    log = [math.log(math.comb(6, k)) + math.lgamma(k + a) + math.lgamma(6 - k + b) for k in range(7)]
    weights: Floats = np.exp(np.array(log) - max(log))
    return weights / weights.sum()


def _net(n: int, p: float, d: float) -> float:
    promoters, detractors = np.meshgrid(_near(n, p), _near(n, d), indexing="ij")
    possible = promoters + detractors <= n
    good, bad = promoters[possible], detractors[possible]
    log = _log_factorials(n)
    ways = log[n] - log[good] - log[bad] - log[n - good - bad]
    chance = np.exp(ways + good * math.log(p) + bad * math.log(d) + (n - good - bad) * math.log(1 - p - d))
    lower, upper = intervals.adjusted_wald(good, bad, n)
    net = 100 * (p - d)
    return float(chance[(lower <= net) & (net <= upper)].sum())


def _means(n: int, wider: float) -> Coverage:
    random = np.random.default_rng(SEED)
    return _over(_mean(random, n, chances, wider) for chances in _scales())


def _mean(random: np.random.Generator, n: int, chances: Floats, wider: float) -> float:
    given = np.arange(1, 8)
    counts = random.multinomial(n, chances, DRAWS)
    average = counts @ given / n
    squares = ((given - average[:, None]) ** 2 * counts).sum(axis=1)
    lower, upper = intervals.mean(average, squares * wider**2, n, 1, 7)
    truth = float(chances @ given)
    return float(((lower <= truth) & (truth <= upper)).mean())


def _scales() -> Iterator[Floats]:
    for clustering in CLUSTERING:
        for level in (np.arange(1, LEVELS + 1) / (LEVELS + 1)).tolist():
            yield answers(level, clustering)


def _median(n: int, spread: float, at: float) -> float:
    """Both ends miss on different sides, so their chances add up.

    The lower end is at or below the median if `low` durations lie in its bin or below; the upper end is at or above it
    unless `high` durations lie below its bin.
    """
    low, high = (int(rank) for rank in intervals.median_ranks(n))
    k = np.array([80], np.int32)
    middle = math.log(float(bins.lower_edges(k)[0])) + at * math.log(2) / bins.PER_DOUBLING
    above = (math.log(float(bins.upper_edges(k)[0])) - middle) / spread
    below = (math.log(float(bins.lower_edges(k)[0])) - middle) / spread
    misses_below = _binomial(n, _normal(above))[:low].sum()
    misses_above = _binomial(n, _normal(below))[high:].sum()
    return float(1 - misses_below - misses_above)


def _over(chances: Iterator[float]) -> Coverage:
    every = np.array([float(chance) for chance in chances])
    return Coverage(float(every.mean()), float(every.min()))


def _middles(parts: int) -> Floats:
    return (np.arange(parts) + 0.5) / parts


def _near(n: int, p: float) -> npt.NDArray[np.int64]:
    reach = 8 * math.sqrt(n * p * (1 - p)) + 8
    return np.arange(max(0, math.floor(n * p - reach)), min(n, math.ceil(n * p + reach)) + 1)


def _binomial(n: int, p: float) -> Floats:
    """Chance of 0..n hits."""
    hits, log = np.arange(n + 1), _log_factorials(n)
    chance: Floats = np.exp(log[n] - log - log[::-1] + hits * math.log(p) + hits[::-1] * math.log(1 - p))
    return chance


def _log_factorials(n: int) -> Floats:
    log: Floats = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return log


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def main() -> None:
    """Writes the table into its page and prints it."""
    block = text(table())
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), block), encoding="utf-8")
    print(block)


if __name__ == "__main__":
    main()
