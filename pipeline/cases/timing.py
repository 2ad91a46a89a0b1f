"""When a case must be looked at again although nobody speaks of it: deadlines and forgetting."""

from __future__ import annotations

from pipeline.cases.case import Case
from pipeline.cases.measured import measure
from pipeline.cases.rules import Rules


def next_due(case: Case, rules: Rules) -> int | None:
    """The next instant at which time alone changes what is measured; None: only an event can.

    It is later than `case.now_ms`; `passed(case, that instant)` is the change.
    """
    measured = measure(case, rules)
    now = measured.now_ms
    return min([at for at in measured.deadlines() if at > now], default=None)


def forget_at(case: Case, rules: Rules) -> int:
    """The case is forgotten once the watermark of its partition is later than this, milliseconds since 1970.

    No event that still belongs to it can come then: it would be late. A wall clock would not do: after a long silence
    of the whole partition the next event may be older than the clock, and belong to the case. Nothing is due later.
    """
    return max([case.last_ms + rules.forget_ms + rules.horizon_ms, *measure(case, rules).deadlines()])
