"""`FullRecount`: every cell of a span of time from all raw rows: late ones too, the newest version of each id.

The store adds up what it holds; only the ends of cases are found here. Rows above 1000 in `kafka_partition` are of a
source topic that `feedback reset` has put aside: they are counted by their ids like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.measures.bins import bins_of
from pipeline.rebuild.difference import CELL, RECOUNTED
from pipeline.verify.ask import frame
from pipeline.verify.clocks import ACTIONS
from pipeline.verify.raw import ASIDE

MINUTE_MS = 60_000
CLOCKS = ("first_reply", "first_resolution", "full_resolution")
_AT = "toUnixTimestamp64Milli(occurred_at)"
_TIME = "toUnixTimestamp64Milli(kafka_time)"
_SEGMENT = "if(ifNull(segment, '') = '', 'none', toString(assumeNotNull(segment)))"
# The earlier of two equal versions holds, as in the view `current_responses`.
_PLACE = f"-{_TIME}, -toInt64(kafka_partition), -kafka_offset"
_COUNTED = (
    f"(kafka_partition >= {ASIDE} OR kafka_offset <= "
    "transform(toInt64(kafka_partition), {partitions:Array(Int64)}, {offsets:Array(Int64)}, toInt64(-1)))"
)
_SPAN = f"{_AT} >= {{first:Int64}} AND {_AT} < {{stop:Int64}}"
_MINUTE = f"intDiv(newest.1, {MINUTE_MS}) AS minute"
_GROUP = "GROUP BY metric, instrument, touchpoint, channel, segment, minute, bin"

_RESPONSES = f"""
    SELECT transform(newest.2, {{names:Array(String)}}, {{metrics:Array(String)}}, '') AS metric,
        newest.2 AS instrument, newest.3 AS touchpoint, newest.4 AS channel, newest.5 AS segment, {_MINUTE},
        toInt64(newest.6) AS bin, toInt64(count()) AS n, bin * n * 1000 AS total
    FROM
    (
        SELECT argMax(
            ({_AT}, toString(instrument), toString(touchpoint), toString(channel), {_SEGMENT}, score, retracted),
            (revision, retracted, {_PLACE})) AS newest
        FROM responses
        WHERE {_COUNTED} AND sipHash64(response_id) IN
            (SELECT sipHash64(response_id) FROM responses WHERE {_COUNTED} AND {_SPAN})
        GROUP BY response_id
    )
    WHERE newest.1 >= {{first:Int64}} AND newest.1 < {{stop:Int64}} AND NOT newest.7
    {_GROUP}
"""  # noqa: S608 - names of our own, no values
_TOUCHPOINTS = f"""
    SELECT 'touchpoints' AS metric, newest.2 AS instrument, newest.3 AS touchpoint, newest.4 AS channel,
        newest.5 AS segment, {_MINUTE}, toInt64(0) AS bin, toInt64(count()) AS n, toInt64(0) AS total
    FROM
    (
        SELECT argMax(({_AT}, toString(action), toString(touchpoint), toString(channel), {_SEGMENT}), ({_PLACE}))
            AS newest
        FROM touchpoints
        WHERE {_COUNTED} AND sipHash64(event_id) IN
            (SELECT sipHash64(event_id) FROM touchpoints WHERE {_COUNTED} AND {_SPAN})
        GROUP BY event_id
    )
    WHERE newest.1 >= {{first:Int64}} AND newest.1 < {{stop:Int64}}
    {_GROUP}
"""  # noqa: S608 - names of our own, no values
# All events of the cases of which something ends in the span.
_CASES = f"""
    WITH ends AS
    (
        SELECT DISTINCT sipHash64(case_id) FROM touchpoints
        WHERE {_COUNTED} AND {_SPAN} AND action IN ('case_replied', 'case_resolved') AND ifNull(case_id, '') != ''
    )
    SELECT assumeNotNull(first.1) AS case_id, first.2 AS at, first.3 AS action, first.4 AS touchpoint,
        first.5 AS channel, first.6 AS segment, first.7 AS priority
    FROM
    (
        SELECT argMax(
            (case_id, {_AT}, toString(action), toString(touchpoint), toString(channel),
             CAST(segment, 'Nullable(String)'), CAST(priority, 'Nullable(String)')), ({_PLACE})) AS first
        FROM touchpoints
        WHERE {_COUNTED} AND sipHash64(event_id) IN
            (SELECT sipHash64(event_id) FROM touchpoints WHERE {_COUNTED} AND sipHash64(case_id) IN ends)
        GROUP BY event_id
    )
    WHERE action IN ({", ".join(map(repr, ACTIONS))}) AND ifNull(first.1, '') != ''
"""  # noqa: S608 - names of our own, no values


class FullRecount:
    """All that the raw tables hold.

    Args:
        client: of the store.
        metrics: instrument -> metric, the mapping in force.
        cases: whether the clocks of cases are recounted; they need all events of a case.
        forget_ms: how long a case may be silent before it is another one.
    """

    def __init__(self, client: Client, metrics: Mapping[str, str], forget_ms: int, *, cases: bool) -> None:
        self._client = client
        self._forget_ms = forget_ms
        self._metrics: dict[str, Any] = {"names": list(metrics), "metrics": list(metrics.values())}
        self._cases = cases

    def cells(
        self,
        first: int,
        stop: int,
        responses: Mapping[int, int],
        touchpoints: Mapping[int, int],
    ) -> pl.DataFrame:
        """The cells of the minutes `first` up to, not including, `stop`: columns of RECOUNTED.

        Args:
            first: minutes since 1970.
            stop: minutes since 1970.
            responses: partition -> the last offset that is taken.
            touchpoints: the same of the other input.
        """
        span: dict[str, Any] = {"first": first * MINUTE_MS, "stop": stop * MINUTE_MS}
        parts = [
            frame(self._client, _RESPONSES, **span, **_until(responses), **self._metrics),
            frame(self._client, _TOUCHPOINTS, **span, **_until(touchpoints)),
        ]
        if self._cases:
            events = frame(self._client, _CASES, **span, **_until(touchpoints))
            parts.append(clock_cells(events, first, stop, self._forget_ms))
        return pl.concat([part.select(*RECOUNTED).cast(RECOUNTED) for part in parts])  # type: ignore[arg-type]  # a mapping of types


def clock_cells(events: pl.DataFrame, first: int, stop: int, forget_ms: int) -> pl.DataFrame:
    """The cells of cases in a span of minutes.

    Args:
        events: each event of the cases once: case_id, at, action, touchpoint, channel, segment, priority.
        first: minutes since 1970.
        stop: minutes since 1970; not included.
        forget_ms: how long a case may be silent before it is another one.
    """
    events = events.sort("case_id", "at")
    silence = (pl.col("at").diff() > forget_ms) | (pl.col("case_id") != pl.col("case_id").shift())
    events = events.with_columns(life=silence.fill_null(True).cum_sum())
    order = ["life", "at", "touchpoint", "channel", "segment", "priority"]
    opened = events.filter(pl.col("action") == "case_opened").sort(order, nulls_last=True)
    opened = opened.unique("life", keep="first", maintain_order=True).with_columns(opened="at")
    after = events.select("life", "action", end="at").join(opened.drop("action", "at"), on="life")
    after = after.filter(pl.col("end") >= pl.col("opened"))
    replied, resolved = (after.filter(action=action) for action in ("case_replied", "case_resolved"))
    ends = zip(CLOCKS, (replied, resolved, resolved), (False, False, True), strict=True)
    seen = pl.concat(
        [_end_of_each(rows, last=last).with_columns(instrument=pl.lit(c)) for c, rows, last in ends]
    )
    seen = seen.with_columns(took=pl.col("end") - pl.col("opened"), minute=pl.col("end") // MINUTE_MS)
    segment = pl.when(pl.col("segment").fill_null("") == "").then(pl.lit("none")).otherwise("segment")
    bins = pl.Series(bins_of(seen["took"].to_numpy()), dtype=pl.Int64)
    cells = seen.with_columns(metric=pl.lit("resolution"), segment=segment, bin=bins)
    cells = cells.filter(pl.col("minute").is_between(first, stop, closed="left"))
    return cells.group_by(CELL).agg(n=pl.len().cast(pl.Int64), total=pl.col("took").sum())


def _end_of_each(rows: pl.DataFrame, *, last: bool) -> pl.DataFrame:
    """Of each life the row that ends first, or last."""
    return rows.sort("end", descending=last).unique("life", keep="first", maintain_order=True)


def _until(to: Mapping[int, int]) -> dict[str, Any]:
    """As parameters; a partition that is not named is not counted yet. Never empty: the store wants a type."""
    known = {**to, -1: -1}
    return {"partitions": list(known), "offsets": list(known.values())}
