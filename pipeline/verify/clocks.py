"""Cases, recounted: of each life the earliest opening, and what happened from then on.

What hangs on a schedule or on timers (business hours, SLA, FCR) is not recounted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil, log2
from typing import NamedTuple

MINUTE_MS = 60_000
RESOLUTION = "resolution"
REOPEN = "reopen"
CLOCKS = ("first_reply", "first_resolution", "full_resolution", "agent")
MEASURES = (*((RESOLUTION, clock) for clock in CLOCKS), (REOPEN, ""))  # that are recounted
ACTIONS = (
    *("case_opened", "case_replied", "case_contacted", "case_waiting"),
    *("case_resumed", "case_resolved", "case_reopened", "case_closed"),
)
FORGET_MS = 90 * 86_400_000
_ZERO = -1000


class CaseEvent(NamedTuple):
    """A touchpoint event of a case, as the raw table has it."""

    case_id: str
    at: int
    action: str
    touchpoint: str
    channel: str
    segment: str | None
    priority: str | None


class Observation(NamedTuple):
    """What one clock or share of one case shows, and where it counts. A share takes no time."""

    metric: str
    instrument: str
    touchpoint: str
    channel: str
    segment: str
    minute: int
    bin: int
    milliseconds: int


class Cases:
    """Every case of one source partition. A case lives in its partition alone.

    Args:
        forget_ms: how long a case may be silent before it is another one.
    """

    def __init__(self, forget_ms: int) -> None:
        self._forget_ms = forget_ms
        self._events: dict[str, list[CaseEvent]] = defaultdict(list)

    def take(self, events: Iterable[CaseEvent]) -> None:
        """Events that count."""
        for event in events:
            self._events[event.case_id].append(event)

    def observations(self) -> Iterator[Observation]:
        """What the clocks of all cases show."""
        for events in self._events.values():
            yield from observed(events, self._forget_ms)


def observed(events: Iterable[CaseEvent], forget_ms: int) -> Iterator[Observation]:
    """What the clocks of one case show, given all of its events in any order."""
    life: list[CaseEvent] = []
    for event in sorted((one for one in events if one.action in ACTIONS), key=lambda one: one.at):
        if life and event.at - life[-1].at > forget_ms:
            yield from _of_life(life)
            life = []
        life.append(event)
    yield from _of_life(life)


def _of_life(events: list[CaseEvent]) -> Iterator[Observation]:
    opened = [one for one in events if one.action == "case_opened"]
    if not opened:
        return
    first = min(opened, key=_order)
    resolved = _since(first, events, "case_resolved")
    place = (first.touchpoint, first.channel, first.segment or "none")
    ends = {
        "first_reply": min(_since(first, events, "case_replied"), default=None),
        "first_resolution": min(resolved, default=None),
        "full_resolution": max(resolved, default=None),
    }
    for clock, end in ends.items():
        if end is not None:
            took = end - first.at
            yield Observation(RESOLUTION, clock, *place, end // MINUTE_MS, duration_bin(took), took)
    if resolved:
        end = max(resolved)
        took = end - first.at - _waited(first, events, end)
        yield Observation(RESOLUTION, "agent", *place, end // MINUTE_MS, duration_bin(took), took)
        again = bool(_since(first, events, "case_reopened"))
        yield Observation(REOPEN, "", *place, min(resolved) // MINUTE_MS, int(again), 0)


def _waited(first: CaseEvent, events: Iterable[CaseEvent], end: int) -> int:
    """Time spent waiting on the customer: from each `case_waiting` to what ends it next, but no time twice."""
    ends = sorted(_since(first, events, "case_resumed") + _since(first, events, "case_resolved"))
    waited, until = 0, first.at
    for start in sorted(_since(first, events, "case_waiting")):
        if until <= start < end:
            until = next(at for at in ends if at >= start)
            waited += until - start
    return waited


def duration_bin(milliseconds: int) -> int:
    """The k of the bin (2^((k-1)/8), 2^(k/8)] seconds that it lies in; -1000 for none at all."""
    if milliseconds == 0:
        return _ZERO
    k = ceil(8 * log2(milliseconds / 1000))
    while not _reaches(k, milliseconds):  # a logarithm may be off in its last bit
        k += 1
    while _reaches(k - 1, milliseconds):
        k -= 1
    return k


def _reaches(k: int, milliseconds: int) -> bool:
    """Whether 2^(k/8) seconds are at least so long, in whole numbers."""
    wanted, have = milliseconds**8, 1000**8
    return wanted <= have << k if k >= 0 else wanted << -k <= have


def _since(first: CaseEvent, events: Iterable[CaseEvent], action: str) -> list[int]:
    return [one.at for one in events if one.action == action and one.at >= first.at]


def _order(one: CaseEvent) -> tuple[int, str, str, tuple[bool, str], tuple[bool, str]]:
    """The earliest; of two at one instant the one whose dimensions sort first, and what is unknown last."""
    segment, priority = one.segment, one.priority
    names = (segment is None, segment or ""), (priority is None, priority or "")
    return (one.at, one.touchpoint, one.channel, *names)
