"""Views `cases` and `open_cases`: how each case stands now, whatever the order in which its events came."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.stores import new_database, writer

PAGE = (Path(__file__).parents[2] / "docs" / "cases.md").read_text(encoding="utf-8")
NOW = datetime.now(UTC).replace(microsecond=0)
STORIES = {
    "asks": (("opened", 0),),
    "waits": (("opened", 0), ("replied", 5), ("waiting", 6)),
    "goes on": (("opened", 0), ("waiting", 6), ("resumed", 9), ("contacted", 9)),
    "done": (("opened", 0), ("contacted", 0), ("replied", 5), ("resolved", 7), ("resolved", 9)),
    "again": (("opened", 0), ("resolved", 9), ("reopened", 9)),
    "shut": (("opened", 0), ("closed", 9)),
    "before": (("resolved", -5), ("opened", 0), ("opened", 3)),
    "nobody": (("resolved", 0),),
    "quiet": (("opened", 0), ("replied", 2), ("replied", 2), ("escalated", 30)),
}


def tell(client, events, opened):
    """Store (case, action, minute after `opened`)."""
    client.insert(
        "touchpoints",
        [
            (str(k), opened + timedelta(minutes=minute), "desk", "support", action, "web", case_id, 0, k, NOW)
            for k, (case_id, action, minute) in enumerate(events)
        ],
        column_names=(
            *("event_id", "occurred_at", "source", "touchpoint", "action", "channel", "case_id"),
            *("kafka_partition", "kafka_offset", "kafka_time"),
        ),
    )


@pytest.fixture
def client(store):
    with writer(store, database=new_database(store)) as client:
        yield client


def test_cases_stand_as_their_events_say(client):
    rows = [
        (case_id, f"case_{action}", minute) for case_id, story in STORIES.items() for action, minute in story
    ]
    random.Random(3).shuffle(rows)
    opened = NOW - timedelta(hours=1)
    tell(client, rows * 2, opened)
    asked = "SELECT case_id, state, replies, contacts, reopens, opened_at, resolved_at FROM cases ORDER BY case_id"
    found = {case_id: row for case_id, *row in client.query(asked).result_rows}
    opened = opened.replace(tzinfo=None)  # as the driver gives times in UTC
    nine = opened + timedelta(minutes=9)
    assert {case_id: tuple(row) for case_id, row in found.items()} == {
        "again": ("open", 0, 0, 1, opened, nine),
        "asks": ("open", 0, 0, 0, opened, None),
        "before": ("open", 0, 0, 0, opened, None),
        "done": ("resolved", 1, 0, 0, opened, nine),
        "goes on": ("open", 0, 1, 0, opened, None),
        "quiet": ("open", 1, 0, 0, opened, None),
        "shut": ("closed", 0, 0, 0, opened, None),
        "waits": ("waiting", 1, 0, 0, opened, None),
    }
    ages = client.query("SELECT case_id, age_seconds FROM open_cases ORDER BY case_id").result_rows
    assert [case_id for case_id, _ in ages] == ["again", "asks", "before", "goes on", "quiet", "waits"]
    assert all(3600 <= age < 7200 for _, age in ages)
    last = "SELECT dateDiff('minute', opened_at, last_event_at) FROM cases WHERE case_id = 'quiet'"
    assert client.query(last).result_rows == [(2,)]


def test_open_cases_whose_promise_is_broken(client):
    """The query of docs/cases.md."""
    (query,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    late, minutes = NOW - timedelta(hours=9), {"asks": 0, "late": -1, "done": 1}
    events = [(case_id, "case_opened", minute) for case_id, minute in minutes.items()]
    tell(client, [*events, ("done", "case_resolved", 500)], late)
    calls = [
        (f"{one}/sla_breach", "sla_breach", late, "support", "web", one, NOW, k, NOW)
        for k, one in enumerate(("late", "done"))
    ]
    columns = (
        *("follow_up_id", "kind", "occurred_at", "touchpoint", "channel", "case_id", "due_at"),
        *("kafka_offset", "kafka_time"),
    )
    client.insert("follow_ups", calls, column_names=columns)
    assert [row[0] for row in client.query(query).result_rows] == ["late"]
