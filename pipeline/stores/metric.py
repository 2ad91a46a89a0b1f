"""`Metric`: what is declared of one metric family."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The type that Prometheus is told."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    UNTYPED = "untyped"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: as it is scraped (a histogram's samples have the usual suffixes).
        kind: its type.
        help: one sentence.
        labels: their names, in order.
        unit: base unit: "seconds", "records", "responses", ...; "" for shares, scores and states.
        buckets: upper bounds of a histogram, without +Inf.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
