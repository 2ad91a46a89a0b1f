"""The raw tables, span by span of offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.verify.ask import frame
from pipeline.verify.lives import ACTIONS, CaseEvent
from pipeline.verify.terms import Terms
from pipeline.verify.told import Names

SPAN = 400_000  # offsets read at once: some forty bytes each
DAY_MS = 86_400_000
ASIDE = 1000  # a source topic that `feedback reset` put aside has this and more added to its partitions
_SEGMENT = "if(ifNull(segment, '') = '', 'none', assumeNotNull(segment))"
# A leaf travels as a hash of its names, so that columns are numbers. `cells` is hashed alike, see told.py.
LEAF = {
    "responses": f"sipHash64(concat(transform(instrument, {{names:Array(String)}}, {{metrics:Array(String)}}, ''), "
    f"char(0), instrument, char(0), touchpoint, char(0), channel, char(0), {_SEGMENT}))",
    "touchpoints": "sipHash64(concat('touchpoints', char(0), action, char(0), touchpoint, char(0), channel, char(0), "
    f"{_SEGMENT}))",
}
_ID = {"responses": "response_id", "touchpoints": "event_id"}
_VERSION = {"responses": "toInt64(revision) * 2 + retracted", "touchpoints": "toInt64(0)"}
_BIN = {"responses": "toInt64(score)", "touchpoints": "toInt64(0)"}
_WHERE = "kafka_partition = {partition:Int32} AND kafka_offset > {after:Int64} AND kafka_offset <= {to:Int64}"

Kind = Literal["responses", "touchpoints"]
KINDS: Sequence[Kind] = ("responses", "touchpoints")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first row that is held of a partition: its offset and its kafka_time, milliseconds since 1970."""

    offset: int
    time: int

    def late(self, told: int | None, oldest: int) -> bool:
        """Whether rows before it were dropped.

        Args:
            told: first day, since 1970, of which the store tells outcomes of the partition; None if of none.
            oldest: kafka_time before which the retention drops rows, milliseconds since 1970.
        """
        return told is not None and told * DAY_MS < oldest - DAY_MS and self.offset > 0


class RawTable:
    """The raw rows of one input.

    Args:
        client: of the store.
        kind: which input.
        metrics: instrument -> metric.
    """

    def __init__(self, client: Client, kind: Kind, metrics: Mapping[str, str]) -> None:
        self.kind = kind
        self._client = client
        self._metrics: dict[str, Any] = {"names": list(metrics), "metrics": list(metrics.values())}

    def beginnings(self) -> dict[int, Beginning]:
        """Of each partition the first row that is held; without topics that were put aside."""
        rows = frame(
            self._client,
            "SELECT toInt64(kafka_partition) AS p, min(kafka_offset) AS first, "  # noqa: S608 - a table of ours
            f"toUnixTimestamp64Milli(argMin(kafka_time, kafka_offset)) AS time FROM {self.kind} "
            f"WHERE p < {ASIDE} GROUP BY p",
        )
        return {p: Beginning(first, time) for p, first, time in rows.iter_rows()}

    def arrived_since(self, time: int) -> dict[int, Beginning]:
        """Of each partition the first row that came at a time or later, or the offset behind the last row."""
        rows = frame(
            self._client,
            "SELECT toInt64(kafka_partition) AS p, ifNull(minOrNullIf(kafka_offset, "  # noqa: S608 - a table of ours
            "kafka_time >= fromUnixTimestamp64Milli({time:Int64})), max(kafka_offset) + 1) AS first "
            f"FROM {self.kind} WHERE p < {ASIDE} GROUP BY p",
            time=time,
        )
        return {p: Beginning(first, time) for p, first in rows.iter_rows()}

    def rows(self, partition: int, after: int, to: int) -> pl.DataFrame:
        """What `Ledger.take` wants of the offsets after `after` up to `to`."""
        kind = self.kind
        sql = f"""
            SELECT kafka_offset AS offset, toUnixTimestamp64Milli(occurred_at) AS at,
                intDiv(toUnixTimestamp64Milli(kafka_time), {DAY_MS}) AS day, sipHash64({_ID[kind]}) AS id,
                {_VERSION[kind]} AS version, {LEAF[kind]} AS leaf, {_BIN[kind]} AS bin
            FROM {kind} FINAL WHERE {_WHERE} ORDER BY kafka_offset
        """  # noqa: S608 - names of our own, no values
        span = {"partition": partition, "after": after, "to": to}
        given: dict[str, Any] = self._metrics if kind == "responses" else {}
        return frame(self._client, sql, monthly=True, **span, **given)

    def leaves(self) -> dict[int, Names]:
        """Every leaf of the table by its hash."""
        metric, instrument = (
            ("transform(instrument, {names:Array(String)}, {metrics:Array(String)}, '')", "instrument")
            if self.kind == "responses"
            else ("'touchpoints'", "action")
        )
        rows = frame(
            self._client,
            f"SELECT DISTINCT {LEAF[self.kind]}, {metric}, {instrument}, touchpoint, channel, {_SEGMENT} "  # noqa: S608 - ours
            f"FROM {self.kind}",
            **(self._metrics if self.kind == "responses" else {}),
        )
        return {leaf: Names(*names) for leaf, *names in rows.iter_rows()}

    def answers(
        self, partition: int, after: int, to: int, terms: Terms, also: Sequence[int] = ()
    ) -> pl.DataFrame:
        """Of a span those that may call for a follow-up or end one, in the order of offsets.

        A good answer of revision 0 ends none, unless it replaces one with a number below: those are in `also`.

        Columns: offset, response_id, whether it calls for one, at, instrument, score, touchpoint, channel, segment,
        customer_id, case_id, kafka_time.
        """
        alarms = {name: one for name, one in terms.alarms.items() if one[0] in terms.calls} or {
            "": ("", 1, 0)
        }
        sql = f"""
            SELECT kafka_offset AS offset, response_id, NOT retracted AND arrayExists((name, low, high) ->
                name = toString(instrument) AND score >= low AND score <= high, {{names:Array(String)}},
                {{lows:Array(Int64)}}, {{highs:Array(Int64)}}) AS bad, toUnixTimestamp64Milli(occurred_at) AS at,
                instrument, toInt64(score) AS given, touchpoint, channel, segment, customer_id, case_id,
                toUnixTimestamp64Milli(kafka_time) AS time
            FROM responses FINAL WHERE {_WHERE} AND (bad OR revision > 0 OR retracted
                OR has({{also:Array(Int64)}}, kafka_offset)) ORDER BY kafka_offset
        """  # noqa: S608 - names of our own, no values
        _, lows, highs = (list(column) for column in zip(*alarms.values(), strict=True))
        ends: dict[str, Any] = {"names": list(alarms), "lows": lows, "highs": highs}
        span = {"partition": partition, "after": after, "to": to, "also": list(also)}
        return frame(self._client, sql, monthly=True, **span, **ends)

    def case_events(
        self, partition: int, after: int, to: int, counted: pl.Series
    ) -> Iterator[tuple[CaseEvent, int]]:
        """Those of a span that count and belong to a case, and their kafka_time."""
        sql = f"""
            SELECT kafka_offset AS offset, assumeNotNull(case_id) AS case_id,
                toUnixTimestamp64Milli(occurred_at) AS at, action, touchpoint, channel, segment, priority,
                customer_id, toUnixTimestamp64Milli(kafka_time) AS time
            FROM touchpoints FINAL
            WHERE {_WHERE} AND ifNull(case_id, '') != ''
                AND has({{actions:Array(String)}}, action)
        """  # noqa: S608 - names of our own, no values
        span = {"partition": partition, "after": after, "to": to}
        rows = frame(self._client, sql, monthly=True, actions=list(ACTIONS), **span)
        some = rows.join(counted.rename("offset").to_frame(), on="offset", how="semi").drop("offset")
        return ((CaseEvent(*event), time) for *event, time in some.iter_rows())
