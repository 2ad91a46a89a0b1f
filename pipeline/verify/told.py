"""What the store tells: outcome counts, cells, dead letters, and how far each stage has come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify.ask import frame
from pipeline.verify.clocks import MEASURES

Place = tuple[str, int]  # topic, partition
SURVEY = (
    "survey"  # stands for the metric of a survey where it does not matter: the mapping may have changed since
)
_SURVEYS = ("nps", "csat", "ces")
_IS_SURVEY = f"(metric IN {_SURVEYS} OR startsWith(metric, 'net_'))"


def is_survey(metric: str) -> bool:
    """Whether responses count in it."""
    return metric in _SURVEYS or metric.startswith("net_")


def _leaf(*, mapped: bool) -> str:
    """The hash of a leaf; with `mapped` the metric is part of it, else only that it is one of surveys."""
    metric = "metric" if mapped else f"if({_IS_SURVEY}, '{SURVEY}', toString(metric))"
    return f"sipHash64(concat({metric}, char(0), instrument, char(0), touchpoint, char(0), channel, char(0), segment))"


class Names(NamedTuple):
    """The names that a leaf stands for."""

    metric: str
    instrument: str
    touchpoint: str
    channel: str
    segment: str


class Outcomes(NamedTuple):
    """Counts of outcomes, and of each partition the source offset up to which they are told."""

    counts: Mapping[tuple[str, int, int, str], int]  # topic, partition, day, outcome
    applied: Mapping[Place, int]


class Restart(NamedTuple):
    """What the last `feedback reset` left behind; all empty without one.

    Attributes:
        begins: the offset at which live counting began anew; what lies before counts by `feedback rebuild` only.
        kept_before: cells of minutes before this one are all that is left of their raw rows.
        earliest: the oldest kafka_time ever held by the raw tables, milliseconds since 1970; None if not known.
    """

    begins: Mapping[Place, int]
    kept_before: int
    earliest: int | None


def restart(client: Client) -> Restart:
    """The newest one."""
    rows = frame(
        client,
        "SELECT mapKeys(begins), mapValues(begins), kept_before, earliest FROM resets FINAL "
        "ORDER BY number DESC LIMIT 1",
    )
    if rows.is_empty():
        return Restart({}, 0, None)
    keys, values, kept_before, earliest = rows.row(0)
    places = [key.rpartition("/") for key in keys]
    begins = {(topic, int(p)): begin for (topic, _, p), begin in zip(places, values, strict=True)}
    return Restart(begins, kept_before, earliest)


def rules_since(client: Client, rules: str) -> int | None:
    """From which kafka_time on these rules measure cases and answers, milliseconds since 1970; 0: always.

    A reset has everything counted anew, by those of now. Of rules that `setup` was not told of nobody knows since when
    workers have had them: None.
    """
    rows = frame(
        client,
        "SELECT argMax(rules, since) AS last, toUnixTimestamp64Milli(maxIf(since, since > "
        "(SELECT max(saved) FROM resets))) AS changed FROM measuring_rules",
    )
    last, changed = rows.row(0)
    return None if last and last != rules else max(0, int(changed))


def horizons_since(client: Client) -> dict[str, int]:
    """Input -> from which kafka_time on its horizon is the one of now, milliseconds since 1970; 0: always.

    A reset has everything counted anew, by that of now.
    """
    rows = frame(
        client,
        "SELECT input, toUnixTimestamp64Milli(maxIf(since, since > (SELECT max(saved) FROM resets))) AS changed "
        "FROM horizons GROUP BY input",
    )
    return {name: max(0, changed) for name, changed in rows.iter_rows()}


def metrics_of_instruments(client: Client) -> dict[str, str]:
    """Instrument -> metric."""
    return dict(frame(client, "SELECT name, metric FROM instruments FINAL").iter_rows())


def outcomes(client: Client, topics: Collection[str]) -> Outcomes:
    """All counts; one question, so that counts and offsets are of one moment."""
    rows = frame(
        client,
        "SELECT topic, toInt64(partition) AS p, toInt64(toUInt16(day)) AS d, outcome, n, toInt64(version) AS v "
        "FROM outcome_counts FINAL WHERE topic IN {topics:Array(String)}",
        topics=list(topics),
    )
    counts = {(t, p, d, outcome): n for t, p, d, outcome, n, _ in rows.iter_rows()}
    applied = rows.group_by("topic", "p").agg(pl.col("v").max())
    return Outcomes(counts, {(t, p): v for t, p, v in applied.iter_rows()})


def first_days(outcomes: Outcomes, topic: str) -> dict[int, int]:
    """Partition -> the first day, since 1970, of which outcomes are told."""
    days: dict[int, int] = {}
    for t, p, day, _ in outcomes.counts:
        if t == topic:
            days[p] = min(day, days.get(p, day))
    return days


def progress(client: Client, stage: str) -> dict[Place, int]:
    """How far a stage has come: the last source offset that is done."""
    rows = frame(
        client,
        "SELECT topic, toInt64(partition) AS p, max(offset) AS last FROM progress WHERE stage = {stage:String} "
        "GROUP BY topic, p",
        stage=stage,
    )
    return {(t, p): last for t, p, last in rows.iter_rows()}


class Deltas(NamedTuple):
    """Numbers of changes of cells by (topic, partition, part of the roll): owed by the tally, and in the cells."""

    owed: Mapping[tuple[str, int, str], int]
    done: Mapping[tuple[str, int, str], int]


def deltas(client: Client, topics: Collection[str]) -> Deltas:
    """How far the cells are, in numbers that grow by one with each change that the tally hands to the roll."""
    rows = frame(
        client,
        "SELECT topic, toInt64(partition) AS p, splitByChar('/', stage)[2] AS part, "
        "maxIf(offset, startsWith(stage, 'deltas/')) AS owed, maxIf(offset, startsWith(stage, 'roll/')) AS done "
        "FROM progress WHERE match(stage, '^(deltas|roll)/') AND topic IN {topics:Array(String)} "
        "GROUP BY topic, p, part",
        topics=list(topics),
    )
    owed = {(t, p, part): number for t, p, part, number, _ in rows.iter_rows()}
    return Deltas(owed, {(t, p, part): number for t, p, part, _, number in rows.iter_rows()})


def dead_letters(client: Client, place: Place, begin: int, to: int) -> Counter[int]:
    """Day of kafka_time since 1970 -> dead letters of a partition from an offset up to another, both included."""
    rows = frame(
        client,
        "SELECT intDiv(toUnixTimestamp64Milli(time), 86400000) AS day, toInt64(count()) AS n "
        "FROM dead_letters FINAL "
        "WHERE topic = {topic:String} AND partition = {partition:Int32} "
        "AND offset >= {begin:Int64} AND offset <= {to:Int64} GROUP BY day",
        topic=place[0],
        partition=place[1],
        begin=begin,
        to=to,
    )
    return Counter(dict(rows.iter_rows()))


def cells(
    client: Client, first: int, last: int, origins: Sequence[str] = ("live",), *, mapped: bool = False
) -> pl.DataFrame:
    """Cells of the minutes `first` to `last`, parts added up: leaf, minute, bin, n, total in thousandths."""
    return frame(
        client,
        f"""
        SELECT {_leaf(mapped=mapped)} AS leaf, intDiv(toInt64(toUnixTimestamp(bucket)), 60) AS minute,
            toInt64(cells.bin) AS bin, sum(cells.n) AS n, toInt64(round(sum(cells.total) * 1000)) AS total
        FROM cells FINAL
        WHERE origin IN {{origins:Array(String)}}
            AND bucket >= toDateTime({{first:Int64}} * 60) AND bucket <= toDateTime({{last:Int64}} * 60)
        GROUP BY leaf, minute, bin HAVING n != 0 OR total != 0
        """,  # noqa: S608 - names of our own, no values
        monthly=True,
        origins=list(origins),
        first=max(0, first),
        last=min((1 << 32) // 60 - 1, last),
    )


def leaves_told(client: Client, *, mapped: bool = False) -> dict[int, Names]:
    """Every leaf of the cells by its hash."""
    columns = ", ".join(Names._fields)
    rows = frame(client, f"SELECT DISTINCT {_leaf(mapped=mapped)} AS leaf, {columns} FROM cells")  # noqa: S608 - ours
    return {leaf: Names(*names) for leaf, *names in rows.iter_rows()}


def resolution_leaves(client: Client) -> dict[Names, int]:
    """The hash of every leaf that a case may count in."""
    rows = frame(
        client,
        f"SELECT DISTINCT {_leaf(mapped=True)} AS leaf, metric, instrument, touchpoint, channel, segment "  # noqa: S608 - ours
        "FROM (SELECT arrayJoin(arrayZip({metrics:Array(String)}, {instruments:Array(String)})) AS measure, "
        "measure.1 AS metric, measure.2 AS instrument, touchpoint, channel, "
        "if(ifNull(segment, '') = '', 'none', assumeNotNull(segment)) AS segment "
        "FROM touchpoints WHERE action = 'case_opened')",
        metrics=[metric for metric, _ in MEASURES],
        instruments=[instrument for _, instrument in MEASURES],
    )
    return {Names(*names): leaf for leaf, *names in rows.iter_rows()}
