"""The life of a case: events in, observations, Resolutions and follow-ups out. Total: every event has a result.

What comes out does not depend on the order or the repetition of the events; only `revision` does: it counts the changes
on the way.
"""

from __future__ import annotations

from pipeline.cases.case import UNHEARD, Case, Opening, hear, opened, passed
from pipeline.cases.clocks import CLOCKS, RESOLUTION, SHARES, Observation, observations
from pipeline.cases.follow_up import follow_ups
from pipeline.cases.measured import Measured, measure
from pipeline.cases.resolution import resolution
from pipeline.cases.rules import Rules, Target
from pipeline.cases.schedule import Schedule, Version
from pipeline.cases.standing import open_since
from pipeline.cases.timing import forget_at, next_due

__all__ = [
    "CLOCKS",
    "RESOLUTION",
    "SHARES",
    "UNHEARD",
    "Case",
    "Measured",
    "Observation",
    "Opening",
    "Rules",
    "Schedule",
    "Target",
    "Version",
    "follow_ups",
    "forget_at",
    "hear",
    "measure",
    "next_due",
    "observations",
    "open_since",
    "opened",
    "passed",
    "resolution",
]
