"""The same for cases: one dictionary a case, every event again in the order of its partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.recount import Cell, Recount, ms

ENDS = {
    "case_replied": "replies",
    "case_contacted": "contacts",
    "case_resolved": "resolves",
    "case_reopened": "reopens",
}
_NOTHING = -1000  # the bin of no time at all


@dataclass
class Cases:
    """What must come out of all case events.

    Attributes:
        cells: cell -> durations.
        milliseconds: the same cells -> their sum.
        resolutions: case -> what its newest Resolution says; times are milliseconds since 1970.
    """

    cells: Counter[Cell] = field(default_factory=Counter)
    milliseconds: Counter[Cell] = field(default_factory=Counter)
    resolutions: dict[str, dict[str, Any]] = field(default_factory=dict)


def recount_cases(touchpoints: Recount) -> Cases:
    """All cases of the touchpoints that count."""
    events: dict[str, list[dict[str, Any]]] = {}
    for record, outcome in touchpoints.kept.values():
        if outcome == "counted" and record["case_id"] and record["action"].startswith("case_"):
            events.setdefault(record["case_id"], []).append(record)
    result = Cases()
    for case_id, heard in events.items():
        said = resolution(case_id, heard)
        if said is not None:
            result.resolutions[case_id] = said
        _observe(result, heard)
    return result


def resolution(case_id: str, heard: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The Resolution of a case of which these events were heard; None before there is one."""
    opening, times = _story(heard)
    if opening is None or not times["resolves"]:
        return None
    opened = ms(opening["occurred_at"])
    after = {name: (at[0] - opened) / 1000 if at else None for name, at in times.items()}
    return {
        "case_id": case_id,
        "occurred_at": times["resolves"][-1],
        **{name: opening[name] for name in ("touchpoint", "channel", "priority")},
        "segment": opening["segment"] or None,
        "opened_at": opened,
        "first_reply_seconds": after["replies"],
        "first_resolution_seconds": after["resolves"],
        "full_resolution_seconds": (times["resolves"][-1] - opened) / 1000,
        **{name: len(times[name]) for name in ("replies", "contacts", "reopens")},
    }


def _story(heard: Iterable[dict[str, Any]]) -> tuple[dict[str, Any] | None, dict[str, list[int]]]:
    """The earliest opening, and when what happened at or after it, each instant once.

    Of contacts only those after that instant: the opening is itself the first one.
    """
    opening: dict[str, Any] | None = None
    times: dict[str, set[int]] = {name: set() for name in ENDS.values()}
    for event in heard:
        if event["action"] == "case_opened" and (opening is None or _rank(event) < _rank(opening)):
            opening = event
        elif event["action"] in ENDS:
            times[ENDS[event["action"]]].add(ms(event["occurred_at"]))
    first = ms(opening["occurred_at"]) if opening else 0
    times["contacts"].discard(first)
    return opening, {name: sorted(at for at in ats if at >= first) for name, ats in times.items()}


def _rank(event: dict[str, Any]) -> tuple[Any, ...]:
    segment, priority = event["segment"] or None, event["priority"]
    place = (ms(event["occurred_at"]), event["touchpoint"], event["channel"])
    return (*place, segment is None, segment or "", priority is None, priority or "")


def _observe(result: Cases, heard: Iterable[dict[str, Any]]) -> None:
    opening, times = _story(heard)
    if opening is None:
        return
    opened = ms(opening["occurred_at"])
    replies, resolves = times["replies"], times["resolves"]
    leaf = (opening["touchpoint"], opening["channel"], opening["segment"] or "none")

    def add(metric: str, instrument: str, at: int, bin_: int, total: int = 0) -> None:
        cell: Cell = (metric, instrument, *leaf, at // 60_000, bin_)
        result.cells[cell] += 1
        result.milliseconds[cell] += total

    waited = _waited(heard, opened, resolves[-1]) if resolves else 0
    ends = {"first_reply": replies[:1], "first_resolution": resolves[:1], "full_resolution": resolves[-1:]}
    for clock, end in ends.items():
        for at in end:
            add("resolution", clock, at, duration_bin(at - opened), at - opened)
    for last in resolves[-1:]:
        took = last - opened - waited
        add("resolution", "agent", last, duration_bin(took), took)
        add("reopen", "", resolves[0], int(bool(times["reopens"])))
    further = sorted(times["contacts"] + times["reopens"])[:1]
    for at in further if resolves else ():
        # one contact was not enough; that it was is known a week later, when the tests are long over
        add("fcr", "", max(at, resolves[0]), 0)


def _waited(heard: Iterable[dict[str, Any]], opened: int, end: int) -> int:
    """Milliseconds of waiting on the customer; a resume ends it, and so does a resolve, which comes after it."""
    order = ("case_waiting", "case_resumed", "case_resolved")
    marks = sorted((ms(e["occurred_at"]), order.index(e["action"])) for e in heard if e["action"] in order)
    total, since = 0, None
    for at, kind in marks:
        if opened <= at <= end:
            if kind == 0:
                since = at if since is None else since
            elif since is not None:
                total, since = total + at - since, None
    return total


def duration_bin(milliseconds: int) -> int:
    """The k of (2^((k-1)/8), 2^(k/8)] seconds, in whole numbers."""
    if not milliseconds:
        return _NOTHING
    k, eighth_power = -80, milliseconds**8
    while eighth_power << 80 > 1000**8 << (80 + k):
        k += 1
    return k
