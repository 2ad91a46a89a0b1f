"""`trace`: where is my event? What the raw tables and the dead letters hold of an id, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify import told
from pipeline.verify.ask import frame
from pipeline.verify.clocks import observed
from pipeline.verify.lives import CaseEvent
from pipeline.verify.raw import ASIDE, KINDS, Kind
from pipeline.verify.rebuilt import Run, newest_run
from pipeline.verify.terms import Terms
from pipeline.verify.told import Names, Place
from pipeline.verify.versions import COUNTED, LATE, NEVER, Cell, Known, step

MOST_ROWS = 300  # their offsets travel in the address of a question
_COLUMNS = {
    "responses": "response_id AS id, toInt64(revision) AS revision, retracted, instrument AS name, "
    "toInt64(score) AS bin, NULL AS priority",
    "touchpoints": "event_id AS id, toInt64(0) AS revision, false AS retracted, action AS name, toInt64(0) AS bin, "
    "priority",
}
_ID = {"responses": "response_id", "touchpoints": "event_id"}


@dataclass(frozen=True, slots=True)
class Event:
    """One raw row and what became of it.

    Attributes:
        topic: where it lies, with partition and offset.
        arrived: kafka_time; happened: occurred_at; ISO 8601, UTC.
        what: instrument and score, or the action.
        outcome: as the promise says.
        pending: the tally has not told of it yet: this is what will become of it.
        cell: where it counts or counted, a late one since the newest rebuild; None if nowhere.
        counts: it still does; a newer version or a retraction takes it out.
        before: offset of the version that is known under the id when it arrives.
    """

    topic: str
    partition: int
    offset: int
    id: str
    case_id: str | None
    arrived: str
    happened: str
    what: str
    revision: int
    retracted: bool
    outcome: str
    pending: bool
    cell: Mapping[str, Any] | None
    counts: bool
    before: int | None


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything found under an id: events in the order of their positions, dead letters, and clocks of its case."""

    id: str
    events: list[Event] = field(default_factory=list)
    dead_letters: list[Mapping[str, Any]] = field(default_factory=list)
    clocks: list[Mapping[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """With the keys of `feedback trace --json`."""
        return asdict(self)


def trace(client: Client, prefix: str, horizons: Mapping[Kind, int], identity: str, terms: Terms) -> Trace:
    """Look for a response_id, an event_id or a case_id.

    Args:
        client: of the store.
        prefix: of the topics.
        horizons: milliseconds, by input.
        identity: what to look for.
        terms: of the configuration.
    """
    metrics = told.metrics_of_instruments(client)
    applied = told.outcomes(client, [f"{prefix}.{kind}" for kind in KINDS]).applied
    run = newest_run(client)
    events: list[Event] = []
    clocks: list[Mapping[str, Any]] = []
    for kind in KINDS:
        rows = _rows(client, kind, identity)
        found = _settled(kind, f"{prefix}.{kind}", rows, horizons[kind], metrics, applied)
        if run is not None:
            found = _completed(kind, rows, found, metrics, run)
        events += found
        if kind == "touchpoints":
            clocks = _clocks(rows, found, identity, terms)
    return Trace(identity, events, _dead_letters(client, identity), clocks)


def _rows(client: Client, kind: Kind, identity: str) -> pl.DataFrame:
    """Every row of the ids that are or belong to `identity`, with the watermark before each."""
    rows = frame(
        client,
        f"""
        SELECT toInt64(kafka_partition) AS p, kafka_offset AS offset, toUnixTimestamp64Milli(kafka_time) AS time,
            toUnixTimestamp64Milli(occurred_at) AS at, case_id, touchpoint, channel, segment, {_COLUMNS[kind]}
        FROM {kind} FINAL
        WHERE (kafka_partition, {_ID[kind]}) IN
        (
            SELECT kafka_partition, {_ID[kind]} FROM {kind} WHERE {_ID[kind]} = {{id:String}} OR case_id = {{id:String}}
        )
        ORDER BY p, offset LIMIT {MOST_ROWS}
        """,  # noqa: S608 - names of our own, no values
        monthly=True,
        id=identity,
    )
    marks = [_watermarks(client, kind, p, group["offset"].to_list()) for (p,), group in rows.group_by("p")]
    schema = {"p": pl.Int64, "offset": pl.Int64, "watermark": pl.Int64}
    return rows.join(pl.DataFrame([row for part in marks for row in part], schema=schema, orient="row"),
                     on=["p", "offset"], how="left", maintain_order="left")  # fmt: skip


def _watermarks(client: Client, kind: Kind, partition: Any, offsets: list[int]) -> list[tuple[int, int, int]]:
    """For each offset the highest occurred_at of the earlier rows of its partition."""
    found = frame(
        client,
        f"""
        SELECT o, max(at) AS watermark FROM
        (
            SELECT arrayFirstIndex(x -> x > kafka_offset, {{offsets:Array(Int64)}}) AS place,
                max(toUnixTimestamp64Milli(occurred_at)) AS at
            FROM {kind} WHERE kafka_partition = {{partition:Int32}} AND kafka_offset < {{last:Int64}} GROUP BY place
        )
        ARRAY JOIN arraySlice({{offsets:Array(Int64)}}, place) AS o
        GROUP BY o
        """,  # noqa: S608 - names of our own, no values
        offsets=offsets,
        partition=partition,
        last=offsets[-1],
    )
    return [(partition, offset, mark) for offset, mark in found.iter_rows()]


def _settled(
    kind: Kind,
    topic: str,
    rows: pl.DataFrame,
    horizon: int,
    metrics: Mapping[str, str],
    applied: Mapping[Place, int],
) -> list[Event]:
    known: dict[tuple[int, str], Known] = {}
    events: list[Event] = []
    for row in rows.iter_rows(named=True):
        key = (row["p"], row["id"])
        limit = (NEVER if row["watermark"] is None else row["watermark"]) - horizon
        cell = Cell(len(events), row["at"] // 60_000, row["bin"])
        before = known.get(key)
        done = step(before, row["at"], limit, row["revision"] * 2 + row["retracted"], row["offset"], cell)
        events.append(_event(kind, topic, row, done.outcome, applied, metrics, before and before.offset))
        if done.known is not None:
            known[key] = done.known
    standing = {one.cell.leaf for one in known.values() if one.cell}
    return [replace(event, counts=place in standing) for place, event in enumerate(events)]


def _event(
    kind: Kind,
    topic: str,
    row: Mapping[str, Any],
    outcome: str,
    applied: Mapping[Place, int],
    metrics: Mapping[str, str],
    before: int | None,
) -> Event:
    return Event(
        topic=topic,
        partition=row["p"],
        offset=row["offset"],
        id=row["id"],
        case_id=row["case_id"],
        arrived=_iso(row["time"]),
        happened=_iso(row["at"]),
        what=f"{row['name']} = {row['bin']}" if kind == "responses" else row["name"],
        revision=row["revision"],
        retracted=row["retracted"],
        outcome=outcome,
        pending=row["p"] < ASIDE and row["offset"] > applied.get((topic, row["p"]), -1),
        cell=_cell(kind, row, metrics) if outcome == COUNTED else None,
        counts=False,
        before=before,
    )


def _cell(kind: Kind, row: Mapping[str, Any], metrics: Mapping[str, str]) -> Mapping[str, Any]:
    metric = metrics.get(row["name"], "") if kind == "responses" else "touchpoints"
    names = Names(metric, row["name"], row["touchpoint"], row["channel"], row["segment"] or "none")
    return {**names._asdict(), "bucket": _iso(row["at"] // 60_000 * 60_000), "bin": row["bin"]}


def _completed(
    kind: Kind, rows: pl.DataFrame, events: list[Event], metrics: Mapping[str, str], run: Run
) -> list[Event]:
    """As the rebuild left it: of an id with a late row that it saw, the newest version is what counts."""
    seen: dict[tuple[int, str], list[int]] = {}
    table = list(rows.iter_rows(named=True))
    for place, (row, event) in enumerate(zip(table, events, strict=True)):
        if row["p"] >= ASIDE or row["offset"] <= run.positions.get((event.topic, row["p"]), -1):
            seen.setdefault((row["p"], row["id"]), []).append(place)
    found = list(events)
    for places in seen.values():
        if not any(events[place].outcome == LATE for place in places):
            continue
        newest = max(places, key=lambda place: _version(table[place]))
        for place in places:
            row = table[place]
            if run.first <= row["at"] // 60_000 < run.stop:
                counts = place == newest and not row["retracted"]
                cell = _cell(kind, row, metrics) if counts else events[place].cell
                found[place] = replace(events[place], cell=cell, counts=counts)
    return found


def _version(row: Mapping[str, Any]) -> tuple[int, bool, int, int]:
    """What a recount goes by; the earlier of two equal ones holds."""
    return row["revision"], row["retracted"], -row["time"], -row["offset"]


def _clocks(rows: pl.DataFrame, events: list[Event], identity: str, terms: Terms) -> list[Mapping[str, Any]]:
    """What the clocks of the case show, if `identity` is one."""
    counted = {(one.partition, one.offset) for one in events if one.cell is not None}
    mine = [
        CaseEvent(identity, r["at"], r["name"], r["touchpoint"], r["channel"], r["segment"], r["priority"])
        for r in rows.iter_rows(named=True)
        if r["case_id"] == identity and (r["p"], r["offset"]) in counted
    ]
    return [
        {
            "metric": seen.metric,
            "instrument": seen.instrument,
            "touchpoint": seen.touchpoint,
            "channel": seen.channel,
            "segment": seen.segment,
            "bucket": _iso(seen.minute * 60_000),
            "bin": seen.bin,
            "seconds": seen.milliseconds / 1000,
        }
        for seen in observed(mine, terms)
        if seen.due is None or seen.due <= time.time() * 1000
    ]


def _dead_letters(client: Client, identity: str) -> list[Mapping[str, Any]]:
    """Those whose bytes contain the id."""
    rows = frame(
        client,
        "SELECT topic, toInt64(partition) AS partition, offset, toUnixTimestamp64Milli(time) AS time, reason, stage, "
        "detail FROM dead_letters FINAL WHERE position(raw, {id:String}) > 0 ORDER BY topic, partition, offset "
        "LIMIT {most:UInt32}",
        id=identity,
        most=MOST_ROWS,
    )
    return [{**row, "time": _iso(row["time"])} for row in rows.iter_rows(named=True)]


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
