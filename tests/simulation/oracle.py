"""What must come of touchpoints: a plain recount, one record at a time, that shares nothing with the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.recount import TOUCHPOINTS, Cell, Row, action_cell, decode, ms, newest, schema_of

TOUCHPOINT = schema_of("touchpoint_event.avsc")
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_SERVICE = {"case_opened", "case_replied", "case_resolved", "case_reopened"}


@dataclass(frozen=True)
class Answer:
    """What must come of one source partition.

    Attributes:
        outcomes: (day, outcome) -> records.
        cells: cell -> count.
        dead: offsets of dead letters.
        resolutions: case id -> seconds (first resolution, full resolution).
    """

    outcomes: Counter[tuple[int, str]]
    cells: Counter[Cell]
    dead: frozenset[int]
    resolutions: Mapping[str, tuple[float, float]]


def recount_touchpoints(rows: Iterable[tuple[int, int, bytes | None]], horizon: int) -> Answer:
    """(offset, kafka_time, value) in offset order."""
    outcomes: Counter[tuple[int, str]] = Counter()
    cells: Counter[Cell] = Counter()
    dead, until, cases, watermark = set(), {}, {}, -(10**18)
    for offset, kafka_time, value in rows:
        day = kafka_time // _DAY_MS
        record = decode(value, "touchpoint_event.avsc", TOUCHPOINT)
        if not _wanted(record, kafka_time):
            outcomes[day, "dead_letter"] += 1
            dead.add(offset)
            continue
        at, limit, name = ms(record["occurred_at"]), watermark - horizon, record["event_id"]
        watermark = max(watermark, at)
        if at < limit:
            outcomes[day, "late"] += 1
        elif until.get(name, limit - 1) >= limit:
            outcomes[day, "duplicate"] += 1
            until[name] = max(until[name], at)
        else:
            outcomes[day, "counted"] += 1
            until[name] = at
            leaf = _leaf(record)
            cells["touchpoints", record["action"], *leaf, at // 60_000, 0] += 1
            if record["case_id"] and record["action"] in _SERVICE:
                cases.setdefault(record["case_id"], []).append((at, record))
    resolutions = {}
    for case_id, events in cases.items():
        clocks = _clocks(events)
        for clock, (leaf, end, took) in clocks.items():
            cells["resolution", clock, *leaf, end // 60_000, _bin(took)] += 1
        if "full_resolution" in clocks:
            resolutions[case_id] = (clocks["first_resolution"][2] / 1000, clocks["full_resolution"][2] / 1000)
    return Answer(outcomes, cells, frozenset(dead), resolutions)


def full_recount_of_touchpoints(rows: Iterable[Row]) -> dict[Cell, tuple[int, int]]:
    """Count and total of each cell once every record counts, late ones too."""
    cases: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    records = newest(rows, TOUCHPOINTS)
    cells = {cell: (n, 0) for cell, n in Counter(map(action_cell, records)).items()}
    for record in records:
        if record["case_id"] and record["action"] in _SERVICE:
            cases.setdefault(record["case_id"], []).append((ms(record["occurred_at"]), record))
    for events in cases.values():
        for clock, (leaf, end, took) in _clocks(events).items():
            cell = ("resolution", clock, *leaf, end // 60_000, _bin(took))
            n, total = cells.get(cell, (0, 0))
            cells[cell] = n + 1, total + took
    return cells


def _leaf(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["touchpoint"], record["channel"], record["segment"] or "none"


def _wanted(record: dict[str, Any] | None, kafka_time: int) -> bool:
    if record is None or not all(record[name] for name in ("event_id", "touchpoint", "channel", "action")):
        return False
    return ms(record["occurred_at"]) <= kafka_time + _HOUR_MS


def _clocks(events: list[tuple[int, dict[str, Any]]]) -> dict[str, tuple[tuple[str, str, str], int, int]]:
    """Clock -> (leaf, when it ended, milliseconds) of a case, from everything that was counted of it."""

    def times(action: str, since: int) -> list[int]:
        return sorted(at for at, record in events if record["action"] == action and at >= since)

    def first(one: tuple[int, dict[str, Any]]) -> Any:
        at, r = one
        texts = [(r[name] is None, r[name] or "") for name in ("segment", "priority")]
        return at, r["touchpoint"], r["channel"], *texts

    openings = sorted((one for one in events if one[1]["action"] == "case_opened"), key=first)
    if not openings:
        return {}
    opened, record = openings[0]
    leaf = _leaf(record)
    replied, resolved = times("case_replied", opened), times("case_resolved", opened)
    ends = {"first_reply": replied[:1], "first_resolution": resolved[:1], "full_resolution": resolved[-1:]}
    return {clock: (leaf, end[0], end[0] - opened) for clock, end in ends.items() if end}


def _bin(milliseconds: int) -> int:
    """k with 2^((k-1)/8) < seconds <= 2^(k/8), by whole numbers; -1000 for zero."""
    k = -100
    while milliseconds and milliseconds**8 > (1000**8 * 2**k if k >= 0 else 1000**8 // 2**-k):
        k += 1
    return k if milliseconds else -1000
