"""After `horizon` was changed: verify judges what was counted since, by the horizon of now."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.cli.terms import terms_of
from pipeline.stores.client import connect
from pipeline.stores.migrate import bring_up
from pipeline.stores.sink import Sink
from pipeline.verify.check import verify
from pipeline.verify.raw import KINDS
from pipeline.verify.stages import Pace
from tests.support.stores import set_up

HOUR, DAY = 3_600_000, 86_400_000
NOW = round(datetime.now(UTC).timestamp()) * 1000
CHANGED = NOW - 5 * DAY
# (arrived, happened) and what became of it: by one day, and from CHANGED on by two
COUNTED = [
    (NOW - 10 * DAY, NOW - 10 * DAY, "counted"),
    (NOW - 10 * DAY + 1, NOW - 10 * DAY - 30 * HOUR, "late"),
    (CHANGED + 1, CHANGED, "counted"),
    (NOW - 2 * DAY, NOW - 2 * DAY, "counted"),  # until here an id from before the change may be remembered
    (NOW - DAY, NOW - DAY, "counted"),
    (NOW - DAY + 1, NOW - DAY - 30 * HOUR, "counted"),
    (NOW - DAY + 2, NOW - DAY - 50 * HOUR, "late"),
]


class Silent:
    def advance(self, count=1):
        pass

    def say(self, text):
        pass


def judged(configured, client):
    return verify(
        client,
        configured.kafka.prefix,
        {kind: round(configured.horizon_of(kind) * 1000) for kind in KINDS},
        configured.raw_retention,
        terms_of(configured),
        lambda _: nullcontext(Silent()),
        Pace(pause=0.1, still=0.2, most=5.0),
    )


@pytest.fixture
def counted(settings, store):
    """A store in which everything counted as COUNTED says, and a configuration of two days."""
    configured = settings(horizon="2d")
    set_up(settings(horizon="1d"))
    with connect(configured, write=True) as client:
        sink, topic = Sink(client), f"{configured.kafka.prefix}.responses"
        row = {"source": "test", "instrument": "csat_1_5", "score": 4, "touchpoint": "pay", "channel": "web"}
        row |= {"revision": 0, "retracted": False, "kafka_partition": 0}
        rows = [
            {**row, "response_id": str(k), "occurred_at": at, "kafka_offset": k, "kafka_time": arrived}
            for k, (arrived, at, _) in enumerate(COUNTED)
        ]
        sink.insert("responses", pl.DataFrame(rows).cast({"kafka_partition": pl.Int32}))
        names = (
            "metric",
            "instrument",
            "touchpoint",
            "channel",
            "segment",
            "bucket",
            "bin",
            "origin",
            "part",
        )
        cells = [
            ("csat", "csat_1_5", "pay", "web", "none", at // 60_000 * 60_000, 4, "live", 0, 1, 4.0, 1)
            for _, at, outcome in COUNTED
            if outcome == "counted"
        ]
        sink.insert("cells", pl.DataFrame(cells, schema=(*names, "n", "total", "version"), orient="row"))
        days = Counter((arrived // DAY, outcome) for arrived, _, outcome in COUNTED)
        last = len(COUNTED) - 1
        told = [
            [topic, 0, datetime.fromtimestamp(d * 86_400, UTC).date(), o, n, last]
            for (d, o), n in days.items()
        ]
        client.insert("outcome_counts", told, ["topic", "partition", "day", "outcome", "n", "version"])
        client.insert("progress", [["archive", topic, 0, last]], ["stage", "topic", "partition", "offset"])
        yield configured, client


def test_what_was_counted_by_another_horizon_is_not_judged_and_what_was_counted_since_is(counted):
    configured, client = counted
    assert judged(configured, client).differences > 0  # setup was never told
    since = datetime.fromtimestamp(CHANGED / 1000, UTC)
    client.insert("horizons", [["responses", since, 2 * DAY]], ["input", "since", "milliseconds"])
    found = judged(configured, client)
    assert (found.differences, found.details) == (0, [])
    assert datetime.fromisoformat(found.checked["from"]) >= since
    client.command("DELETE FROM cells WHERE bucket > now() - INTERVAL 40 HOUR")
    assert [one["kind"] for one in judged(configured, client).details] == ["cell"]


def test_setup_writes_down_when_the_horizon_of_an_input_changed(settings, store):
    first, second = settings(horizon="1d"), settings(horizon="1d", horizons={"responses": "2d"})
    with connect(first, write=True, database="default") as client:
        for configured in (first, first, second, second):
            bring_up(client, configured)
    with connect(first, write=False) as client:
        rows = client.query("SELECT input, since, milliseconds FROM horizons FINAL ORDER BY ALL").result_rows
    assert [(name, since.year > 1970, length) for name, since, length in rows] == [
        ("responses", False, DAY),
        ("responses", True, 2 * DAY),
        ("touchpoints", False, DAY),
    ]
