"""`Case`: what has been heard of one case, in a form that forgets the order of arrival.

A case keeps its openings and, of every other action, the times it happened at, each once. A set knows neither order nor
repetition, so whatever is computed from a case is the same for every permutation and every duplication of its events.
Two events of one action in the same millisecond are one.
"""

from __future__ import annotations

from bisect import bisect_left
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from pipeline.events.faults import MAX_NAME_BYTES

# How many times of one action are kept: the earliest half and the latest half. A case_id that every event of
# an app carries would otherwise be a case of millions of events. First and last stay right; counts stop here.
MOST_TIMES = 256
MOST_OPENINGS = 16
NEVER = -(2**62)  # before every time there is

OPENED = "case_opened"
# What happens at one instant happens in this order: a case is resolved before it is reopened, and closed last.
REPLIED, CONTACTED, WAITING, RESUMED, RESOLVED, REOPENED, CLOSED = range(7)
OPENING = 7  # never among the marks of a case: its openings stand for themselves
CODES = MappingProxyType(
    {
        OPENED: OPENING,
        "case_replied": REPLIED,
        "case_contacted": CONTACTED,
        "case_waiting": WAITING,
        "case_resumed": RESUMED,
        "case_resolved": RESOLVED,
        "case_reopened": REOPENED,
        "case_closed": CLOSED,
    }
)
ACTION_BITS, ACTION = 3, 7  # of a mark: its lowest bits, and what takes them out
_DAY_MS = 86_400_000
_REVISIONS_A_DAY = 1000
_LAST_REVISION_BASE = 2_000_000_000  # a revision is an int of 32 bits

Marks = tuple[int, ...]


class Opening(NamedTuple):
    """When a case was opened, and the dimensions of everything that is measured of it."""

    at_ms: int
    touchpoint: str
    channel: str
    segment: str | None
    priority: str | None
    customer_id: str | None = None


class Case(
    msgspec.Struct, frozen=True, gc=False, array_like=True
):  # a third of what a NamedTuple costs to make
    """One case: the sets of what was heard, and how far time has gone on by itself.

    Attributes:
        openings: each once, the earliest first.
        heard: marks of everything else, each once, ascending; `mark_of` makes one of a time and an action.
        clock_ms: up to when time itself has been taken into account, milliseconds since 1970.
        revision: rises by one with every change. It starts at 1000 x the day of the first event, so that a case
            that was forgotten and speaks again goes on above its earlier revisions.
    """

    openings: tuple[Opening, ...] = ()
    heard: Marks = ()
    clock_ms: int = NEVER
    revision: int = 0

    @property
    def first_ms(self) -> int:
        """The earliest event; NEVER of a case that heard none."""
        heard, openings = self.heard, self.openings
        if not heard:
            return openings[0].at_ms if openings else NEVER
        first = heard[0] >> ACTION_BITS
        return openings[0].at_ms if openings and openings[0].at_ms < first else first

    @property
    def last_ms(self) -> int:
        """The latest event; NEVER of a case that heard none."""
        heard, openings = self.heard, self.openings
        last = heard[-1] >> ACTION_BITS if heard else NEVER
        opened = openings[-1].at_ms if openings else NEVER
        return last if last > opened else opened


UNHEARD = Case()  # the one of which nothing is known


def mark_of(at_ms: int, action: int) -> int:
    """A time and an action as one number, which sorts by time and then in the order of the actions."""
    return at_ms << ACTION_BITS | action


def time_of(mark: int) -> int:
    """The time of a mark, milliseconds since 1970."""
    return mark >> ACTION_BITS


def action_of(mark: int) -> int:
    """The action of a mark, REPLIED to CLOSED."""
    return mark & ACTION


def hear(case: Case, mark: int) -> Case:
    """The case after one more event that is no opening; the same object if it says nothing new."""
    heard = _with(case.heard, mark)
    if heard is case.heard:
        return case
    revision = case.revision + 1 if case.heard else _next_revision(case, mark >> ACTION_BITS)
    return Case(case.openings, heard, case.clock_ms, revision)


def passed(case: Case, at_ms: int) -> Case:
    """The case once time has come to `at_ms`; the same object if it had come so far."""
    if at_ms <= case.clock_ms:
        return case
    return Case(case.openings, case.heard, at_ms, _next_revision(case, at_ms))


def _next_revision(case: Case, at_ms: int) -> int:
    if case.heard or case.openings:
        return case.revision + 1
    return min(max(at_ms // _DAY_MS * _REVISIONS_A_DAY, 0), _LAST_REVISION_BASE)


def opened(case: Case, opening: Opening) -> Case:
    """The case after one more opening; the same object if it says nothing new."""
    openings, customer = case.openings, opening.customer_id
    if customer is not None and len(customer) > MAX_NAME_BYTES:  # it would stand in every record of the case
        opening = opening._replace(customer_id=None)
    if opening in openings:
        return case
    more = tuple(sorted((*openings, opening), key=order_of)) if openings else (opening,)
    if len(more) > MOST_OPENINGS:
        more = more[: MOST_OPENINGS // 2] + more[MOST_OPENINGS // 2 + 1 :]
    if more == openings:
        return case
    return Case(more, case.heard, case.clock_ms, _next_revision(case, opening.at_ms))


def order_of(opening: Opening) -> tuple[object, ...]:
    """The earliest comes first; of several at one instant the one whose dimensions sort first, unknown last."""
    at_ms, touchpoint, channel, *rest = opening
    return (at_ms, touchpoint, channel, *((text is None, text or "") for text in rest))


def _with(heard: Marks, mark: int) -> Marks:
    """`heard` and `mark`, ascending; the same object if nothing changes."""
    if not heard or mark > heard[-1]:
        more = (*heard, mark)
    else:
        place = bisect_left(heard, mark)
        if heard[place] == mark:
            return heard
        more = (*heard[:place], mark, *heard[place:])
    return more if len(more) <= MOST_TIMES else _trimmed(heard, more, mark & ACTION)


def _trimmed(heard: Marks, more: Marks, action: int) -> Marks:
    """One too many of an action leaves from the middle of its times.

    Then the earliest and the latest half of all times ever heard are kept, which no order of arrival changes.
    """
    mine = [mark for mark in more if mark & ACTION == action]
    if len(mine) <= MOST_TIMES:
        return more
    leaves = bisect_left(more, mine[MOST_TIMES // 2])
    kept = more[:leaves] + more[leaves + 1 :]
    return heard if kept == heard else kept
