"""The life of a case: opened, answered, sometimes waiting, resolved, sometimes reopened, closed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from pipeline.sample import answers, world
from pipeline.sample.event import Event, response, touchpoint
from pipeline.sample.world import CSAT, PLACES, Drop, Place

HOUR_MS = 3_600_000
LONGEST_HOURS = 40  # no case has an event later than this after it was opened
MOST_HOURS = 16.0  # cap on the time to the first resolve
WAITING, REOPENED, ANSWERED = 0.35, 0.08, 0.45  # shares of the cases
PRIORITIES = (("P1", 1.0), ("P2", 3.0), ("P3", 8.0), ("P4", 3.0))


class Case(NamedTuple):
    """A case and everything that will happen to it, in time order; `opened` in milliseconds since 1970."""

    opened: int
    events: tuple[Event, ...]


def cases_of_hour(seed: int, hour: int, drop: Drop) -> tuple[Case, ...]:
    """The cases opened in this hour (since 1970)."""
    random = Random(f"{seed}/cases/{hour}")  # noqa: S311 - sample data, not secrets
    busy = world.rhythm(hour * 60 + 30)
    found = []
    for place in PLACES:
        expected = place.cases / 24 * busy
        for number in range(int(expected + random.random())):
            found.append(_case(random, place, f"case-{seed}-{hour:x}-{place.name}-{number}", hour, drop))
    return tuple(found)


def _case(random: Random, place: Place, name: str, hour: int, drop: Drop) -> Case:
    opened = hour * HOUR_MS + random.randrange(HOUR_MS)
    who = {
        "channel": random.choices(world.CHANNELS, place.channels)[0],
        "segment": random.choices([s for s, _ in world.SEGMENTS], [w for _, w in world.SEGMENTS])[0],
        "customer_id": f"c-{random.randrange(world.CUSTOMERS)}",
        "case_id": name,
    }
    priority = random.choices([p for p, _ in PRIORITIES], [w for _, w in PRIORITIES])[0]
    steps = list(_steps(random, place.hours))
    events = [
        touchpoint(
            opened + int(after * HOUR_MS), f"{name}-{at}", place.name, action, priority=priority, **who
        )
        for at, (action, after) in enumerate(steps)
    ]
    if place.csat is not None and random.random() < ANSWERED:
        answered = events[-1].at + random.randrange(2, 40) * 60_000
        given, said = answers.answer(random, place, CSAT, dropped=drop.holds(place, answered))
        events.append(response(answered, f"{name}-answer", place.name, CSAT, given, comment=said, **who))
    return Case(opened, tuple(events))


def _steps(random: Random, hours: float) -> Iterator[tuple[str, float]]:
    """(action, hours after opening), ascending."""
    resolved = min(MOST_HOURS, hours * math.exp(random.gauss(0.0, 0.6)))
    yield "case_opened", 0.0
    yield "case_replied", resolved * random.uniform(0.05, 0.3)
    if random.random() < WAITING:
        yield "case_waiting", resolved * random.uniform(0.32, 0.45)
        yield "case_resumed", resolved * random.uniform(0.5, 0.85)
    yield "case_resolved", resolved
    if random.random() < REOPENED:
        yield "case_reopened", resolved + random.uniform(0.3, 3.0)
        resolved += random.uniform(3.5, 6.0)
        yield "case_resolved", resolved
    yield "case_closed", resolved + random.uniform(4.0, 12.0)
