"""How a case stands now: open, and since when."""

from __future__ import annotations

from pipeline.cases.case import Opening
from pipeline.cases.measured import Measured


def open_since(measured: Measured) -> Opening | None:
    """The opening of a case that is open; None where it is resolved or closed, or was never opened.

    A resolve or a closing ends it until it is reopened. A case that was reopened is as old as its opening.
    """
    lives = measured.lives
    return lives[-1].life.opening if lives and lives[-1].life.open else None
