"""Lives of a case, and what happened in one.

An id that was silent for longer than `forget_ms` and speaks again begins a new life: another case under the same
number. Lives are told apart by the times of the events alone, so it does not matter when who forgot what.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from pipeline.cases.case import (
    ACTION,
    ACTION_BITS,
    CLOSED,
    MOST_OPENINGS,
    MOST_TIMES,
    NEVER,
    REOPENED,
    REPLIED,
    RESOLVED,
    RESUMED,
    WAITING,
    Case,
    Marks,
    Opening,
    action_of,
    time_of,
)


class Life(msgspec.Struct, frozen=True, gc=False):  # a third of what a NamedTuple costs to make
    """What happened from the opening on.

    What lies before the opening (a clock that runs behind, a case number used twice) ends no clock and counts
    nowhere: a duration is never negative. Times are milliseconds since 1970; None: it has not happened.

    Attributes:
        opening: the earliest one.
        heard: marks at or after the opening, ascending.
        replied: the first reply.
        resolved: the first resolve.
        resolved_last: the latest resolve so far.
        waited_ms: time spent waiting on the customer, up to the latest resolve.
        further: the first time that it took more than one contact: the customer wrote again after the opening, or the
            case was reopened.
        replies: how many.
        contacts: how many after the instant of the opening, which is itself the first contact.
        reopens: how many.
        open: neither resolved nor closed, or reopened since.
    """

    opening: Opening
    heard: Marks
    replied: int | None
    resolved: int | None
    resolved_last: int | None
    waited_ms: int
    further: int | None
    replies: int
    contacts: int
    reopens: int
    open: bool

    def stays_closed(self, at_ms: int) -> bool:
        """Whether it was closed by that instant, and has not been reopened since."""
        last = None
        for mark in self.heard:
            action = action_of(mark)
            if action == REOPENED or (action == CLOSED and time_of(mark) <= at_ms):
                last = action
        return last == CLOSED


def lives(case: Case, forget_ms: int) -> tuple[Life, ...]:
    """The lives that have an opening, oldest first; most often one."""
    openings, heard = case.openings, case.heard
    if not openings:
        return ()
    if case.last_ms - case.first_ms <= forget_ms:
        return (life(openings[0], heard),)
    return tuple(life(openings[0], heard) for openings, heard in _apart(case, forget_ms) if openings)


def life(opening: Opening, heard: Marks) -> Life:
    """The life that begins with an opening; marks before it are left out."""
    opened = opening.at_ms
    if heard and heard[0] < opened << ACTION_BITS:
        heard = heard[bisect_left(heard, opened << ACTION_BITS) :]
    replied = resolved = resolved_last = waiting = further = None
    replies, contacts, reopens, waited, waited_ms, still = 0, 0, 0, 0, 0, True
    for mark in heard:
        action = mark & ACTION  # written out: this loop is most of what a case costs
        if action == REPLIED:
            replies += 1
            if replied is None:
                replied = mark >> ACTION_BITS
        elif action == RESOLVED:
            resolved_last = mark >> ACTION_BITS
            if resolved is None:
                resolved = resolved_last
            if waiting is not None:
                waited += resolved_last - waiting
                waiting = None
            waited_ms, still = waited, False
        elif action == WAITING:
            if waiting is None:
                waiting = mark >> ACTION_BITS
        elif action == RESUMED:
            if waiting is not None:
                waited += (mark >> ACTION_BITS) - waiting
                waiting = None
        elif action == CLOSED:
            still = False
        elif action == REOPENED or mark >> ACTION_BITS > opened:  # else the contact that opened it
            again = action == REOPENED
            reopens += again
            contacts += not again
            still = still or again
            if further is None:
                further = mark >> ACTION_BITS
    counts = replies, contacts, reopens, still
    return Life(opening, heard, replied, resolved, resolved_last, waited_ms, further, *counts)


def _apart(case: Case, forget_ms: int) -> Iterator[tuple[tuple[Opening, ...], Marks]]:
    """Openings and marks of each life."""
    times = sorted({*map(time_of, case.heard), *(opening.at_ms for opening in case.openings)})
    holes = list(_holes(case))
    begin = NEVER
    for before, at in [*pairwise(times), (times[-1], -NEVER)]:
        if at - before > forget_ms and not any(low <= before and at <= high for low, high in holes):
            openings = tuple(one for one in case.openings if begin <= one.at_ms < at)
            yield openings, tuple(mark for mark in case.heard if begin <= time_of(mark) < at)
            begin = at


def _holes(case: Case) -> Iterator[tuple[int, int]]:
    """Where times were left out, because there were too many: no silence."""
    for action in range(CLOSED + 1):
        mine = [mark for mark in case.heard if action_of(mark) == action]
        if len(mine) == MOST_TIMES:
            yield time_of(mine[MOST_TIMES // 2 - 1]), time_of(mine[MOST_TIMES // 2])
    if len(case.openings) == MOST_OPENINGS:
        half = MOST_OPENINGS // 2
        yield case.openings[half - 1].at_ms, case.openings[half].at_ms
