"""What time alone brings about: a promise breached while the case is open, one contact being enough, forgetting."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.cases.case import Case
from pipeline.cases.life import Life, lives
from pipeline.cases.rules import Rules


class Share(NamedTuple):
    """A question with yes or no for an answer, and the instant that ends it, milliseconds since 1970."""

    at_ms: int
    yes: bool


def breach(life: Life, now_ms: int, rules: Rules) -> Share | None:
    """Whether the promise was broken; None while it is open, and where nothing was promised.

    Kept: at the first resolve, if that is not later than due. Broken: at the due instant, once time has come to it.
    A case that was closed without a resolve before it was due broke nothing, unless it came back afterwards.
    """
    due = rules.due_at(life.opening.at_ms, life.opening.priority)
    if due is None:
        return None
    if life.resolved is not None and life.resolved <= due:
        return Share(life.resolved, yes=False)
    if now_ms < due or (life.closed_at(due) and not life.comes_back(due)):
        return None
    return Share(due, yes=True)


def one_contact(life: Life, now_ms: int, rules: Rules) -> Share | None:
    """Whether one contact was enough (FCR); None until it is resolved, and while it is provisional.

    Not enough: at the further contact or the reopening, at the first resolve if that came later. Enough: `fcr_ms` after
    the first resolve, once time has come to it.
    """
    if life.resolved is None:
        return None
    final = life.resolved + rules.fcr_ms
    if life.further is not None and life.further <= final:
        return Share(max(life.further, life.resolved), yes=False)
    return Share(final, yes=True) if now_ms >= final else None


def next_due(case: Case, rules: Rules) -> int | None:
    """The next instant at which time alone changes what is measured; None: only an event can.

    It is later than `case.now_ms`; `passed(case, that instant)` is the change.
    """
    now = case.now_ms
    coming = [at for life in lives(case, rules.forget_ms) for at in deadlines(life, rules) if at > now]
    return min(coming, default=None)


def forget_at(case: Case, rules: Rules) -> int:
    """The case is forgotten once the watermark of its partition is later than this, milliseconds since 1970.

    No event that still belongs to it can come then: it would be late. A wall clock would not do: after a long silence
    of the whole partition the next event may be older than the clock, and belong to the case. Nothing is due later.
    """
    silent = case.last_ms + rules.forget_ms + rules.horizon_ms
    return max([silent, *(at for life in lives(case, rules.forget_ms) for at in deadlines(life, rules))])


def deadlines(life: Life, rules: Rules) -> list[int]:
    """The instants at which time alone decides something about this life, whether they have passed or not."""
    found = []
    if life.resolved is None:
        due = rules.due_at(life.opening.at_ms, life.opening.priority)
        if due is not None:
            found.append(due)
    elif life.further is None or life.further > life.resolved + rules.fcr_ms:
        found.append(life.resolved + rules.fcr_ms)
    return found
