"""`Measured`: one case under the rules of one configuration. All that is told of the case is read from here."""

from __future__ import annotations

import msgspec

from pipeline.cases.case import Case
from pipeline.cases.due import Share, breach, one_contact
from pipeline.cases.life import Life, lives
from pipeline.cases.rules import Rules


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A life, and what became of its promises so far.

    Attributes:
        life: what happened.
        deadline_ms: the instant at which time alone decides the next thing, or did; None: there is none.
        breach: whether the promise was broken.
        one_contact: whether one contact was enough.
        business_ms: full resolution within the hours of its touchpoint; None: it has none, or is not resolved.
    """

    life: Life
    deadline_ms: int | None
    breach: Share | None
    one_contact: Share | None
    business_ms: int | None


class Measured(msgspec.Struct, frozen=True, gc=False):
    """A case, measured.

    Attributes:
        case: which.
        rules: by these.
        last_ms: its latest event.
        now_ms: the time of the case.
        lives: those with an opening, oldest first.
    """

    case: Case
    rules: Rules
    last_ms: int
    now_ms: int
    lives: tuple[Judged, ...]


def measure(case: Case, rules: Rules) -> Measured:
    """The case under these rules."""
    last = case.last_ms
    now = last if last > case.clock_ms else case.clock_ms
    judged = [_judged(life, now, rules) for life in lives(case, rules.forget_ms)]
    return Measured(case, rules, last, now, tuple(judged))


def _judged(life: Life, now_ms: int, rules: Rules) -> Judged:
    opening, first, last = life.opening, life.resolved, life.resolved_last
    due = rules.due_at(opening.at_ms, opening.priority)
    broken = None if due is None else breach(life, due, now_ms)
    if first is None or last is None:
        quiet = due is None or (not life.open and life.stays_closed(due))
        return Judged(life, None if quiet else due, broken, None, None)
    final = first + rules.fcr_ms
    enough = one_contact(life, first, final, now_ms)
    schedule = rules.schedule_of(opening.touchpoint)
    business = None if schedule is None else schedule.between(opening.at_ms, last)
    deadline = final if enough is None or enough.yes else None
    return Judged(life, deadline, broken, enough, business)
