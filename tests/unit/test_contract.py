"""Names that others depend on: dashboards, producers, scripts. Written out, so that no constant vouches for itself."""

from __future__ import annotations

import pytest

from pipeline.cli.commands import COMMANDS
from pipeline.stores import metrics
from pipeline.streams.topics import Topics

TOPICS = (
    "touchpoints responses resolutions journal.responses journal.touchpoints ids.responses ids.touchpoints roll "
    "outcomes drops deltas cells scores follow-ups dead-letters"
)
PLACE = "window touchpoint channel segment"
METRICS = {
    "feedback_nps_window_responses": ("gauge", f"instrument {PLACE} group"),
    "feedback_csat_window_responses": ("gauge", f"instrument {PLACE} result"),
    "feedback_ces_window_responses": ("gauge", f"instrument {PLACE}"),
    "feedback_ces_window_score_sum": ("untyped", f"instrument {PLACE}"),
    "feedback_resolution_window_cases": ("gauge", f"clock {PLACE} within"),
    "feedback_resolution_window_seconds": ("gauge", f"clock {PLACE} stat"),
    "feedback_score": ("gauge", f"metric instrument {PLACE}"),
    "feedback_score_lower": ("gauge", f"metric instrument {PLACE}"),
    "feedback_score_upper": ("gauge", f"metric instrument {PLACE}"),
    "feedback_score_responses": ("gauge", f"metric instrument {PLACE}"),
    "feedback_score_target": ("gauge", "metric touchpoint"),
    "feedback_records_total": ("counter", "topic outcome"),
    "feedback_misplaced_records_total": ("counter", "topic"),
    "feedback_dead_letters_total": ("counter", "reason stage"),
    "feedback_consumer_lag_records": ("gauge", "topic partition"),
    "feedback_watermark_timestamp_seconds": ("gauge", "topic partition"),
    "feedback_end_to_end_latency_seconds": ("histogram", "stage"),
    "feedback_sink_rows_total": ("counter", "table"),
    "feedback_sink_flush_seconds": ("histogram", "table"),
    "feedback_sink_retries_total": ("counter", "code"),
    "feedback_store_up": ("gauge", ""),
}
NAMED = (
    "demo setup worker gateway store trace reset emit replay report query verify rebuild follow-ups schema "
    "check-config version"
)


@pytest.mark.parametrize("prefix", ["feedback", "staging"])
def test_topics(prefix: str):
    made = {spec.name for spec in Topics(prefix).all_topics()}
    assert {f"{prefix}.{name}" for name in TOPICS.split()} <= made
    assert all(name.startswith(f"{prefix}.") for name in made)


def test_metrics_have_their_types_and_labels():
    declared = {one.name: (one.kind.value, " ".join(one.labels)) for one in metrics.ALL}
    assert {name: declared.get(name) for name in METRICS} == METRICS


def test_commands():
    assert set(NAMED.split()) <= {name for names in COMMANDS.values() for name in names}
