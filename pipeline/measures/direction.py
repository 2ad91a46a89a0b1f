"""Whether effort scores run against CSAT: mostly a scale that is configured the wrong way round.

At one touchpoint both should lean the same way: where most people are satisfied, it was mostly easy. They run against
each other where they lean to opposite sides, and surely so: with at least 100 answers each, both 95 % intervals lie
beyond the middle of their scale. docs/scores.md says how often that is said wrongly, and what else was tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.measures.scores import Score

EASE, CSAT = "ces_ease", "csat"
LEAST = 100
_MIDDLE_EASE, _MIDDLE_CSAT = 50.0, 0.5


class Told(NamedTuple):
    """One score of a whole touchpoint; `name` is EASE or CSAT, others do not matter here."""

    name: str
    instrument: str
    window: str
    touchpoint: str
    score: Score


class Verdict(NamedTuple):
    """Whether the answers to an effort question run against those to a CSAT question."""

    touchpoint: str
    window: str
    effort: str
    csat: str
    ease: Score
    satisfied: Score
    against: bool


def runs_against(ease: Score, satisfied: Score) -> bool | None:
    """Whether they lean to opposite sides; None with fewer than 100 answers to either.

    Args:
        ease: `ces_ease`, 0..100.
        satisfied: `csat`, 0..1.
    """
    if min(ease.n, satisfied.n) < LEAST:
        return None
    return _side(ease, _MIDDLE_EASE) * _side(satisfied, _MIDDLE_CSAT) < 0


def verdicts(told: Iterable[Told]) -> list[Verdict]:
    """Every pair of an effort and a CSAT instrument at the same touchpoint in the same window, if there is enough."""
    satisfied: dict[tuple[str, str], list[Told]] = {}
    efforts: list[Told] = []
    for one in told:
        if one.name == CSAT:
            satisfied.setdefault((one.touchpoint, one.window), []).append(one)
        elif one.name == EASE:
            efforts.append(one)
    pairs = (
        (effort, one) for effort in efforts for one in satisfied.get((effort.touchpoint, effort.window), ())
    )
    return [
        Verdict(
            effort.touchpoint,
            effort.window,
            effort.instrument,
            one.instrument,
            effort.score,
            one.score,
            against,
        )
        for effort, one in pairs
        if (against := runs_against(effort.score, one.score)) is not None
    ]


def _side(score: Score, middle: float) -> int:
    """1 if the whole interval is above the middle, -1 if below, else 0."""
    if score.lower is None or score.upper is None:
        return 0
    return (score.lower > middle) - (score.upper < middle)
