"""An independent recount: every record of the inputs, one at a time, with plain dictionaries and fastavro.

It shares nothing with the worker but the definitions of DESIGN A2 and A5.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer, TopicPartition

SCHEMAS = Path(__file__).parents[2] / "schemas"
SCALES = {
    "nps_0_10": ("nps", 0, 10),
    "nps_1_10": ("nps", 1, 10),
    "csat_1_3": ("csat", 1, 3),
    "csat_1_4": ("csat", 1, 4),
    "csat_1_5": ("csat", 1, 5),
    "csat_1_7": ("csat", 1, 7),
    "csat_1_10": ("csat", 1, 10),
    "ces_1_5": ("ces", 1, 5),
    "ces_1_7": ("ces", 1, 7),
}
Cell = tuple[
    str, str, str, str, str, int, int
]  # metric, instrument, touchpoint, channel, segment, minute, bin
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000


def schema_of(file: str) -> Any:
    """A schema of ours, parsed."""
    return fastavro.parse_schema(json.loads((SCHEMAS / file).read_text("utf-8")))


RESPONSE = schema_of("survey_response.avsc")
TOUCHPOINT = schema_of("touchpoint_event.avsc")
IDS = {e["id"]: e["file"] for e in json.loads((SCHEMAS / "registry.json").read_text("utf-8"))["schemas"]}


@dataclass
class Recount:
    """What must come out of the records of one topic.

    Attributes:
        outcomes: (partition, day of kafka_time, outcome) -> records.
        cells: cell -> how many, none that came to nothing.
        dead: (partition, offset) of dead letters.
        kept: (partition, offset) -> the record and its outcome, of the others; in offset order.
        read: records.
        forgotten: ids that came back after the horizon had passed them, as if they were new.
    """

    outcomes: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    cells: Counter[Cell] = field(default_factory=Counter)
    dead: set[tuple[int, int]] = field(default_factory=set)
    kept: dict[tuple[int, int], tuple[dict[str, Any], str]] = field(default_factory=dict)
    read: int = 0
    forgotten: set[str] = field(default_factory=set)


def ms(at: Any) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return round(at.timestamp() * 1000)


def decode(value: bytes | None, file: str, parsed: Any) -> dict[str, Any] | None:
    """The record, or None if these bytes are not one."""
    if not value or value[0] != 0 or len(value) < 6 or IDS.get(int.from_bytes(value[1:5])) != file:
        return None
    body = io.BytesIO(value[5:])
    try:
        record = fastavro.schemaless_reader(body, parsed, None)
    except Exception:  # noqa: BLE001  fastavro raises whatever the bytes lead it to
        return None
    return dict(record) if body.tell() == len(value) - 5 else None  # type: ignore[call-overload, arg-type]  # fastavro types records as unions


def _in_time(record: dict[str, Any], kafka_time: int) -> bool:
    return ms(record["occurred_at"]) <= kafka_time + _HOUR_MS


def good_response(record: dict[str, Any]) -> bool:
    """It names an answer, a place, and a score that its scale has."""
    if not record["response_id"] or not record["touchpoint"] or not record["channel"]:
        return False
    scale = SCALES.get(record["instrument"])
    return scale is not None and bool(scale[1] <= record["score"] <= scale[2])


def good_touchpoint(record: dict[str, Any]) -> bool:
    """It names an event, a place and an action."""
    return all(record[name] for name in ("event_id", "touchpoint", "channel", "action"))


def cell_of(record: dict[str, Any]) -> Cell:
    """Where a response counts."""
    return (SCALES[record["instrument"]][0], record["instrument"], *_where(record), record["score"])


def action_cell(record: dict[str, Any]) -> Cell:
    """Where a touchpoint counts."""
    return ("touchpoints", record["action"], *_where(record), 0)


def _where(record: dict[str, Any]) -> tuple[str, str, str, int]:
    minute = ms(record["occurred_at"]) // 60_000
    return (record["touchpoint"], record["channel"], record["segment"] or "none", minute)


def is_bad(record: dict[str, Any]) -> bool:
    """Somebody should call after this answer: a detractor, or the hardest effort."""
    metric, low, _ = SCALES[record["instrument"]]
    return bool((metric == "nps" and record["score"] <= 6) or (metric == "ces" and record["score"] == low))


def waiting(result: Recount) -> dict[str, dict[str, Any]]:
    """Responses whose newest version calls for a follow-up, by id; not those forgotten in between."""
    kept = (pair for pair in result.kept.values() if pair[0]["response_id"] not in result.forgotten)
    newest = {
        record["response_id"]: record for record, outcome in kept if outcome in ("counted", "retracted")
    }
    return {
        name: record
        for name, record in newest.items()
        if not record["retracted"] and is_bad(record) and (record["customer_id"] or record["case_id"])
    }


Row = tuple[int, int, int, bytes | None]  # kafka_time, partition, offset, value


@dataclass(frozen=True)
class Kind:
    """One of the two inputs.

    Attributes:
        file: its schema.
        parsed: the same, parsed.
        good: whether a record can be counted.
        identity: the name of its id.
        version: of two records with one id the higher one holds.
        cell: where it counts.
    """

    file: str
    parsed: Any
    good: Callable[[dict[str, Any]], bool]
    identity: str
    version: Callable[[dict[str, Any]], tuple[int, bool]]
    cell: Callable[[dict[str, Any]], Cell]


RESPONSES = Kind(
    "survey_response.avsc",
    RESPONSE,
    good_response,
    "response_id",
    lambda record: (record["revision"], record["retracted"]),
    cell_of,
)
TOUCHPOINTS = Kind(
    "touchpoint_event.avsc", TOUCHPOINT, good_touchpoint, "event_id", lambda _: (0, False), action_cell
)


def recount_partition(
    result: Recount,
    partition: int,
    rows: Iterable[tuple[int, int, bytes | None]],
    horizon: int,
    kind: Kind = RESPONSES,
) -> None:
    """Add one partition's (offset, kafka_time, value) rows, in offset order."""
    known: dict[str, list[Any]] = {}  # id -> until, version, cell
    watermark = -(10**18)
    for offset, kafka_time, value in rows:
        result.read += 1
        record = decode(value, kind.file, kind.parsed)
        if record is None or not kind.good(record) or not _in_time(record, kafka_time):
            result.outcomes[partition, kafka_time // _DAY_MS, "dead_letter"] += 1
            result.dead.add((partition, offset))
            continue
        at, limit = ms(record["occurred_at"]), watermark - horizon
        watermark = max(watermark, at)
        outcome = _outcome(result, known, record, at, limit, kind)
        result.outcomes[partition, kafka_time // _DAY_MS, outcome] += 1
        result.kept[partition, offset] = (record, outcome)


def _outcome(
    result: Recount,
    known: dict[str, list[Any]],
    record: dict[str, Any],
    at: int,
    limit: int,
    kind: Kind,
) -> str:
    if at < limit:
        return "late"
    name, version, cells = record[kind.identity], kind.version(record), result.cells
    before = known.get(name)
    if before and before[0] < limit:
        before = None
        result.forgotten.add(name)
    if before and version <= before[1]:
        before[0] = max(before[0], at)
        return "duplicate" if version == before[1] else "stale"
    if before and before[2]:
        cells[before[2]] -= 1
    cell = None if version[1] else kind.cell(record)
    if cell:
        cells[cell] += 1
    known[name] = [max(at, before[0]) if before else at, version, cell]
    return "retracted" if version[1] else "counted"


async def read_topic(
    bootstrap: str, topic: str, partitions: int = 4
) -> dict[int, list[tuple[int, int, bytes | None]]]:
    """Partition -> (offset, kafka_time, value) of everything in a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=8 << 20
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        if not places:
            places = [TopicPartition(topic, p) for p in range(partitions)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        rows: dict[int, list[tuple[int, int, bytes | None]]] = {tp.partition: [] for tp in places}
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                rows[tp.partition] += [(r.offset, r.timestamp, r.value) for r in records]
        return rows
    finally:
        await consumer.stop()


async def recount_responses(bootstrap: str, topic: str, horizon: int = 7 * _DAY_MS) -> Recount:
    """Recount everything that stands in a topic of survey responses."""
    return recounted(await read_topic(bootstrap, topic), horizon)


def recounted(
    partitions: dict[int, list[tuple[int, int, bytes | None]]], horizon: int, kind: Kind = RESPONSES
) -> Recount:
    """What must come of a whole topic, as `read_topic` gives it."""
    result = Recount()
    for partition, rows in partitions.items():
        recount_partition(result, partition, rows, horizon, kind)
    result.cells = Counter({cell: n for cell, n in result.cells.items() if n})
    return result


async def full_recount_of_responses(bootstrap: str, topic: str, partitions: int = 4) -> Counter[Cell]:
    """Cells once every record counts, late ones too."""
    parts = await read_topic(bootstrap, topic, partitions)
    return full_recount((t, p, o, v) for p, part in parts.items() for o, t, v in part)


def full_recount(rows: Iterable[Row], kind: Kind = RESPONSES) -> Counter[Cell]:
    """Cells of (kafka_time, partition, offset, value) once every record counts."""
    return Counter(map(kind.cell, newest(rows, kind)))


def newest(rows: Iterable[Row], kind: Kind) -> list[dict[str, Any]]:
    """The newest version of each id, of equal ones the first; without those retracted."""
    best: dict[str, tuple[tuple[int, bool], dict[str, Any]]] = {}
    for kafka_time, _, _, value in sorted(rows, key=lambda row: row[:3]):
        record = decode(value, kind.file, kind.parsed)
        if record is not None and kind.good(record) and _in_time(record, kafka_time):
            version, identity = kind.version(record), record[kind.identity]
            if identity not in best or version > best[identity][0]:
                best[identity] = (version, record)
    return [record for (_, retracted), record in best.values() if not retracted]


async def published_cells(bootstrap: str, topic: str) -> Counter[Cell]:
    """What readers of the topic `cells` see: the highest version of each (cell, part), parts added up."""
    parsed = schema_of("cell.avsc")
    best: dict[tuple[Cell, int], tuple[int, int]] = {}
    for rows in (await read_topic(bootstrap, topic)).values():
        for _, _, value in rows:
            cell = decode(value, "cell.avsc", parsed)
            assert cell is not None, "the roll wrote something that is no cell"
            names = (cell["metric"], cell["instrument"], cell["touchpoint"], cell["channel"], cell["segment"])
            key: Cell = (*names, ms(cell["bucket"]) // 60_000, cell["bin"])
            old = best.get((key, cell["part"]))
            assert old is None or old[0] != cell["version"] or old[1] == cell["n"], f"two values of {key}"
            if old is None or cell["version"] > old[0]:
                best[key, cell["part"]] = (cell["version"], cell["n"])
    total: Counter[Cell] = Counter()
    for (key, _), (_, n) in best.items():
        total[key] += n
    return Counter({cell: n for cell, n in total.items() if n})


async def published_outcomes(bootstrap: str, topic: str, source: str) -> Counter[tuple[int, int, str]]:
    """The highest version of each outcome count."""
    parsed = schema_of("outcome.avsc")
    best: dict[tuple[int, int, str], tuple[int, int]] = {}
    for rows in (await read_topic(bootstrap, topic)).values():
        for _, _, value in rows:
            if value and IDS.get(int.from_bytes(value[1:5])) == "progress.avsc":
                continue
            row = decode(value, "outcome.avsc", parsed)
            assert row is not None, "the tally wrote something that is no outcome"
            if row["topic"] != source:
                continue
            day = row["day"].toordinal() - 719_163  # days since 1970
            key = (row["partition"], day, row["outcome"])
            if key not in best or row["version"] > best[key][0]:
                best[key] = (row["version"], row["n"])
    return Counter({key: n for key, (_, n) in best.items()})
