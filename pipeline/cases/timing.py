"""When a case must be looked at again although nobody speaks of it: deadlines and forgetting."""

from __future__ import annotations

from pipeline.cases.measured import Measured


def next_due(measured: Measured) -> int | None:
    """The next instant at which time alone changes what is measured; None: only an event can.

    It is later than the time of the case; `passed(case, that instant)` is the change.
    """
    due, now = None, measured.now_ms
    for judged in measured.lives:
        at = judged.deadline_ms
        if at is not None and at > now and (due is None or at < due):
            due = at
    return due


def forget_at(measured: Measured) -> int:
    """The case is forgotten once the watermark of its partition is later than this, milliseconds since 1970.

    No event that still belongs to it can come then: it would be late. A wall clock would not do: after a long silence
    of the whole partition the next event may be older than the clock, and belong to the case. Nothing is due later.
    """
    rules = measured.rules
    forget = measured.last_ms + rules.forget_ms + rules.horizon_ms
    for judged in measured.lives:
        at = judged.deadline_ms
        if at is not None and at > forget:
            forget = at
    return forget
