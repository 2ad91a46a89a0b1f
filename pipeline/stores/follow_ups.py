"""Follow-ups out of the store: whom somebody must call, the most overdue first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from clickhouse_connect.driver.client import Client

_COLUMNS = (
    *("follow_up_id", "kind", "occurred_at", "due_at", "overdue", "contacted_at", "seconds_to_contact"),
    *(
        "touchpoint",
        "channel",
        "segment",
        "customer_id",
        "case_id",
        "response_id",
        "instrument",
        "score",
        "priority",
    ),
)


_TIMES = ("occurred_at", "due_at", "contacted_at")


def listed(
    client: Client, *, kind: str = "", overdue: bool = False, closed: bool = False, limit: int = 1000
) -> list[Mapping[str, Any]]:
    """Follow-ups as rows of the view `current_follow_ups`.

    Args:
        client: of the store.
        kind: only of this kind; "" for all.
        overdue: only those that wait longer than was allowed.
        closed: those that a contact has closed, too.
        limit: how many at most.
    """
    query = f"""
        SELECT {", ".join(_COLUMNS)} FROM current_follow_ups
        WHERE ({{kind:String}} = '' OR kind = {{kind:String}})
            AND ({{closed:Bool}} OR contacted_at IS NULL) AND (NOT {{overdue:Bool}} OR overdue)
        ORDER BY contacted_at IS NOT NULL, due_at, follow_up_id
        LIMIT {{limit:UInt32}}
    """  # noqa: S608 - names of our own, no values
    parameters = {"kind": kind, "closed": closed, "overdue": overdue, "limit": limit}
    return [_told(row) for row in client.query(query, parameters=parameters).named_results()]


def _told(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """With aware times, and with booleans: ClickHouse answers 0 and 1."""
    times = {name: row[name].replace(tzinfo=UTC) for name in _TIMES if row[name] is not None}
    return {**row, **times, "overdue": bool(row["overdue"])}
