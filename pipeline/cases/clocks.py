"""What is measured of a case: durations and shares, as observations that become cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.cases.case import Case, Opening
from pipeline.cases.due import breach, one_contact
from pipeline.cases.life import Life, lives
from pipeline.cases.rules import Rules

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


class Observation(NamedTuple):
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


def observations(case: Case, rules: Rules) -> tuple[Observation, ...]:
    """What a case shows, at most one a metric and instrument of each of its lives."""
    now = case.now_ms
    return tuple(seen for life in lives(case, rules.forget_ms) for seen in _of_life(life, now, rules))


def business_ms(life: Life, rules: Rules) -> int | None:
    """Full resolution within the hours of its touchpoint; None: it has none, or is not resolved."""
    schedule = rules.schedule_of(life.opening.touchpoint)
    if schedule is None or life.resolved_last is None:
        return None
    return schedule.between(life.opening.at_ms, life.resolved_last)


def _of_life(life: Life, now_ms: int, rules: Rules) -> Iterator[Observation]:
    opening = life.opening
    if life.replied is not None:
        took = life.replied - opening.at_ms
        yield Observation(RESOLUTION, FIRST_REPLY, life.replied, took, opening)
    if life.resolved is not None and life.resolved_last is not None:
        yield from _of_resolved(life, life.resolved, life.resolved_last, rules)
    for metric, share in ((FCR, one_contact(life, now_ms, rules)), (SLA_BREACH, breach(life, now_ms, rules))):
        if share is not None:
            yield Observation(metric, "", share.at_ms, int(share.yes), opening)


def _of_resolved(life: Life, first: int, last: int, rules: Rules) -> Iterator[Observation]:
    """Reopened or not counts at the first resolve: the rate is one of solved cases, by the date of solving."""
    opening = life.opening
    full = last - opening.at_ms
    yield Observation(RESOLUTION, FIRST_RESOLUTION, first, first - opening.at_ms, opening)
    yield Observation(RESOLUTION, FULL_RESOLUTION, last, full, opening)
    yield Observation(RESOLUTION, AGENT, last, full - life.waited_ms, opening)
    business = business_ms(life, rules)
    if business is not None:
        yield Observation(RESOLUTION, BUSINESS, last, business, opening)
    yield Observation(REOPEN, "", first, int(life.reopens > 0), opening)
