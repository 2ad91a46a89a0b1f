"""Every query of the dashboard, asked of a real Prometheus and of the store's door: each has an answer."""

import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from clickhouse_connect.driver.client import Client

from grafana import generate
from pipeline.config import Settings
from pipeline.config.values import Listen
from pipeline.embedded.process import free_port
from pipeline.embedded.store import EmbeddedStore
from pipeline.measures.cells import Series
from pipeline.measures.instruments import SHIPPED
from pipeline.measures.scoreboard import Scoreboard
from pipeline.measures.windows import parse
from pipeline.stores.client import connect
from pipeline.stores.migrate import configure, migrate
from pipeline.stores.prometheus import Metrics
from tests.support import monitoring
from tests.support.dashboard_queries import ALL, queries, run
from tests.support.monitoring import Exporter, Monitoring
from tests.support.needs import need

QUOTED = "o'brien's (desk)"
# Cells of one minute: who answered what, and how often.
CELLS = [
    (Series("nps", "nps_0_10", "checkout", "web", "none"), 9, 60),
    (Series("nps", "nps_0_10", "checkout", "web", "none"), 7, 20),
    (Series("nps", "nps_0_10", "checkout", "app", "new"), 2, 20),
    (Series("csat", "csat_1_5", "checkout", "web", "none"), 5, 30),
    (Series("csat", "csat_1_5", "checkout", "web", "none"), 1, 10),
    (Series("csat", "csat_1_5", QUOTED, "web", "none"), 4, 8),
    (Series("ces", "ces_1_7", "checkout", "web", "none"), 6, 12),
    (Series("resolution", "first_resolution", "checkout", "web", "none"), 80, 9),
    (Series("resolution", "first_resolution", QUOTED, "web", "none"), 96, 1),
    (Series("resolution", "full_resolution", "checkout", "web", "none"), 96, 9),
    (Series("resolution", "agent", "checkout", "web", "none"), 48, 9),
    (Series("reopen", "", "checkout", "web", "none"), 0, 9),
    (Series("fcr", "", "checkout", "web", "none"), 1, 9),
    (Series("sla_breach", "", "checkout", "web", "none"), 1, 2),
]
OUTCOMES = {"counted": 169, "duplicate": 3, "dead_letter": 1}


def windows(now: float) -> list[Any]:
    """What a worker that owns all of `CELLS` has in its windows."""
    board = Scoreboard([parse("1h"), parse("24h")], SHIPPED)
    board.advance(int(now * 1000))
    leaves = list(dict.fromkeys(series for series, _, _ in CELLS))
    at = np.array([leaves.index(series) for series, _, _ in CELLS], np.uint32)
    bins, n = np.array([row[1] for row in CELLS], np.int32), np.array([row[2] for row in CELLS], np.int64)
    board.add(leaves, at, np.full(len(CELLS), now // 60, np.int32), bins, n, n * bins * 1000)
    return list(board.sums())


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Prometheus that has scraped a worker's real exposition."""
    need(monitoring.missing())
    metrics = Metrics(SHIPPED, {"checkout": 0.9}, max_series=100_000)
    metrics.lag("feedback.responses", 0, 12)
    metrics.watermark("feedback.responses", 0, time.time() - 3)
    metrics.latency("scored", 0.2)
    how_the_pipeline_is(metrics)
    exporter = Exporter(metrics.exposition(windows(time.time())).decode())
    with Monitoring(
        [exporter.address], folder=tmp_path_factory.mktemp("monitoring") / "m", for_="1h"
    ) as running:
        running.wait_for("feedback_score")
        metrics.latency("scored", [0.2] * 10)
        exporter.text = metrics.exposition(windows(time.time())).decode()
        running.wait_for("rate(feedback_end_to_end_latency_seconds_count[1m]) > 0")
        yield running
    exporter.stop()


def how_the_pipeline_is(metrics: Metrics) -> None:
    topic = "feedback.responses"
    metrics.records(topic, "counted", 100)
    metrics.misplaced(topic, 0)
    metrics.open_cases(topic, 0, "checkout", 3, 900.0)
    metrics.worker_ready(ready=True)
    metrics.journal_conflict(topic, 1)
    metrics.gap_filled(topic, 0)
    metrics.deltas_missing("feedback.deltas", 0, 0)
    metrics.cells("feedback.deltas", 0, 1000, 3)
    metrics.journal_tail(topic, 0, 10, 12_345)
    metrics.snapshot(topic, 0, time.time() - 60)
    metrics.outbox(topic, 0, 1)
    metrics.ids(topic, 0, 1000, 60_000)
    metrics.recovery(topic, 0.4)
    metrics.sink_rows("responses", 100)
    metrics.sink_retry("connection")
    metrics.store_up(up=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a store's door; the store holds `CELLS` and `OUTCOMES`."""
    folder, listen = tmp_path_factory.mktemp("store"), Listen("127.0.0.1", free_port())
    configured = Settings(worker={"data_dir": folder}, store={"http": str(listen)})
    process = EmbeddedStore(folder / "store", listen.host, listen.port)
    process.start().wait_ready()
    try:
        fill(configured)
        yield f"http://{listen}"
    finally:
        process.stop()


def fill(configured: Settings) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    client = connect(configured, write=True, database="default")
    migrate(client, "feedback")
    configure(client, "feedback", SHIPPED, configured.raw_retention)
    cells = [(*series, minute, k, "live", 0, n, float(n * k), 1) for series, k, n in CELLS]
    client.insert("cells", cells, database="feedback")
    counts = [("feedback.responses", 0, minute.date(), outcome, n, 1) for outcome, n in OUTCOMES.items()]
    client.insert("outcome_counts", counts, database="feedback")
    dead = ("feedback.responses", 0, 1, minute, "malformed", "decode", "", "")
    client.insert("dead_letters", [dead], database="feedback")
    follow_ups(client, minute)
    client.close()


def follow_ups(client: Client, now: datetime) -> None:
    """Three detractors: one was called after ten minutes, one waits, one for an hour too long."""
    names = (
        "follow_up_id",
        "occurred_at",
        "kind",
        "touchpoint",
        "channel",
        "customer_id",
        "due_at",
        "kafka_offset",
    )
    happened, what = now - timedelta(minutes=30), ("detractor", "checkout", "web")
    rows = [
        (f"f{k}", happened, *what, f"c{k}", now + timedelta(hours=due), k, now)
        for k, due in enumerate((1, 1, -1))
    ]
    client.insert("follow_ups", rows, (*names, "kafka_time"), database="feedback")
    names = ("event_id", "occurred_at", "action", "customer_id", "kafka_time")
    done = ("e1", now - timedelta(minutes=20), "case_replied", "c0", now)
    client.insert("touchpoints", [done], names, database="feedback")


def answers(prometheus: Monitoring, store: str, **chosen: str) -> dict[str, list[Any]]:
    now = datetime.now(UTC)
    asked = queries(start=now - timedelta(hours=1), end=now, **chosen)
    return {query.where: run(query, prometheus, store) for query in asked}


def test_every_query_about_the_pipeline_has_an_answer(prometheus: Monitoring, store: str) -> None:
    now, board = datetime.now(UTC), generate.FOLDER / "pipeline.json"
    asked = queries(board, start=now - timedelta(hours=1), end=now)
    assert [query.where for query in asked if not run(query, prometheus, store)] == []


def test_every_query_about_cases_has_an_answer(prometheus: Monitoring, store: str) -> None:
    now, board = datetime.now(UTC), generate.FOLDER / "cases.json"
    found = {
        q.where: run(q, prometheus, store) for q in queries(board, start=now - timedelta(hours=1), end=now)
    }
    assert [where for where, rows in found.items() if not rows] == []
    assert values(found["Time spent waiting on the customer, A"])[-1] == pytest.approx(0.5, abs=0.05)
    (kind, touchpoint, *counts, longest, median, _) = found["Follow-ups, A"][0]
    assert (kind, touchpoint, *map(int, counts)) == ("detractor", "checkout", 3, 2, 1)
    assert 3600 <= int(longest) < 3900
    assert float(median) == 600


def values(samples: list[Any]) -> list[float]:
    return [round(sample.value, 6) for sample in samples]


def test_every_query_has_an_answer(prometheus: Monitoring, store: str) -> None:
    overall = answers(prometheus, store, touchpoint=ALL, window="24h")
    assert [where for where, rows in overall.items() if not rows] == []
    assert {one.labels["window"] for one in overall["variable window"]} == {"1h", "24h"}
    assert {one.labels.get("touchpoint") for one in overall["variable touchpoint"]} == {
        None,
        "checkout",
        QUOTED,
    }

    assert [values(overall[f"NPS, {ref_id}"]) for ref_id in "AD"] == [[40], [100]]
    assert values(overall["CSAT, D"]) == [48]
    gaps = {one.labels["touchpoint"]: one.value for one in overall["CSAT by touchpoint against target, E"]}
    assert gaps == {"checkout": pytest.approx(0.75 - 0.9), QUOTED: pytest.approx(1 - 0.8)}
    assert values(overall["Resolution time, B"]) == [10]
    assert values(overall["Lag and freshness, A"]) == [12]
    assert all(0 < value < 60 for value in values(overall["Lag and freshness, B"]))
    assert all(math.isfinite(one.value) for one in overall["Lag and freshness, C"])

    responses = {place: int(n) for _, place, n in overall["Responses by touchpoint, A"]}
    assert responses == {"checkout": 152, QUOTED: 8}
    assert {outcome: int(n) for _, outcome, n in overall["Outcomes of records, A"]} == OUTCOMES


def test_one_touchpoint_with_quotes_in_its_name(prometheus: Monitoring, store: str) -> None:
    one = answers(prometheus, store, touchpoint=QUOTED, window="1h")
    assert values(one["CSAT, D"]) == [8]
    assert one["NPS, A"] == [], "nobody answered there: no sample, never 0"
    assert values(one["Resolution time, B"]) == [1]
    assert [(place, int(n)) for _, place, n in one["Responses by touchpoint, A"]] == [(QUOTED, 8)]
