"""What must come of touchpoints: a plain recount, one record at a time, that shares nothing with the worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.case_oracle import ACTIONS, Call, Told, called, observed
from tests.support.recount import TOUCHPOINTS, Cell, Row, action_cell, decode, ms, newest, schema_of

TOUCHPOINT = schema_of("touchpoint_event.avsc")
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000


@dataclass(frozen=True)
class Answer:
    """What must come of one source partition.

    Attributes:
        outcomes: (day, outcome) -> records.
        cells: cell -> count.
        dead: offsets of dead letters.
        resolutions: case id -> what its newest Resolution says.
        calls: follow_up_id -> what its newest revision says; those that hold.
        unsure: ids of follow-ups of answers that were forgotten before they were used again.
    """

    outcomes: Counter[tuple[int, str]]
    cells: Counter[Cell]
    dead: frozenset[int]
    resolutions: Mapping[str, Told]
    calls: Mapping[str, Call] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()


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
            if record["case_id"] and record["action"] in ACTIONS:
                cases.setdefault(record["case_id"], []).append(record)
    resolutions, calls = {}, {}
    for case_id, events in cases.items():
        calls.update(called(case_id, events))
        seen, told = observed(events)
        cells.update(one.cell for one in seen)
        if told is not None:
            resolutions[case_id] = told
    return Answer(outcomes, cells, frozenset(dead), resolutions, calls)


def full_recount_of_touchpoints(rows: Iterable[Row]) -> dict[Cell, tuple[int, int]]:
    """Count and total of each cell once every record counts, late ones too."""
    cases: dict[str, list[dict[str, Any]]] = {}
    records = newest(rows, TOUCHPOINTS)
    cells = {cell: (n, 0) for cell, n in Counter(map(action_cell, records)).items()}
    for record in records:
        if record["case_id"] and record["action"] in ACTIONS:
            cases.setdefault(record["case_id"], []).append(record)
    for events in cases.values():
        for one in observed(events)[0]:
            n, total = cells.get(one.cell, (0, 0))
            cells[one.cell] = n + 1, total + one.total
    return cells


def _leaf(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["touchpoint"], record["channel"], record["segment"] or "none"


def _wanted(record: dict[str, Any] | None, kafka_time: int) -> bool:
    if record is None or not all(record[name] for name in ("event_id", "touchpoint", "channel", "action")):
        return False
    return ms(record["occurred_at"]) <= kafka_time + _HOUR_MS
