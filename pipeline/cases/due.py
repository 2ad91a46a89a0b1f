"""What time alone brings about: a promise breached while the case is open, one contact being enough."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.cases.life import Life


class Share(NamedTuple):
    """A question with yes or no for an answer, and the instant that ends it, milliseconds since 1970."""

    at_ms: int
    yes: bool


def breach(life: Life, due_ms: int, now_ms: int) -> Share | None:
    """Whether the promise was broken; None while it is open.

    Kept: at the first resolve, if that is not later than due. Broken: at the due instant, once time has come to it.
    A case that was closed before it was due, and neither reopened nor resolved since, broke nothing.
    """
    resolved = life.resolved
    if resolved is not None:  # however long it was closed in between
        return Share(resolved, False) if resolved <= due_ms else Share(due_ms, True)
    if now_ms < due_ms or life.stays_closed(due_ms):
        return None
    return Share(due_ms, True)


def one_contact(life: Life, resolved_ms: int, final_ms: int, now_ms: int) -> Share | None:
    """Whether one contact was enough (FCR) for a life that was resolved; None while it is provisional.

    Not enough: at the further contact or the reopening, at the first resolve if that came later. Enough: at `final_ms`,
    once time has come to it.
    """
    further = life.further
    if further is not None and further <= final_ms:
        return Share(max(further, resolved_ms), False)
    return Share(final_ms, True) if now_ms >= final_ms else None
