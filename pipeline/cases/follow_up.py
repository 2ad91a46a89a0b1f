"""`follow_ups`: what somebody must do because of a case: its promise is broken, or it was reopened."""

from __future__ import annotations

from typing import Any

from pipeline.cases.case import REOPENED, action_of, time_of
from pipeline.cases.life import Life
from pipeline.cases.measured import Judged, Measured
from pipeline.cases.rules import CASE_REOPENED, SLA_BREACH, Rules


def follow_ups(case_id: str, before: Measured | None, after: Measured) -> list[dict[str, Any]]:
    """The fields of schemas/follow_up.avsc of every FollowUp that a change of a case calls for.

    A new one, one whose content changed, and one taken back (`retracted`), because an event from before the due instant
    came after it. Its revision is that of the case.
    """
    was = {} if before is None else _wanted(case_id, before)
    wanted, revision = _wanted(case_id, after), after.case.revision
    if not was and not wanted:
        return []
    told = [{**one, "revision": revision} for name, one in wanted.items() if one != was.get(name)]
    gone = [one for name, one in was.items() if name not in wanted]
    return told + [{**one, "revision": revision, "retracted": True} for one in gone]


def _wanted(case_id: str, measured: Measured) -> dict[str, dict[str, Any]]:
    """Of each life: one for its breach, and one for each reopening."""
    found: dict[str, dict[str, Any]] = {}
    for judged in measured.lives:
        if judged.life.reopens or (judged.breach is not None and judged.breach.yes):
            found |= {one["follow_up_id"]: one for one in _of_life(case_id, judged, measured.rules)}
    return found


def _of_life(case_id: str, judged: Judged, rules: Rules) -> list[dict[str, Any]]:
    found = []
    life, broken, due = judged.life, judged.breach, rules.follow_up_ms
    if broken is not None and broken.yes:
        found.append((SLA_BREACH, broken.at_ms))
    if life.reopens:
        found += [(CASE_REOPENED, time_of(mark)) for mark in life.heard if action_of(mark) == REOPENED]
    return [_follow_up(case_id, life, kind, at, at + due[kind]) for kind, at in found if kind in due]


def _follow_up(case_id: str, life: Life, kind: str, at_ms: int, due_ms: int) -> dict[str, Any]:
    opening = life.opening
    return {
        "follow_up_id": f"{case_id}/{kind}/{at_ms}",
        "occurred_at": at_ms,
        "kind": kind,
        "touchpoint": opening.touchpoint,
        "channel": opening.channel,
        "segment": opening.segment,
        "customer_id": opening.customer_id,
        "case_id": case_id,
        "response_id": None,
        "instrument": None,
        "score": None,
        "priority": opening.priority,
        "due_at": due_ms,
        "retracted": False,
    }
