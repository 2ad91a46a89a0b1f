"""How a case stands now: open, and since when."""

from __future__ import annotations

from pipeline.cases.case import Case, Opening
from pipeline.cases.measured import measure
from pipeline.cases.rules import Rules


def open_since(case: Case, rules: Rules) -> Opening | None:
    """The opening of a case that is open; None where it is resolved or closed, or was never opened.

    A resolve or a closing ends it until it is reopened. A case that was reopened is as old as its opening.
    """
    lives = measure(case, rules).lives
    return lives[-1].life.opening if lives and lives[-1].life.open else None
