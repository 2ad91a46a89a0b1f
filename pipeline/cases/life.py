"""Lives of a case, and what happened in one.

An id that was silent for longer than `forget_ms` and speaks again begins a new life: another case under the same
number. Lives are told apart by the times of the events alone, so it does not matter when who forgot what.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pipeline.cases.case import (
    CLOSED,
    CONTACTED,
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
    mark_of,
    time_of,
)


class Life(NamedTuple):
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

    def closed_at(self, at_ms: int) -> bool:
        """Whether at that instant it was closed and not reopened."""
        last = None
        for mark in self.heard:
            if time_of(mark) > at_ms:
                break
            if action_of(mark) in (CLOSED, REOPENED):
                last = action_of(mark)
        return last == CLOSED

    def comes_back(self, at_ms: int) -> bool:
        """Whether it was reopened or resolved after that instant."""
        return any(time_of(m) > at_ms and action_of(m) in (REOPENED, RESOLVED) for m in self.heard)


def lives(case: Case, forget_ms: int) -> tuple[Life, ...]:
    """The lives that have an opening, oldest first; most often one."""
    if not case.openings:
        return ()
    if case.last_ms - case.first_ms <= forget_ms:
        return (life(case.openings[0], case.heard),)
    return tuple(life(openings[0], heard) for openings, heard in _apart(case, forget_ms) if openings)


def life(opening: Opening, heard: Marks) -> Life:
    """The life that begins with an opening; marks before it are left out."""
    opened = opening.at_ms
    heard = heard[bisect_left(heard, mark_of(opened, 0)) :]
    replied = resolved = resolved_last = waiting = further = None
    replies = contacts = reopens = waited = waited_ms = 0
    for mark in heard:
        at, action = time_of(mark), action_of(mark)
        if action == REPLIED:
            replies += 1
            replied = at if replied is None else replied
        elif action == CONTACTED:
            if at > opened:
                contacts += 1
                further = at if further is None else further
        elif action == WAITING:
            waiting = at if waiting is None else waiting
        elif action in (RESUMED, RESOLVED):
            waited += 0 if waiting is None else at - waiting
            waiting = None
            if action == RESOLVED:
                resolved = at if resolved is None else resolved
                resolved_last, waited_ms = at, waited
        elif action == REOPENED:
            reopens += 1
            further = at if further is None else further
    return Life(
        opening, heard, replied, resolved, resolved_last, waited_ms, further, replies, contacts, reopens
    )


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
