"""`FullRecount`: every cell of a span of time from all raw rows: late ones too, the newest version of each id.

The store adds up what it holds; only the ends of cases are found here. Rows above 1000 in `kafka_partition` are of a
source topic that `feedback reset` has put aside: they are counted by their ids like all others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client

from pipeline.rebuild.difference import MAYBE, RECOUNTED
from pipeline.verify.ask import frame
from pipeline.verify.clocks import observed
from pipeline.verify.hours import HOUR_MS, MINUTE_MS
from pipeline.verify.lives import ACTIONS, CaseEvent
from pipeline.verify.raw import ASIDE
from pipeline.verify.terms import Promise, Terms

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
_WATERMARKS = (
    f"SELECT toInt64(kafka_partition) AS p, max({_AT}) AS mark FROM touchpoints WHERE {_COUNTED} GROUP BY p"  # noqa: S608 - ours
)
_ACTIONS = ", ".join(map(repr, ACTIONS))
# All events of the cases of which something may end in the span: there, or because time goes on.
_CASES = f"""
    WITH ends AS
    (
        SELECT DISTINCT sipHash64(case_id) FROM touchpoints
        WHERE {_COUNTED} AND ifNull(case_id, '') != '' AND
        (
            action IN ({_ACTIONS}) AND {_SPAN}
            OR action = 'case_resolved' AND {_AT} + {{one_contact:Int64}} >= {{first:Int64}}
                AND {_AT} + {{one_contact:Int64}} < {{stop:Int64}}
            OR action = 'case_opened' AND arrayExists(
                (p, low, high) -> p = toString(ifNull(priority, '')) AND {_AT} >= low AND {_AT} < high,
                {{priorities:Array(String)}}, {{earliest:Array(Int64)}}, {{before:Array(Int64)}})
        )
    )
    SELECT assumeNotNull(first.1) AS case_id, first.2 AS at, first.3 AS action, first.4 AS touchpoint,
        first.5 AS channel, first.6 AS segment, first.7 AS priority, first.8 AS customer_id, first.9 AS p
    FROM
    (
        SELECT argMax(
            (case_id, {_AT}, toString(action), toString(touchpoint), toString(channel),
             CAST(segment, 'Nullable(String)'), CAST(priority, 'Nullable(String)'), customer_id,
             toInt64(kafka_partition)), ({_PLACE})) AS first
        FROM touchpoints
        WHERE {_COUNTED} AND sipHash64(event_id) IN
            (SELECT sipHash64(event_id) FROM touchpoints WHERE {_COUNTED} AND sipHash64(case_id) IN ends)
        GROUP BY event_id
    )
    WHERE action IN ({_ACTIONS}) AND ifNull(first.1, '') != ''
    ORDER BY case_id
"""  # noqa: S608 - names of our own, no values


class FullRecount:
    """All that the raw tables hold.

    Args:
        client: of the store.
        metrics: instrument -> metric, the mapping in force.
        cases: whether the clocks of cases are recounted; they need all events of a case.
        terms: what the configuration says of cases.
    """

    def __init__(self, client: Client, metrics: Mapping[str, str], terms: Terms, *, cases: bool) -> None:
        self._client = client
        self._terms = terms
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
            parts.append(self._case_cells(span, _until(touchpoints)))
        whole = RECOUNTED | MAYBE
        parts = [part if "maybe" in part.columns else part.with_columns(maybe=pl.lit(0)) for part in parts]
        return pl.concat([part.select(*whole).cast(whole) for part in parts])  # type: ignore[arg-type]  # a mapping of types

    def _case_cells(self, span: dict[str, Any], until: dict[str, Any]) -> pl.DataFrame:
        marks = frame(self._client, _WATERMARKS, **until)
        events = frame(self._client, _CASES, **span, **until, **self._openings(**span))
        cells = case_cells(events, self._terms, dict(marks.iter_rows()), round(time.time() * 1000))
        return cells.filter(
            pl.col("minute").is_between(span["first"] // MINUTE_MS, span["stop"] // MINUTE_MS - 1)
        )

    def _openings(self, first: int, stop: int) -> dict[str, Any]:
        """When cases were opened whose promise is due in the span, by priority; and resolved, so that it is final."""
        promises = {"": Promise(0)} | dict(self._terms.promises)  # never empty: the store wants a type
        return {
            "one_contact": self._terms.one_contact_ms,
            "priorities": list(promises),
            "earliest": [one.first_opening(first) for one in promises.values()],
            "before": [one.first_opening(stop) for one in promises.values()],
        }


def case_cells(events: pl.DataFrame, terms: Terms, passed: Mapping[int, int], now: int) -> pl.DataFrame:
    """The cells of cases, of all time: columns of RECOUNTED and MAYBE.

    Args:
        events: each event of the cases once: case_id, at, action, touchpoint, channel, segment, priority,
            customer_id, p; those of a case side by side.
        terms: of the configuration.
        passed: source partition -> its watermark. By its own clock a worker may already have told what is due
            between that and now; both are right.
        now: milliseconds since 1970.
    """
    counts: Counter[tuple[Any, ...]] = Counter()
    totals: Counter[tuple[Any, ...]] = Counter()
    maybe: Counter[tuple[Any, ...]] = Counter()
    for _, rows in groupby(events.iter_rows(), key=itemgetter(0)):
        case = list(rows)
        time = min(now, max(now if row[-1] >= ASIDE else passed.get(row[-1], 0) for row in case))
        for *cell, milliseconds, due in observed((CaseEvent(*row[:-1]) for row in case), terms):
            if due is None or due <= time:
                counts[*cell] += 1
                totals[*cell] += milliseconds
            elif due <= now + HOUR_MS:
                maybe[*cell] += 1
    found = [(*cell, counts[cell], totals[cell], maybe[cell]) for cell in counts | maybe]
    return pl.DataFrame(found, schema=RECOUNTED | MAYBE, orient="row")


def _until(to: Mapping[int, int]) -> dict[str, Any]:
    """As parameters; a partition that is not named is not counted yet. Never empty: the store wants a type."""
    known = {**to, -1: -1}
    return {"partitions": list(known), "offsets": list(known.values())}
