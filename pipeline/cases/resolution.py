"""`resolution`: the Resolution record of a case."""

from __future__ import annotations

from typing import Any

from pipeline.cases.measured import Measured


def resolution(case_id: str, measured: Measured) -> dict[str, Any] | None:
    """The fields of schemas/resolution.avsc, of the newest life that was resolved; None until there is one.

    Times are milliseconds since 1970, durations seconds. None is "unknown".
    """
    resolved = [judged for judged in measured.lives if judged.life.resolved is not None]
    if not resolved:
        return None
    judged = resolved[-1]
    life, broken, enough = judged.life, judged.breach, judged.one_contact
    opening, first, last = life.opening, life.resolved, life.resolved_last
    target = measured.rules.target_of(opening.priority)
    return {
        "case_id": case_id,
        "occurred_at": last,
        "touchpoint": opening.touchpoint,
        "channel": opening.channel,
        "segment": opening.segment,
        "priority": opening.priority,
        "opened_at": opening.at_ms,
        "first_reply_seconds": _since(opening.at_ms, life.replied),
        "first_resolution_seconds": _since(opening.at_ms, first),
        "full_resolution_seconds": _since(opening.at_ms, last),
        "agent_seconds": _since(opening.at_ms + life.waited_ms, last),
        "business_seconds": _since(0, judged.business_ms),
        "replies": life.replies,
        "contacts": life.contacts,
        "reopens": life.reopens,
        "sla_target_seconds": None if target is None else target.seconds,
        "sla_breached": None if broken is None else broken.yes,
        "one_contact": None if enough is None else enough.yes,
        "revision": measured.case.revision,
        "retracted": False,
    }


def _since(start: int, end: int | None) -> float | None:
    return None if end is None else (end - start) / 1000
