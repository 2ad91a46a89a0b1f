"""`resolution`: the Resolution record of a case."""

from __future__ import annotations

from typing import Any

from pipeline.cases.case import Case
from pipeline.cases.clocks import FIRST_REPLY, FIRST_RESOLUTION, FULL_RESOLUTION, observations


def resolution(case_id: str, case: Case) -> dict[str, Any] | None:
    """The fields of schemas/resolution.avsc; None until the case has an opening and a resolve at or after it.

    Times are milliseconds since 1970, durations seconds. None is "unknown".
    """
    resolved, opening = case.since_opening(case.resolved), case.opening
    if not resolved or opening is None:
        return None
    seconds = {seen.clock: seen.milliseconds / 1000 for seen in observations(case)}
    return {
        "case_id": case_id,
        "occurred_at": resolved[-1],
        "touchpoint": opening.touchpoint,
        "channel": opening.channel,
        "segment": opening.segment,
        "priority": opening.priority,
        "opened_at": opening.at_ms,
        "first_reply_seconds": seconds.get(FIRST_REPLY),
        "first_resolution_seconds": seconds[FIRST_RESOLUTION],
        "full_resolution_seconds": seconds[FULL_RESOLUTION],
        "agent_seconds": None,
        "business_seconds": None,
        "replies": len(case.since_opening(case.replied)),
        "contacts": len(case.since_opening(case.contacted)),
        "reopens": len(case.since_opening(case.reopened)),
        "sla_target_seconds": None,
        "sla_breached": None,
        "one_contact": None,
        "revision": case.revision,
        "retracted": False,
    }
