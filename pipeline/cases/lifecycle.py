"""The life of a case: events in, observations and Resolution revisions out. Total: every event has a result.

What is built does not depend on the order or the repetition of the events; only `revision` does: it counts
how often the Resolution changed on the way.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.cases.case import Case, CaseEvent, Opening, from_row, heard, to_row
from pipeline.cases.clocks import Observation, observations
from pipeline.cases.resolution import resolution

__all__ = [
    "Case",
    "CaseEvent",
    "Observation",
    "Opening",
    "from_row",
    "observations",
    "resolution",
    "step",
    "to_row",
]

_UNHEARD = Case()


def step(case: Case | None, event: CaseEvent) -> Case:
    """The case after one more event; None is a case never heard of.

    An event that says nothing new (seen before, an action without meaning for a case) gives the same object.
    """
    before = _UNHEARD if case is None else case
    after = heard(before, event)
    was = None if after is before else resolution("", before)
    if was is None or was == resolution("", after):
        return after
    return replace(after, revision=before.revision + 1)
