"""What must come of the events of one case once all time has passed: plainly, and sharing nothing with the worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.support.recount import Cell, ms

MINUTE = 60_000
ACTIONS = {
    f"case_{name}"
    for name in ("opened", "replied", "contacted", "waiting", "resumed", "resolved", "reopened", "closed")
}
SLA_MS = {"high": 45 * MINUTE}
FCR_MS = 60 * MINUTE
FORGET_MS = 35 * MINUTE
DUE_MS = {
    "sla_breach": 4 * 60 * MINUTE,
    "reopened": 24 * 60 * MINUTE,
    "detractor": 30 * MINUTE,
    "hard_effort": MINUTE,
}


class Rules(NamedTuple):
    """Milliseconds: targets by priority, the week of FCR, and the silence that ends a life."""

    sla: Mapping[str, int]
    fcr: int
    forget: int


SIMULATED = Rules(SLA_MS, FCR_MS, FORGET_MS)


class Seen(NamedTuple):
    """One observation: where it counts, and milliseconds."""

    cell: Cell
    total: int


class Call(NamedTuple):
    """What a FollowUp must say; times are milliseconds since 1970."""

    kind: str
    at: int
    due: int
    touchpoint: str
    channel: str
    segment: str | None
    customer: str | None


class Told(NamedTuple):
    """What the Resolution of a case must say."""

    first: float
    full: float
    agent: float
    replies: int
    contacts: int
    reopens: int
    breached: bool | None
    one_contact: bool | None


def observed(records: Iterable[dict[str, Any]], rules: Rules = SIMULATED) -> tuple[list[Seen], Told | None]:
    """All observations of one case id, and its newest Resolution."""
    seen: list[Seen] = []
    told = None
    for life in _lives(records, rules.forget):
        openings = sorted((r for r in life if r["action"] == "case_opened"), key=_rank)
        if openings:
            of_life = _Life(openings[0], life, rules)
            seen += of_life.seen()
            told = of_life.told() or told
    return seen, told


def called(case_id: str, records: Iterable[dict[str, Any]]) -> Iterator[tuple[str, Call]]:
    """The follow-ups of one case id: one for a broken promise, one for each reopening."""
    for life in _lives(records, FORGET_MS):
        openings = sorted((r for r in life if r["action"] == "case_opened"), key=_rank)
        if not openings:
            continue
        of_life = _Life(openings[0], life, SIMULATED)
        breach = of_life._breached()
        found = [("reopened", at) for at in of_life.times["case_reopened"]]
        if breach is not None and breach[1]:
            found.append(("sla_breach", breach[0]))
        for kind, at in found:
            yield f"{case_id}/{kind}/{at}", call(kind, at, openings[0])


def call(kind: str, at: int, record: dict[str, Any]) -> Call:
    """What is said about whoever the record names."""
    place = record["touchpoint"], record["channel"], record["segment"] or None
    return Call(kind, at, at + DUE_MS[kind], *place, record["customer_id"] or None)


def _lives(records: Iterable[dict[str, Any]], forget: int) -> Iterator[list[dict[str, Any]]]:
    """A silence of more than `forget` ends a life."""
    life: list[dict[str, Any]] = []
    for record in sorted(records, key=lambda r: ms(r["occurred_at"])):
        if life and ms(record["occurred_at"]) - ms(life[-1]["occurred_at"]) > forget:
            yield life
            life = []
        life.append(record)
    if life:
        yield life


def _rank(record: dict[str, Any]) -> tuple[Any, ...]:
    texts = [(record[name] is None, record[name] or "") for name in ("segment", "priority", "customer_id")]
    return ms(record["occurred_at"]), record["touchpoint"], record["channel"], *texts


class _Life:
    def __init__(self, opening: dict[str, Any], life: list[dict[str, Any]], rules: Rules) -> None:
        self.opening = opening
        self.rules = rules
        self.opened = ms(opening["occurred_at"])
        self.times = {
            action: sorted(
                {
                    ms(r["occurred_at"])
                    for r in life
                    if r["action"] == action and ms(r["occurred_at"]) >= self.opened
                }
            )
            for action in ACTIONS
        }

    def seen(self) -> Iterator[Seen]:
        replied, resolved = self.times["case_replied"], self.times["case_resolved"]
        if replied:
            yield self._duration("first_reply", replied[0], replied[0] - self.opened)
        if resolved:
            first, last = resolved[0], resolved[-1]
            yield self._duration("first_resolution", first, first - self.opened)
            yield self._duration("full_resolution", last, last - self.opened)
            yield self._duration("agent", last, last - self.opened - self._waited(last))
            yield self._share("reopen", first, yes=bool(self.times["case_reopened"]))
            yield self._share("fcr", *self._one_contact())
        if (kept := self._breached()) is not None:
            yield self._share("sla_breach", *kept)

    def told(self) -> Told | None:
        resolved = self.times["case_resolved"]
        if not resolved:
            return None
        breached = self._breached()
        contacts = [at for at in self.times["case_contacted"] if at > self.opened]
        return Told(
            (resolved[0] - self.opened) / 1000,
            (resolved[-1] - self.opened) / 1000,
            (resolved[-1] - self.opened - self._waited(resolved[-1])) / 1000,
            len(self.times["case_replied"]),
            len(contacts),
            len(self.times["case_reopened"]),
            None if breached is None else breached[1],
            self._one_contact()[1],
        )

    def _waited(self, end: int) -> int:
        """From the first waiting to whatever ends it, and so on."""
        total, position = 0, -1
        ends = sorted({*self.times["case_resumed"], *self.times["case_resolved"]})
        for at in self.times["case_waiting"]:
            stop = next((one for one in ends if one >= at), None)
            if at >= position and at < end and stop is not None:
                total += stop - at
                position = stop
        return total

    def _one_contact(self) -> tuple[int, bool]:
        first = self.times["case_resolved"][0]
        further = [
            *(at for at in self.times["case_contacted"] if at > self.opened),
            *self.times["case_reopened"],
        ]
        early = [at for at in further if at <= first + self.rules.fcr]
        return (max(first, min(early)), False) if early else (first + self.rules.fcr, True)

    def _breached(self) -> tuple[int, bool] | None:
        target = self.rules.sla.get(self.opening["priority"] or "")
        if target is None:
            return None
        due, resolved = self.opened + target, self.times["case_resolved"]
        if resolved and resolved[0] <= due:
            return resolved[0], False
        ends = [
            (at, k)
            for k, a in enumerate(("case_reopened", "case_closed"))
            for at in self.times[a]
            if at <= due
        ]
        closed = bool(ends) and max(ends)[1] == 1
        back = [at for action in ("case_reopened", "case_resolved") for at in self.times[action] if at > due]
        return None if closed and not back else (due, True)

    def _duration(self, clock: str, end: int, took: int) -> Seen:
        return Seen(("resolution", clock, *self._dims(), end // MINUTE, bin_of(took)), took)

    def _share(self, metric: str, at: int, yes: bool) -> Seen:
        return Seen((metric, "", *self._dims(), at // MINUTE, int(yes)), 0)

    def _dims(self) -> tuple[str, str, str]:
        return self.opening["touchpoint"], self.opening["channel"], self.opening["segment"] or "none"


def bin_of(milliseconds: int) -> int:
    """k with 2^((k-1)/8) < seconds <= 2^(k/8), by whole numbers; -1000 for zero."""
    k = -100
    while milliseconds and milliseconds**8 > (1000**8 * 2**k if k >= 0 else 1000**8 // 2**-k):
        k += 1
    return k if milliseconds else -1000
