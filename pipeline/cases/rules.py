"""`Rules`: what a configuration says about cases. Handed in, never looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from pipeline.cases.schedule import Schedule

_DAY_MS = 86_400_000
DEFAULT_SCHEDULE = "default"
SLA_BREACH = "sla_breach"
CASE_REOPENED = "reopened"
DEFAULT_FOLLOW_UPS: Mapping[str, int] = MappingProxyType({SLA_BREACH: _DAY_MS // 6, CASE_REOPENED: _DAY_MS})


class Target(NamedTuple):
    """What was promised for a priority: `seconds` until the first resolve, of all time or of a schedule's hours."""

    seconds: float
    schedule: str | None = None


@dataclass(frozen=True, slots=True, eq=False)  # one object a configuration, compared and hashed as that
class Rules:
    """How cases are measured.

    Attributes:
        sla: by priority when the case was opened.
        schedules: by name.
        schedule_names: touchpoint -> name of its schedule, where it has one of its own.
        fcr_ms: how long after the first resolve a further contact takes back that one contact was enough.
        forget_ms: a case silent for longer is another case when it speaks again.
        horizon_ms: how late a touchpoint event may come.
        follow_up_ms: kind of follow-up -> how soon somebody must have called; a kind that is missing is not wanted.
    """

    sla: Mapping[str, Target] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    schedule_names: Mapping[str, str] = field(default_factory=dict)
    fcr_ms: int = 7 * _DAY_MS
    forget_ms: int = 90 * _DAY_MS
    horizon_ms: int = 7 * _DAY_MS
    follow_up_ms: Mapping[str, int] = field(default_factory=lambda: DEFAULT_FOLLOW_UPS)

    def schedule_of(self, touchpoint: str) -> Schedule | None:
        """The business hours of a touchpoint: its own, else those named "default", else the only ones there are."""
        schedules = self.schedules
        if not schedules:
            return None
        name = self.schedule_names.get(touchpoint, DEFAULT_SCHEDULE)
        if name in schedules:
            return schedules[name]
        return next(iter(schedules.values())) if len(schedules) == 1 else None

    def target_of(self, priority: str | None) -> Target | None:
        """What was promised for a priority; None: nothing."""
        return None if priority is None else self.sla.get(priority)

    def due_at(self, opened_ms: int, priority: str | None) -> int | None:
        """Until when a case must be resolved, milliseconds since 1970; None: nothing was promised.

        With a schedule it is the first instant at which so many of its hours have passed.
        """
        target = None if priority is None else self.sla.get(priority)
        if target is None:
            return None
        milliseconds = round(target.seconds * 1000)
        if target.schedule is None:
            return opened_ms + milliseconds
        return self.schedules[target.schedule].after(opened_ms, milliseconds)
