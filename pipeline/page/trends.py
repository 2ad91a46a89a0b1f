"""The lines of the last 24 hours: the questions to the store, and its answers as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STEP = 3600  # seconds of one point
POINTS = 24

_POINT = f"toUnixTimestamp(toStartOfInterval(bucket, INTERVAL {STEP} SECOND))"
_SINCE = f"bucket >= toStartOfInterval(now(), INTERVAL {STEP} SECOND) - INTERVAL {STEP * (POINTS - 1)} SECOND"


def _question(metric: str, view: str, value: str) -> str:
    return (
        f"SELECT '{metric}' AS metric, instrument, touchpoint, "  # noqa: S608 - made of constants
        f"{_POINT} AS point, {value} AS value FROM {view} WHERE {_SINCE} "
        "GROUP BY GROUPING SETS ((instrument, touchpoint, point), (instrument, point))"
    )


# A point without answers has no row. The overall line has an empty touchpoint.
QUESTION = " UNION ALL ".join(
    (
        _question("csat", "csat", "sum(satisfied) / sum(n)"),
        _question("nps", "nps", "100 * (sum(promoters) - sum(detractors)) / sum(n)"),
        _question("ces", "ces", "sum(score_sum) / sum(n)"),
        _question("resolution", "resolution_times", "sum(seconds_sum) / sum(n)"),
    )
)
# Where the last day is empty: from when to when is there anything?
SPAN = (
    "SELECT toUnixTimestamp(min(bucket)) AS oldest, toUnixTimestamp(max(bucket)) AS newest "
    "FROM cells WHERE metric != 'touchpoints' HAVING count() > 0"
)


def lines(rows: Iterable[Mapping[str, Any]], now: int) -> dict[str, Any]:
    """What the page draws: `start` and `step` in seconds, and each line's values, None where there are none.

    Args:
        rows: what `QUESTION` gives: metric, instrument, touchpoint, point (seconds since 1970), value.
        now: seconds since 1970; the last point is the one that runs.
    """
    start = now // STEP * STEP - (POINTS - 1) * STEP
    found: dict[tuple[str, str, str], list[float | None]] = {}
    for row in rows:
        at = (int(row["point"]) - start) // STEP
        if 0 <= at < POINTS and row["value"] is not None:
            line = found.setdefault((row["metric"], row["instrument"], row["touchpoint"]), [None] * POINTS)
            line[at] = round(float(row["value"]), 4)
    named = [
        {"metric": metric, "instrument": instrument, "touchpoint": touchpoint, "values": values}
        for (metric, instrument, touchpoint), values in sorted(found.items())
    ]
    return {"start": start, "step": STEP, "lines": named}
