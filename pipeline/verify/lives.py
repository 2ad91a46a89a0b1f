"""Lives of a case, recounted: what was heard from the earliest opening on, until a silence that was too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

OPENED, REPLIED, CONTACTED, WAITING = "case_opened", "case_replied", "case_contacted", "case_waiting"
RESUMED, RESOLVED, REOPENED, CLOSED = "case_resumed", "case_resolved", "case_reopened", "case_closed"
ACTIONS = (OPENED, REPLIED, CONTACTED, WAITING, RESUMED, RESOLVED, REOPENED, CLOSED)
# Of one action no more is kept than these many earliest and as many latest times: see docs/cases.md.
_HALF_OF_TIMES = 128
_MOST_BYTES = 256  # of a customer_id


class CaseEvent(NamedTuple):
    """A touchpoint event of a case, as the raw table has it; `at` is its occurred_at, milliseconds since 1970."""

    case_id: str
    at: int
    action: str
    touchpoint: str
    channel: str
    segment: str | None
    priority: str | None
    customer_id: str | None = None


class Life(NamedTuple):
    """One life.

    Attributes:
        opening: the earliest.
        times: action -> when it happened at or after the opening, ascending, each time once.
    """

    opening: CaseEvent
    times: Mapping[str, list[int]]

    @property
    def contacts(self) -> list[int]:
        """When the customer came back; the contact at the instant of the opening is the one that opened it."""
        return [at for at in self.times[CONTACTED] if at > self.opening.at]

    def waited(self, end: int) -> int:
        """Time spent waiting on the customer: from each waiting to what ends it next, but no time twice."""
        ends = sorted(self.times[RESUMED] + self.times[RESOLVED])
        waited, until = 0, self.opening.at
        for start in self.times[WAITING]:
            if until <= start < end:
                until = next(at for at in ends if at >= start)
                waited += until - start
        return waited

    def stays_closed(self, due: int) -> bool:
        """Closed by then, and never reopened after that; a closing comes after a reopening of the same instant."""
        closed = max((at for at in self.times[CLOSED] if at <= due), default=None)
        return closed is not None and all(at <= closed for at in self.times[REOPENED])


def lives(events: Iterable[CaseEvent], forget_ms: int) -> Iterator[Life]:
    """The lives of one case that have an opening, oldest first, given its events in any order."""
    life: list[CaseEvent] = []
    for event in sorted((one for one in events if one.action in ACTIONS), key=lambda one: one.at):
        if life and event.at - life[-1].at > forget_ms:
            yield from _of(life)
            life = []
        life.append(event)
    yield from _of(life)


def _of(events: list[CaseEvent]) -> Iterator[Life]:
    opened = sorted({_named(one) for one in events if one.action == OPENED}, key=_order)
    if opened:
        first = opened[0]
        ats: dict[str, set[int]] = {action: set() for action in ACTIONS}
        for one in events:
            ats[one.action].add(one.at)
        kept = {action: _kept(sorted(times)) for action, times in ats.items()}
        yield Life(first, {action: [at for at in times if at >= first.at] for action, times in kept.items()})


def _kept(times: list[int]) -> list[int]:
    return times if len(times) <= 2 * _HALF_OF_TIMES else times[:_HALF_OF_TIMES] + times[-_HALF_OF_TIMES:]


def _named(one: CaseEvent) -> CaseEvent:
    """Without the name of a customer that is too long to be remembered."""
    customer = one.customer_id
    return one._replace(customer_id=None) if customer and len(customer) > _MOST_BYTES else one


def _order(one: CaseEvent) -> tuple[object, ...]:
    """The earliest; of two at one instant the one whose names sort first, and what is unknown last."""
    names = ((name is None, name or "") for name in (one.segment, one.priority, one.customer_id))
    return (one.at, one.touchpoint, one.channel, *names)
