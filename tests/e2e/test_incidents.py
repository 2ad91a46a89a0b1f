"""The incident log through the whole pipeline, on Apache Kafka: its numbers equal a recount in plain Python."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.e2e.running_demo import demo

INCIDENTS = Path(__file__).parents[2] / "examples" / "incidents"
sys.path.insert(0, str(INCIDENTS))
from recount import figures, first_resolutions  # noqa: E402  an example is no package

RELATIVE_ERROR = 0.045  # of a percentile read from log-spaced bins
SPAN_START = datetime(2016, 1, 1, tzinfo=UTC)
SPAN_END = datetime(2018, 1, 1, tzinfo=UTC)


def ask(own: dict[str, str], sql: str, **parameters: object) -> list[dict[str, Any]]:
    query = {"database": "feedback", "default_format": "JSONEachRow"}
    query |= {f"param_{name}": str(value) for name, value in parameters.items()}
    request = urllib.request.Request(
        f"http://{own['FEEDBACK_STORE__HTTP']}/?{urlencode(query)}", sql.encode()
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [json.loads(line) for line in answer.read().splitlines()]


def settle(own: dict[str, str], incidents: int) -> None:
    """Wait until every case has been stored, and nothing changes any more."""
    end, before = time.monotonic() + 120, ""
    while True:
        now = json.dumps(
            ask(own, "SELECT (SELECT sum(n) FROM outcomes) AS o, (SELECT sum(n) FROM cells FINAL) AS c")
        )
        found = int(ask(own, "SELECT count() AS n FROM current_resolutions")[0]["n"])
        if found == incidents and now == before:
            return
        assert time.monotonic() < end, f"{found} of {incidents} cases: {now}"
        before = now
        time.sleep(2)


def test_the_numbers_equal_a_recount(
    apache_kafka: str, variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    own, expected, cases = variables(), figures(), first_resolutions()
    log, mapping = INCIDENTS / "incident_event_log.csv.gz", INCIDENTS / "incidents.toml"
    arguments = ("--kafka", apache_kafka, "--replay", str(log), "--map", str(mapping))
    with demo(tmp_path / "data", own, *arguments) as running:
        running.until("Ctrl-C ends everything")
        settle(own, expected["resolved"])
        rows = ask(own, "SELECT case_id, first_resolution_seconds AS seconds FROM current_resolutions")
        assert {row["case_id"]: row["seconds"] for row in rows} == cases
        (times,) = ask(
            own,
            "SELECT n, seconds_sum, mean, p50, p90, p95, p99 FROM resolution_times_at"
            "(at = {end:DateTime('UTC')}, seconds = {span:UInt32}) "
            "WHERE clock = 'first_resolution' AND touchpoint = '' AND channel = '' AND segment = ''",
            end=f"{SPAN_END:%Y-%m-%d %H:%M:%S}",
            span=int((SPAN_END - SPAN_START).total_seconds()),
        )
        assert int(times["n"]) == expected["resolved"] == 890
        assert times["seconds_sum"] == expected["sum"]
        assert times["mean"] == pytest.approx(expected["mean"], rel=1e-12)
        for name in ("p50", "p90", "p95", "p99"):
            assert times[name] == pytest.approx(expected[name], rel=RELATIVE_ERROR), name
        assert running.end() == 0
        assert running.left == []
