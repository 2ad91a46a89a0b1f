"""Cases, recounted: what each clock and each share of a case shows, by the rules of docs/cases.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import ceil, log2
from typing import NamedTuple

from pipeline.verify.hours import MINUTE_MS
from pipeline.verify.lives import ACTIONS, REOPENED, REPLIED, RESOLVED, CaseEvent, Life, lives
from pipeline.verify.terms import Terms

RESOLUTION, REOPEN, FCR, SLA_BREACH = "resolution", "reopen", "fcr", "sla_breach"
CLOCKS = ("first_reply", "first_resolution", "full_resolution", "agent", "business")
MEASURES = (*((RESOLUTION, clock) for clock in CLOCKS), *((share, "") for share in (REOPEN, FCR, SLA_BREACH)))
# What hangs on rules that may have been others when it was counted; what a changed forget_ms does is not looked into.
BY_RULES = frozenset({(RESOLUTION, "business"), (FCR, ""), (SLA_BREACH, "")})
_ZERO = -1000


class Observation(NamedTuple):
    """What one clock or share of one case shows, and where it counts. A share takes no time.

    Attributes:
        due: the instant from which time alone tells it; None: the events of the case tell it.
    """

    metric: str
    instrument: str
    touchpoint: str
    channel: str
    segment: str
    minute: int
    bin: int
    milliseconds: int
    due: int | None = None


class Cases:
    """Every case of one source partition. A case lives in its partition alone.

    Args:
        terms: of the configuration.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._events: dict[str, list[CaseEvent]] = defaultdict(list)
        self.earlier: set[str] = set()  # cases that were heard of under other rules

    def take(self, events: Iterable[tuple[CaseEvent, int]]) -> None:
        """Events that count, and their kafka_time."""
        for event, time in events:
            self._events[event.case_id].append(event)
            if time < self._terms.since:
                self.earlier.add(event.case_id)

    def observations(self) -> Iterator[Observation]:
        """What the clocks of all cases show."""
        for events in self._events.values():
            yield from observed(events, self._terms)

    def earlier_until(self) -> dict[tuple[str, str, str], int]:
        """Touchpoint, channel, segment -> the last minute in which a case heard of under other rules may count."""
        until: dict[tuple[str, str, str], int] = {}
        for case_id in self.earlier:
            events = self._events[case_id]
            forgotten = max(one.at for one in events) + self._terms.forget_ms
            for life in lives(events, self._terms.forget_ms):
                place = _place(life)
                until[place] = max(until.get(place, 0), forgotten // MINUTE_MS)
        return until

    def __iter__(self) -> Iterator[list[CaseEvent]]:
        return iter(self._events.values())


def observed(events: Iterable[CaseEvent], terms: Terms) -> Iterator[Observation]:
    """What the clocks of one case show, given all of its events in any order."""
    found = [one for one in events if one.action in ACTIONS]  # another does not even say that time has passed
    last = max((one.at for one in found), default=0)
    for life in lives(found, terms.forget_ms):
        for seen in _durations(life, terms):
            yield seen
        for seen in _shares(life, terms):
            # an event of the case proves that its time has come
            yield seen if seen.due is None or seen.due > last else seen._replace(due=None)


def breach(life: Life, terms: Terms) -> tuple[int, bool, int | None] | None:
    """When the promise was kept or broken, whether it was broken, and the instant from which time alone says so."""
    due = terms.due(life.opening.at, life.opening.priority)
    if due is None:
        return None
    first = min(life.times[RESOLVED], default=None)
    if first is not None:
        return (first, False, None) if first <= due else (due, True, None)
    return None if life.stays_closed(due) else (due, True, due)


def _durations(life: Life, terms: Terms) -> Iterator[Observation]:
    opened, replied, resolved = life.opening.at, life.times[REPLIED], life.times[RESOLVED]
    if replied:
        yield _duration(life, "first_reply", replied[0], replied[0] - opened)
    if resolved:
        end, took = resolved[-1], resolved[-1] - opened
        yield _duration(life, "first_resolution", resolved[0], resolved[0] - opened)
        yield _duration(life, "full_resolution", end, took)
        yield _duration(life, "agent", end, took - life.waited(end))
        calendar = terms.calendar(life.opening.touchpoint)
        worked = None if calendar is None else calendar.worked(opened, end)
        if worked is not None:
            yield _duration(life, "business", end, worked)


def _shares(life: Life, terms: Terms) -> Iterator[Observation]:
    resolved, again = life.times[RESOLVED], life.times[REOPENED]
    if resolved:
        yield _share(life, REOPEN, resolved[0], yes=bool(again))
        final = resolved[0] + terms.one_contact_ms
        further = min((at for at in life.contacts + again if at <= final), default=None)
        if further is None:
            yield _share(life, FCR, final, yes=True, due=final)
        else:
            yield _share(life, FCR, max(further, resolved[0]), yes=False)
    if (broken := breach(life, terms)) is not None:
        at, yes, due = broken
        yield _share(life, SLA_BREACH, at, yes=yes, due=due)


def _place(life: Life) -> tuple[str, str, str]:
    return life.opening.touchpoint, life.opening.channel, life.opening.segment or "none"


def _duration(life: Life, clock: str, end: int, took: int) -> Observation:
    return Observation(RESOLUTION, clock, *_place(life), end // MINUTE_MS, duration_bin(took), took)


def _share(life: Life, metric: str, at: int, *, yes: bool, due: int | None = None) -> Observation:
    return Observation(metric, "", *_place(life), at // MINUTE_MS, int(yes), 0, due)


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
