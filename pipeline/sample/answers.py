"""What customers answer: a score of an instrument, drawn around the baseline of a touchpoint."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from pipeline.sample import world
from pipeline.sample.world import CES, CSAT, NPS, Place

COMMENTED = 0.08  # share of answers with a comment


def instrument(random: Random, place: Place) -> str:
    """One of those asked here; CSAT most often, since it is what people watch."""
    asked = {CSAT: (place.csat, 3.0), NPS: (place.nps, 1.0), CES: (place.ces, 1.0)}
    weights = {name: weight for name, (baseline, weight) in asked.items() if baseline is not None}
    return random.choices(list(weights), list(weights.values()))[0]


def answer(random: Random, place: Place, asked: str, *, dropped: bool) -> tuple[int, str | None]:
    """A score, and a few words under some of them; `dropped` while satisfaction is down here."""
    csat = world.CSAT_IN_DROP if dropped else place.csat or 0.0
    given = _score(random, place, asked, csat)
    return given, _comment(random, asked, given, world.BLAME_IN_DROP if dropped else world.BLAME)


def _score(random: Random, place: Place, asked: str, csat: float) -> int:
    if asked == CSAT:
        good = random.random() < csat
        return random.choice((5, 5, 4)) if good else random.choice((3, 3, 2, 1))
    if asked == NPS:
        promoters, detractors = place.nps or (0.0, 0.0)
        mood = random.random()
        if mood < promoters:
            return random.choice((9, 10))
        return random.choice((6, 6, 5, 4, 2, 0) if mood < promoters + detractors else (7, 8, 8))
    return min(7, max(1, round(random.gauss(place.ces or 4.0, 1.2))))


def _comment(random: Random, asked: str, given: int, blame: Sequence[str]) -> str | None:
    if random.random() >= COMMENTED:
        return None
    happy = given >= {CSAT: 4, NPS: 9, CES: 5}[asked]
    return random.choice(world.PRAISE if happy else blame)
