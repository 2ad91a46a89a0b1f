"""docs/metrics.md: every metric a worker shows, from the one typed list of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.stores.metric import Kind, Metric
from pipeline.stores.metrics import PIPELINE, SCORES

_HEAD: Final = """\
# Metrics

Every metric that a worker shows at `metrics.listen` (default http://127.0.0.1:9108/metrics). Written by
`python -m grafana.generate` from `pipeline/stores/metrics.py`: change it there. What the alerts on them mean is in
[operations.md](operations.md#alerts).

Sum counters over workers, and the additive counts of windows. No two workers show the same window: while the group
shares its partitions out anew, some seconds, nobody shows any, nor does a worker that has heard nothing from the group
for `kafka.session_timeout`, since others may have been given what it had. Of gauges of a partition take the maximum:
while it moves, two workers can show it. What a worker does not own any more it does not show.
"""

LABELS: Final = {
    "channel": "of the leaf; empty: all channels",
    "clock": "`first_reply`, `first_resolution`, `full_resolution`, `agent`, `business`",
    "code": "error code of the store, or `connection`",
    "csat": "the instrument whose CSAT is compared",
    "group": "`promoter`, `passive`, `detractor`",
    "instrument": "scale and its reading, `csat_1_5`; the clock for a resolution",
    "metric": "`nps`, `csat`, `ces`, ...",
    "outcome": "`counted`, `retracted`, `duplicate`, `stale`, `late`, `dead_letter`",
    "partition": "of the topic",
    "reason": "why a record cannot count",
    "result": "`satisfied`, `dissatisfied`",
    "segment": "of the leaf, `none` if it has none; empty: all segments",
    "stage": "what had been done with the record by then",
    "stat": "`p50`, `p90`, `p95`, `p99`, `mean`",
    "table": "of the store",
    "topic": "full name of the topic",
    "touchpoint": "of the leaf; empty: all touchpoints",
    "window": "as configured, `1h`",
    "within": "seconds, cumulative, up to `+Inf`",
}


def text() -> str:
    """The whole page."""
    used = sorted({label for metric in (*SCORES, *PIPELINE) for label in metric.labels})
    labels = [f"| `{label}` | {LABELS[label]} |" for label in used]
    parts = [
        _HEAD,
        _section("Scores", SCORES),
        _section("The pipeline itself", PIPELINE),
        "\n".join(["## Labels", "", "| label | values |", "|---|---|", *labels, ""]),
    ]
    return "\n".join(parts)


def _section(title: str, metrics: Iterable[Metric]) -> str:
    lines = [f"| `{one.name}` | {_kind(one)} | {_labels(one)} | {one.help} |" for one in metrics]
    return "\n".join(
        [f"## {title}", "", "| metric | type | labels | what it is |", "|---|---|---|---|", *lines, ""]
    )


def _kind(metric: Metric) -> str:
    kind = "gauge" if metric.kind is Kind.UNTYPED else str(metric.kind)
    return f"{kind}, {metric.unit}" if metric.unit else kind


def _labels(metric: Metric) -> str:
    return ", ".join(f"`{label}`" for label in metric.labels)
