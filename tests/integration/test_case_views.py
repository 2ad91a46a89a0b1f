"""Views `cases` and `open_cases`: how each case stands now, whatever the order in which its events came."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.stores import new_database, writer

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
    client.insert(
        "touchpoints",
        [
            (str(k), opened + timedelta(minutes=minute), "desk", "support", action, "web", case_id, 0, k, NOW)
            for k, (case_id, action, minute) in enumerate(rows * 2)
        ],
        column_names=(
            *("event_id", "occurred_at", "source", "touchpoint", "action", "channel", "case_id"),
            *("kafka_partition", "kafka_offset", "kafka_time"),
        ),
    )
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
