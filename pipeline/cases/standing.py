"""How a case stands now: open, and since when."""

from __future__ import annotations

from pipeline.cases.case import CLOSED, REOPENED, RESOLVED, Case, Opening, action_of
from pipeline.cases.life import lives
from pipeline.cases.rules import Rules


def open_since(case: Case, rules: Rules) -> Opening | None:
    """The opening of a case that is open; None where it is resolved or closed, or was never opened.

    A resolve or a closing ends it until it is reopened. A case that was reopened is as old as its opening.
    """
    newest = lives(case, rules.forget_ms)[-1:]
    for life in newest:
        ends = [action_of(m) for m in life.heard if action_of(m) in (RESOLVED, REOPENED, CLOSED)]
        if not ends or ends[-1] == REOPENED:
            return life.opening
    return None
