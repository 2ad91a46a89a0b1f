"""Whether a PromQL expression asks for what the worker exposes: metrics and labels by the one list of them."""

from __future__ import annotations

import re

from pipeline.stores.metric import Kind
from pipeline.stores.metrics import ALL

LABELS = {metric.name: set(metric.labels) for metric in ALL}
for _histogram in (metric for metric in ALL if metric.kind is Kind.HISTOGRAM):
    LABELS |= {f"{_histogram.name}_bucket": {*_histogram.labels, "le"}}
_SELECTOR = re.compile(r"\b(feedback_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|on|group_left|without) \(([^)]*)\)")


def unknown(expr: str) -> set[str]:
    """Names of metrics and labels in `expr` that no worker ever shows."""
    found, labels = set(), set()
    for name, matchers in _SELECTOR.findall(expr):
        known = LABELS.get(name, set())
        labels |= known
        found |= {name} - LABELS.keys()
        found |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) - known
    grouped = {
        label.strip() for group in _GROUPING.findall(expr) for label in group.split(",") if label.strip()
    }
    return found | (grouped - labels)
