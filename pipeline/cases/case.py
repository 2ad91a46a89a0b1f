"""`Case`: what has been heard of one case, in a form that forgets the order of arrival.

A case keeps its earliest opening and, for each action, the sorted set of the times it happened at. A set
knows neither order nor repetition, so whatever is computed from a case is the same for every permutation and
every duplication of its events. Two events of one action in the same millisecond are one.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

# How many times of one action are kept: the earliest half and the latest half. A case_id that every event of
# an app carries would otherwise be a case of millions of events. First and last stay right; counts stop here.
MOST_TIMES = 256

OPENED = "case_opened"
_HEARD = MappingProxyType(
    {
        "case_replied": "replied",
        "case_contacted": "contacted",
        "case_resolved": "resolved",
        "case_reopened": "reopened",
        "case_closed": "closed",
    }
)
Times = tuple[int, ...]


class CaseEvent(NamedTuple):
    """A touchpoint event of a case; `at_ms` is its `occurred_at` in milliseconds since 1970."""

    action: str
    at_ms: int
    touchpoint: str
    channel: str
    segment: str | None = None
    priority: str | None = None


class Opening(NamedTuple):
    """When a case was opened, and the dimensions of everything that is measured of it."""

    at_ms: int
    touchpoint: str
    channel: str
    segment: str | None
    priority: str | None


@dataclass(frozen=True, slots=True)
class Case:
    """One case. Times are milliseconds since 1970, ascending, each once.

    Attributes:
        opening: the earliest one; None while none has been heard of.
        replied: an agent answered.
        contacted: the customer wrote again.
        resolved: it was resolved.
        reopened: it was reopened.
        closed: it was closed, which is not resolved.
        revision: how often its Resolution has changed; 0 for the first one.
    """

    opening: Opening | None = None
    replied: Times = ()
    contacted: Times = ()
    resolved: Times = ()
    reopened: Times = ()
    closed: Times = ()
    revision: int = 0

    def since_opening(self, times: Times) -> Times:
        """Those at or after the opening; none while it is unknown.

        What lies before the opening (a clock that runs behind, a case number used twice) ends no clock and
        counts nowhere: a duration is never negative.
        """
        if self.opening is None:
            return ()
        return times[bisect_left(times, self.opening.at_ms) :]


def heard(case: Case, event: CaseEvent) -> Case:
    """The case after one more event, without its revision; the same object if the event says nothing new."""
    if event.action == OPENED:
        return _opened(case, Opening(*event[1:]))
    name = _HEARD.get(event.action)
    if name is None:
        return case
    before: Times = getattr(case, name)
    after = _with(before, event.at_ms)
    changed: dict[str, Any] = {name: after}
    return case if after is before else replace(case, **changed)


def to_row(case: Case) -> list[Any]:
    """A list that JSON can hold; `from_row` is the inverse."""
    opening = list(case.opening) if case.opening else None
    times = (case.replied, case.contacted, case.resolved, case.reopened, case.closed)
    return [case.revision, opening, *map(list, times)]


def from_row(row: list[Any]) -> Case:
    """The case of a row; a row of another length raises ValueError."""
    revision, opening, replied, contacted, resolved, reopened, closed = row
    times = tuple(replied), tuple(contacted), tuple(resolved), tuple(reopened), tuple(closed)
    return Case(Opening(*opening) if opening else None, *times, revision)


def _opened(case: Case, opening: Opening) -> Case:
    """The earliest opening wins; of two at one instant the one whose dimensions sort first."""
    if case.opening is not None and _order(case.opening) <= _order(opening):
        return case
    return replace(case, opening=opening)


def _order(opening: Opening) -> tuple[int, str, str, tuple[bool, str], tuple[bool, str]]:
    segment, priority = opening.segment, opening.priority
    return (
        *(opening.at_ms, opening.touchpoint, opening.channel),
        (segment is None, segment or ""),
        (priority is None, priority or ""),
    )


def _with(times: Times, at_ms: int) -> Times:
    """`times` and `at_ms`, sorted; the same object if nothing changes.

    One too many leaves from the middle: then the earliest and the latest half of all times ever heard are
    kept, which no order of arrival changes.
    """
    place = bisect_left(times, at_ms)
    if place < len(times) and times[place] == at_ms:
        return times
    if len(times) == MOST_TIMES and place == MOST_TIMES // 2:
        return times
    more = (*times[:place], at_ms, *times[place:])
    return more if len(more) <= MOST_TIMES else more[: MOST_TIMES // 2] + more[MOST_TIMES // 2 + 1 :]
