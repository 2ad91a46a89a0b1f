"""How a case stands now: open, and since when."""

from __future__ import annotations

from pipeline.cases.case import REOPENED, RESOLVED, Case, Opening, action_of
from pipeline.cases.measured import measure
from pipeline.cases.rules import Rules


def open_since(case: Case, rules: Rules) -> Opening | None:
    """The opening of a case that is open; None where it is resolved or closed, or was never opened.

    A resolve or a closing ends it until it is reopened. A case that was reopened is as old as its opening.
    """
    newest = measure(case, rules).lives[-1:]
    for life, *_ in newest:
        for mark in reversed(life.heard):
            action = action_of(mark)
            if action >= RESOLVED:  # RESOLVED, REOPENED or CLOSED
                return life.opening if action == REOPENED else None
        return life.opening
    return None
