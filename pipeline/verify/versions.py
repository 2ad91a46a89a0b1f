"""What becomes of one record among the versions of its id, one at a time, in the words of the promise.

Late is what happened longer before the watermark than the horizon. Otherwise versions of an id are ordered by
(revision, retracted): the same pair again is a duplicate, a lower one stale, a higher one takes its predecessor out
of its cell. An id is remembered until the horizon passes the highest time ever seen under it.
"""

from __future__ import annotations

from typing import NamedTuple

COUNTED, RETRACTED, DUPLICATE, STALE, LATE, DEAD_LETTER = (
    *("counted", "retracted", "duplicate", "stale", "late", "dead_letter"),
)
NEVER = -(1 << 61)  # before any time, also less a horizon


class Cell(NamedTuple):
    """Where a record counts. `leaf` stands for metric, instrument and dimensions."""

    leaf: int
    minute: int
    bin: int


class Known(NamedTuple):
    """What is remembered under an id: until when, the newest version, where it lies, and the cell it counts in."""

    until: int
    version: int
    offset: int
    cell: Cell | None


class Step(NamedTuple):
    """What one record did: its outcome, the cell it counts in now, the one it left, and what is known now."""

    outcome: str
    came: Cell | None
    left: Cell | None
    known: Known | None


def step(known: Known | None, at: int, limit: int, version: int, offset: int, cell: Cell) -> Step:
    """One record of an id.

    Args:
        known: what is remembered of the id.
        at: when it happened, milliseconds since 1970.
        limit: the watermark before this record less the horizon.
        version: revision * 2 + retracted.
        offset: of this record.
        cell: where it would count.
    """
    if at < limit:
        return Step(LATE, None, None, known)
    if known is not None and known.until < limit:
        known = None
    if known is not None and version <= known.version:
        outcome = DUPLICATE if version == known.version else STALE
        return Step(outcome, None, None, known._replace(until=max(known.until, at)))
    came = None if version % 2 else cell
    until = at if known is None else max(known.until, at)
    left = None if known is None else known.cell
    return Step(COUNTED if came else RETRACTED, came, left, Known(until, version, offset, came))
