"""The incident log through the whole pipeline, on Apache Kafka: its numbers equal a recount in plain Python."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running_demo import demo

INCIDENTS = Path(__file__).parents[2] / "examples" / "incidents"
CASES_PAGE = Path(__file__).parents[2] / "docs" / "cases.md"
sys.path.insert(0, str(INCIDENTS))
import clocks  # noqa: E402  an example is no package
from recount import figures, first_resolutions  # noqa: E402  the same

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


def shown(own: dict[str, str]) -> dict[str, dict[str, float]]:
    """Clock -> n and statistics of all touchpoints, as /metrics has them."""
    with urllib.request.urlopen(f"http://{own['FEEDBACK_METRICS__LISTEN']}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {clock: {} for clock in clocks.CLOCKS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("touchpoint") or labels.get("channel") or labels.get("segment"):
                continue
            if sample.name == "feedback_resolution_window_seconds" and labels["clock"] in found:
                found[labels["clock"]][labels["stat"]] = sample.value
            elif sample.name == "feedback_score_responses" and labels["metric"] == "resolution":
                found[labels["instrument"]]["n"] = sample.value
    return {
        clock: {name: one[name] for name in ("n", "mean", *clocks.SHARES)} for clock, one in found.items()
    }


def all_is_shown(own: dict[str, str], wanted: dict[str, dict[str, float]]) -> None:
    """Every clock of all cases in the store and on /metrics, and each cell and follow-up as recounted by verify."""
    done = subprocess.run(
        [sys.executable, str(INCIDENTS / "clocks.py"), f"http://{own['FEEDBACK_STORE__HTTP']}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 differences"), done.stdout + done.stderr
    assert done.stdout.partition("\n\n")[0] in CASES_PAGE.read_text(encoding="utf-8"), done.stdout
    assert clocks.differences(wanted, shown(own)) == []
    command = [sys.executable, "-m", "pipeline", "verify", "--json"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)
    assert (found["differences"], found["checked"]["not_covered"]) == (0, []), done.stdout
    assert found["checked"]["follow_ups"] > 100
    shares = ask(own, "SELECT metric, sum(n) AS n FROM cells FINAL WHERE instrument = '' GROUP BY metric")
    assert {row["metric"] for row in shares} == {"reopen", "fcr", "sla_breach"}


def test_the_numbers_equal_a_recount(
    apache_kafka: str, variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    # windows that reach back to the log, so that /metrics shows all of it
    own = variables(windows="4000d", retention="4001d") | {
        "FEEDBACK_CONFIG": str(INCIDENTS / "feedback.toml")
    }
    expected, cases = figures(), first_resolutions()
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
        all_is_shown(own, clocks.figures())
        assert running.end() == 0
        assert running.left == []
