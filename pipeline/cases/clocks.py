"""What is measured of a case: durations and shares, as observations that become cells."""

from __future__ import annotations

import msgspec

from pipeline.cases.case import Opening
from pipeline.cases.measured import Judged, Measured

RESOLUTION = "resolution"
FIRST_REPLY = "first_reply"
FIRST_RESOLUTION = "first_resolution"
FULL_RESOLUTION = "full_resolution"
AGENT = "agent"
BUSINESS = "business"
CLOCKS = (FIRST_REPLY, FIRST_RESOLUTION, FULL_RESOLUTION, AGENT, BUSINESS)

REOPEN = "reopen"
FCR = "fcr"
SLA_BREACH = "sla_breach"
SHARES = (REOPEN, FCR, SLA_BREACH)


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One duration or one answer to a yes-or-no question; it lies at the instant that ends it.

    Attributes:
        metric: "resolution", or one of SHARES.
        instrument: which of CLOCKS; "" for a share.
        at_ms: when it ended, milliseconds since 1970.
        value: milliseconds of a duration, never negative; 1 (yes) or 0 (no) of a share.
        opening: its dimensions.
    """

    metric: str
    instrument: str
    at_ms: int
    value: int
    opening: Opening


def observations(measured: Measured) -> tuple[Observation, ...]:
    """What a case shows, at most one a metric and instrument of each of its lives."""
    found: list[Observation] = []
    for judged in measured.lives:
        life, broken = judged.life, judged.breach
        opening, replied = life.opening, life.replied
        if replied is not None:
            found.append(Observation(RESOLUTION, FIRST_REPLY, replied, replied - opening.at_ms, opening))
        if life.resolved is not None and life.resolved_last is not None:
            found += _of_resolved(judged, life.resolved, life.resolved_last)
        if broken is not None:
            found.append(Observation(SLA_BREACH, "", broken.at_ms, int(broken.yes), opening))
    return tuple(found)


def _of_resolved(judged: Judged, first: int, last: int) -> list[Observation]:
    """Reopened or not counts at the first resolve: the rate is one of solved cases, by the date of solving."""
    life, enough, business_ms = judged.life, judged.one_contact, judged.business_ms
    opening = life.opening
    full = last - opening.at_ms
    found = [
        Observation(RESOLUTION, FIRST_RESOLUTION, first, first - opening.at_ms, opening),
        Observation(RESOLUTION, FULL_RESOLUTION, last, full, opening),
        Observation(RESOLUTION, AGENT, last, full - life.waited_ms, opening),
        Observation(REOPEN, "", first, int(life.reopens > 0), opening),
    ]
    if business_ms is not None:
        found.append(Observation(RESOLUTION, BUSINESS, last, business_ms, opening))
    if enough is not None:
        found.append(Observation(FCR, "", enough.at_ms, int(enough.yes), opening))
    return found
