"""`Measured`: one case under the rules of one configuration. All that is told of the case is read from here."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pipeline.cases.case import Case
from pipeline.cases.due import Share, breach, one_contact
from pipeline.cases.life import Life, lives
from pipeline.cases.rules import Rules


class Judged(NamedTuple):
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


class Measured(NamedTuple):
    """A case, measured.

    Attributes:
        now_ms: the time of the case.
        lives: those with an opening, oldest first.
    """

    now_ms: int
    lives: tuple[Judged, ...]

    def deadlines(self) -> list[int]:
        """The instants at which time alone decides something, whether they have passed or not."""
        return [judged.deadline_ms for judged in self.lives if judged.deadline_ms is not None]


# What is told of a case is asked one after another, of the case before and after a change.
@lru_cache(maxsize=2)
def measure(case: Case, rules: Rules) -> Measured:
    """The case under these rules."""
    now = case.now_ms
    return Measured(now, tuple([_judged(life, now, rules) for life in lives(case, rules.forget_ms)]))


def _judged(life: Life, now_ms: int, rules: Rules) -> Judged:
    opening = life.opening
    due = rules.due_at(opening.at_ms, opening.priority)
    broken = None if due is None else breach(life, due, now_ms)
    if life.resolved is None or life.resolved_last is None:
        quiet = due is None or (not life.open and life.stays_closed(due))
        return Judged(life, None if quiet else due, broken, None, None)
    final = life.resolved + rules.fcr_ms
    enough = one_contact(life, life.resolved, final, now_ms)
    schedule = rules.schedule_of(opening.touchpoint)
    business = None if schedule is None else schedule.between(opening.at_ms, life.resolved_last)
    deadline = final if enough is None or enough.yes else None
    return Judged._make((life, deadline, broken, enough, business))
