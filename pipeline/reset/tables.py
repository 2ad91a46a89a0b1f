"""What a reset does to the store: raw rows stay, everything that was counted goes.

Each step can be taken again. What must not be taken again, once the next has begun, is marked in table `resets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from pipeline.errors import FeedbackError
from pipeline.reset.topics import Stored

PLANNED, KEPT, DONE = "planned", "kept", "done"
ASIDE = 1000  # see `verify.raw`
_RAW = ("responses", "touchpoints", "resolutions", "follow_ups")
_DIMENSIONS = "metric, instrument, touchpoint, channel, segment, bucket, bin"
_AT_ONCE = {"mutations_sync": 2, "lightweight_deletes_sync": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """One reset, as table `resets` has it; see there."""

    number: int
    step: str
    aside: tuple[str, ...]
    begins: Mapping[str, int]
    kept_before: int
    earliest: int


def newest(client: Client) -> Plan | None:
    """The last reset, done or not."""
    rows = client.query(
        "SELECT number, step, aside, begins, kept_before, earliest FROM resets FINAL ORDER BY number DESC LIMIT 1"
    ).result_rows
    if not rows:
        return None
    number, step, aside, begins, kept_before, earliest = rows[0]
    return Plan(number, step, tuple(aside), dict(begins), kept_before, earliest)


def half_done(client: Client) -> bool:
    """Whether a reset was broken off; not where there is no table of them yet."""
    try:
        before = newest(client)
    except DatabaseError:
        return False
    return before is not None and before.step != DONE


def save(client: Client, plan: Plan) -> None:
    """Put down how far a reset is."""
    names = ["number", "step", "aside", "begins", "kept_before", "earliest"]
    row = [plan.number, plan.step, list(plan.aside), dict(plan.begins), plan.kept_before, plan.earliest]
    client.insert("resets", [row], names)


def last_rows(client: Client, kind: str, topic: str) -> dict[int, Stored]:
    """Partition -> the last raw row or dead letter of an input.

    Args:
        client: of the store.
        kind: responses or touchpoints.
        topic: its full name.
    """
    rows = client.query(
        f"""
        SELECT toInt64(p), max(offset), toUnixTimestamp64Milli(argMax(time, offset)) FROM
        (
            SELECT kafka_partition AS p, kafka_offset AS offset, kafka_time AS time FROM {kind}
            UNION ALL
            SELECT partition, offset, time FROM dead_letters WHERE topic = {{topic:String}}
        )
        WHERE p < {ASIDE} GROUP BY p
        """,  # noqa: S608 - a table of ours
        parameters={"topic": topic},
    ).result_rows
    return {p: Stored(offset, at) for p, offset, at in rows}


def earliest(client: Client) -> int:
    """The oldest kafka_time of the raw tables, milliseconds since 1970; a large number if they are empty."""
    rows = client.query(
        "SELECT min(at) FROM (SELECT min(kafka_time) AS at, count() AS n FROM responses HAVING n > 0 UNION ALL "
        "SELECT min(kafka_time), count() AS n FROM touchpoints HAVING n > 0) HAVING count() > 0"
    ).result_rows
    return round(rows[0][0].timestamp() * 1000) if rows else 1 << 60


def clean(client: Client, plan: Plan, prefix: str, say: Callable[[str], None]) -> Plan:
    """Every step in the store.

    Args:
        client: may write.
        plan: what is to be done.
        prefix: of the topics.
        say: is told what is being done.
    """
    _put_aside(client, plan, prefix, say)
    if plan.step == PLANNED:
        say("keeping cells whose raw rows are gone")
        _keep(client, plan)
        plan = replace(plan, step=KEPT)
        save(client, plan)
    say("deleting what was counted")
    _run(client, "DELETE FROM cells WHERE origin = 'live'")
    _run(
        client,
        "DELETE FROM cells WHERE origin = 'rebuild' AND bucket >= toDateTime({minute:Int64} * 60)",
        minute=plan.kept_before,
    )
    for table in ("outcome_counts", "progress", "rebuilds"):
        _run(client, f"TRUNCATE TABLE {table}")
    return plan


def _put_aside(client: Client, plan: Plan, prefix: str, say: Callable[[str], None]) -> None:
    """Rows of topics that were made anew: new offsets must not replace them. What is derived always is."""
    for table in _RAW:
        if f"{prefix}.{table.replace('_', '-')}" in plan.aside:
            say(f"putting rows of {table} aside")
            _move(client, table, "kafka_partition", "1", plan.number, say)
    for topic in plan.aside:
        say(f"putting dead letters of {topic} aside")
        _move(client, "dead_letters", "partition", "topic = {topic:String}", plan.number, say, topic=topic)


def _move(
    client: Client,
    table: str,
    partition: str,
    which: str,
    number: int,
    say: Callable[[str], None],
    **parameters: str,
) -> None:
    """A partition is part of the key, which cannot be changed in place: copy, count, then delete."""
    low = number * ASIDE
    old = f"{which} AND {partition} < {ASIDE}"
    new = f"{which} AND {partition} >= {low} AND {partition} < {low + ASIDE}"
    # the condition stands inside: beside REPLACE it would read the new number
    rows = f"(SELECT * FROM {table} FINAL WHERE {old})"  # noqa: S608 - names and numbers of our own
    moved = f"SELECT * REPLACE(toInt32({partition} + {low}) AS {partition}) FROM {rows}"  # noqa: S608 - the same
    _run(client, f"INSERT INTO {table} {moved}", **parameters)
    before, after = (_count(client, table, rows, parameters) for rows in (old, new))
    if after < before:
        msg = f"only {after} of {before} rows of {table} were put aside; nothing was deleted: run feedback reset again"
        raise FeedbackError(msg)
    say("deleting what was copied")
    _run(client, f"ALTER TABLE {table} DELETE WHERE {old}", **parameters)


def _count(client: Client, table: str, condition: str, parameters: Mapping[str, str]) -> int:
    question = f"SELECT count() FROM {table} FINAL WHERE {condition}"  # noqa: S608 - names and numbers of our own
    return int(client.query(question, parameters=dict(parameters)).result_rows[0][0])


def _keep(client: Client, plan: Plan) -> None:
    """Live cells that no recount can make any more become rebuild cells of a part that no rebuild writes."""
    _run(
        client,
        f"""
        INSERT INTO cells ({_DIMENSIONS}, origin, part, n, total, version)
        SELECT {_DIMENSIONS}, 'rebuild', {{part:Int64}}, sum(n) AS count, sum(total), 1 FROM cells FINAL
        WHERE origin = 'live' AND bucket < toDateTime({{minute:Int64}} * 60)
        GROUP BY {_DIMENSIONS} HAVING count != 0
        """,  # noqa: S608 - names of our own, no values
        part=plan.number,
        minute=plan.kept_before,
    )


def _run(client: Client, statement: str, **parameters: Any) -> None:
    client.command(statement, parameters=parameters, settings=_AT_ONCE)
