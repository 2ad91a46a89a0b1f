"""How good the check of directions is, beside a rank correlation: `python -m bench.direction` writes docs/scores.md.

A touchpoint has a true share of satisfied people and a true mean ease; samples of both are drawn with a fixed seed. For
the correlation the same answers fall into groups (12 of channel and segment, on each of 7 days) that differ.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.coverage import PAGE, answers, written
from pipeline.measures import intervals
from pipeline.measures.direction import runs_against
from pipeline.measures.scores import Score

SIZES = (100, 300, 1000, 10_000)
START, END = "<!-- written by python -m bench.direction -->", "<!-- end of directions -->"
SEED = 2
TOUCHPOINTS = 1_000
CLUSTERING = 0.3  # of the answers to the effort question: a plateau
CHANNELS, SEGMENTS, DAYS = 4, 3, 7
ENOUGH = 5  # answers of both kinds in a group
SURELY = -3.09  # one false warning in a thousand, if groups were independent
SPREAD = 0.5  # how much channels, segments and days differ, as the logarithm of odds

Floats = npt.NDArray[np.float64]
# True shares and true ease (0..1) of touchpoints: (satisfied from, to), (easy from, to).
RIGHT = {
    "all directions right, people mostly satisfied and at ease": ((0.5, 1.0), (0.5, 1.0)),
    "right, but the effort lies exactly in the middle": ((0.6, 0.95), (0.5, 0.5)),
}
WRONG = {
    "wrong way round, ease 60 to 85": ((0.7, 0.95), (0.15, 0.40)),
    "wrong way round, ease 50 to 60": ((0.7, 0.95), (0.40, 0.50)),
}


def warned(
    random: np.random.Generator, n: int, csat: tuple[float, float], ease: tuple[float, float]
) -> float:
    """The share of touchpoints that are warned of, n answers to each question."""
    said = 0
    for share, level in zip(
        random.uniform(*csat, TOUCHPOINTS), random.uniform(*ease, TOUCHPOINTS), strict=True
    ):
        hits = int(random.binomial(n, share))
        satisfied = Score(hits / n, *map(float, intervals.wilson(hits, n)), n)
        counts = random.multinomial(n, answers(float(level), CLUSTERING))
        values = np.arange(7) * 100 / 6
        mean = float(counts @ values / n)
        lower, upper = intervals.mean(mean, float(counts @ (values - mean) ** 2), n, 0, 100)
        said += bool(runs_against(Score(mean, float(lower), float(upper), n), satisfied))
    return said / TOUCHPOINTS


def correlated(random: np.random.Generator, n: int, shared: float, sign: int) -> float:
    """The share of touchpoints of which a rank correlation over groups would warn.

    Args:
        random: source of chance.
        n: answers to each question.
        shared: correlation of what makes groups satisfied and what makes them say it was easy.
        sign: -1 for a scale that is the wrong way round.
    """
    return float(np.mean([_correlated(random, n, shared, sign) for _ in range(TOUCHPOINTS)]))


def _correlated(random: np.random.Generator, n: int, shared: float, sign: int) -> bool:
    satisfied = _differences(random)
    easy = shared * satisfied + np.sqrt(1 - shared**2) * _differences(random)
    share = np.repeat(random.dirichlet(np.full(CHANNELS * SEGMENTS, 2.0)) / DAYS, DAYS)
    asked, rated = random.multinomial(n, share, 2)
    hits = random.binomial(asked, 1 / (1 + np.exp(-1.4 - satisfied)))
    true = 1 / (1 + np.exp(-1.0 - easy))
    enough = (asked >= ENOUGH) & (rated >= ENOUGH)
    if enough.sum() < 8:
        return False
    deviation = np.sqrt(true * (1 - true) * (1 + 5 * CLUSTERING) / 6)[enough]  # of one beta-binomial answer
    ease = true[enough] + random.normal(0, 1, int(enough.sum())) * deviation / np.sqrt(rated[enough])
    rho = np.corrcoef(_ranks(sign * ease), _ranks(hits[enough] / asked[enough]))[0, 1]
    return bool(rho * np.sqrt(enough.sum() - 1) < SURELY)


def _differences(random: np.random.Generator) -> Floats:
    """What makes each group and day unlike the whole: channel, segment, their own, and days that drift."""
    groups = random.normal(0, 0.6, (CHANNELS, 1)) + random.normal(0, 0.6, SEGMENTS)
    groups = (groups + random.normal(0, 0.5, groups.shape)).ravel()
    days = np.cumsum(random.normal(0, 1, DAYS))
    days = 0.6 * (days - days.mean()) / days.std()
    return SPREAD * (groups[:, None] + days).ravel()


def _ranks(values: Floats) -> Floats:
    """Equal values share their mean rank."""
    _, place, many = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(many) - (many - 1) / 2)[place]
    return ranks


def table() -> dict[str, list[float]]:
    """The share of touchpoints warned of, by what is true and for each size."""
    random = np.random.default_rng(SEED)
    found = {name: [warned(random, n, *true) for n in SIZES] for name, true in (RIGHT | WRONG).items()}
    rivals = {
        "correlation: right, groups differ in ways of their own": (0.0, 1),
        "correlation: wrong way round": (0.8, -1),
    }
    return found | {name: [correlated(random, n, *true) for n in SIZES] for name, true in rivals.items()}


def text(found: dict[str, list[float]]) -> str:
    """The table as it stands in the page."""
    head = [
        "| what is true | " + " | ".join(f"n = {n} each" for n in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    rows = [
        f"| {name} | " + " | ".join(f"{100 * one:.1f}" for one in shares) + " |"
        for name, shares in found.items()
    ]
    return "\n".join([START, *head, *rows, END])


def main() -> None:
    """Writes the table into its page and prints it."""
    block = text(table())
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), block), encoding="utf-8")
    print(block)


if __name__ == "__main__":
    main()
