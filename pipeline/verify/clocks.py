"""Resolution clocks, recounted: of each case the earliest opening, and the replies and resolves from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil, log2
from typing import NamedTuple

MINUTE_MS = 60_000
RESOLUTION = "resolution"
CLOCKS = ("first_reply", "first_resolution", "full_resolution")
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
    """What one clock of one case shows, and where it counts."""

    clock: str
    touchpoint: str
    channel: str
    segment: str
    minute: int
    bin: int
    milliseconds: int


class Cases:
    """Every case of one source partition. A case lives in its partition alone."""

    def __init__(self) -> None:
        self._events: dict[str, list[CaseEvent]] = defaultdict(list)

    def take(self, events: Iterable[CaseEvent]) -> None:
        """Events that count."""
        for event in events:
            self._events[event.case_id].append(event)

    def observations(self) -> Iterator[Observation]:
        """What the clocks of all cases show."""
        for events in self._events.values():
            yield from observed(events)


def observed(events: Iterable[CaseEvent]) -> Iterator[Observation]:
    """What the clocks of one case show, given all of its events in any order."""
    events = list(events)
    opened = [one for one in events if one.action == "case_opened"]
    if not opened:
        return
    first = min(opened, key=_order)
    ends = {
        "first_reply": min(_since(first, events, "case_replied"), default=None),
        "first_resolution": min(_since(first, events, "case_resolved"), default=None),
        "full_resolution": max(_since(first, events, "case_resolved"), default=None),
    }
    for clock, end in ends.items():
        if end is not None:
            took = end - first.at
            place = (first.touchpoint, first.channel, first.segment or "none")
            yield Observation(clock, *place, end // MINUTE_MS, duration_bin(took), took)


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
