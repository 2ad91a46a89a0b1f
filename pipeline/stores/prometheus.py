"""`Metrics`: what one worker tells Prometheus. Passed around; there is no global registry."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import HistogramMetricFamily

from pipeline.measures.instruments import Instrument
from pipeline.measures.sums import TOUCHPOINT, WindowSums
from pipeline.measures.touchpoints import unknown
from pipeline.stores import metrics
from pipeline.stores.cap import Cap
from pipeline.stores.metric import Kind, Metric
from pipeline.stores.window_samples import WindowSamples, heading, lines_of

if TYPE_CHECKING:
    from pipeline.config import Settings


class Metrics:
    """Pipeline metrics, and the exposition of them and of window sums.

    Args:
        instruments: the ones in use, by name.
        targets: CSAT that touchpoints should reach, where it is not the default.
        max_series: how many lines about windows a scrape has; what is beyond it is shown as __other__.
        touchpoints: names that the configuration has; others are counted as unknown, if it has any.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        targets: Mapping[str, float],
        max_series: int,
        touchpoints: Collection[str] = (),
    ) -> None:
        # a gauge beside each counter, which nothing reads
        disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types, in a typed library
        self._registry = CollectorRegistry()
        # their names are shown from the first scrape on, a number only once something was counted
        self._counters = {
            metric: self._counter(metric) for metric in metrics.ALL if metric.kind is Kind.COUNTER
        }
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms = {metric: Histogram(metric) for metric in (metrics.LATENCY, metrics.SINK_FLUSH)}
        for histogram in self._histograms.values():
            self._registry.register(histogram)
        self._instruments, self._targets = instruments, targets
        self._touchpoints = frozenset(touchpoints)
        self._cap, self._one_scrape = Cap(max_series, self._lines), Lock()

    @classmethod
    def of(cls, settings: Settings) -> Metrics:
        """With the instruments, targets and cap of the configuration."""
        targets = {
            name: touchpoint.csat_target
            for name, touchpoint in settings.touchpoints.items()
            if touchpoint.csat_target is not None
        }
        return cls(settings.catalogue(), targets, settings.metrics.max_series, settings.touchpoints)

    def exposition(self, windows: Sequence[WindowSums] = ()) -> bytes:
        """See `blocks`."""
        return b"".join(self.blocks(windows))

    def blocks(self, windows: Sequence[WindowSums] = ()) -> Iterator[bytes]:
        """Everything as Prometheus reads it, in pieces; they may be made in a thread.

        Args:
            windows: what stands in the windows that this worker owns (`Roll.owned`). What it does not own any
                more is not in it, so that nothing stays behind after a rebalance.
        """
        with self._one_scrape:
            shown, folded = self._cap.fold(windows)
        yield generate_latest(self._registry)
        samples = WindowSamples(self._instruments, self._targets)
        samples.add(shown)
        yield from samples.blocks()
        yield _count(metrics.FOLDED_SERIES, folded)
        if self._touchpoints:
            names = unknown(_touchpoints(windows), self._touchpoints)
            yield _count(metrics.UNKNOWN_TOUCHPOINTS, len(names))

    def _lines(self, sums: WindowSums, level: int, windows: int) -> int:
        return lines_of(self._instruments.get(sums.instrument), sums.metric, level, windows)

    def records(self, topic: str, outcome: str, n: int) -> None:
        """So many records of an input topic were settled."""
        self._add(metrics.RECORDS, n, topic, outcome)

    def misplaced(self, topic: str, n: int) -> None:
        """So many records stood in another partition than their key says."""
        self._add(metrics.MISPLACED, n, topic)

    def dead_letter(self, reason: str, stage: str, n: int) -> None:
        """So many records cannot count."""
        self._add(metrics.DEAD_LETTERS, n, reason, stage)

    def lag(self, topic: str, partition: int, records: int) -> None:
        """So many records of a partition are not settled yet."""
        self._set(metrics.LAG, records, topic, str(partition))

    def expired(self, topic: str, offsets: int) -> None:
        """So many offsets of an input topic were deleted before they were read."""
        self._add(metrics.EXPIRED, offsets, topic)

    def registry_up(self, *, up: bool) -> None:
        """The schema registry answers, or does not."""
        self._set(metrics.REGISTRY_UP, up)

    def watermark(self, topic: str, partition: int, seconds: float) -> None:
        """Highest event time of a partition, seconds since 1970."""
        self._set(metrics.WATERMARK, seconds, topic, str(partition))

    def forget(self, topic: str, partitions: Collection[int]) -> None:
        """These partitions are somebody else's now: nothing that we said of them may stand still here."""
        for metric, gauge in self._gauges.items():
            if metric.labels[:2] == metrics.OF_A_PARTITION:
                for partition in partitions:
                    gauge.remove_by_labels({"topic": topic, "partition": str(partition)})

    def latency(self, stage: str, seconds: npt.ArrayLike) -> None:
        """How long records took from the broker's time to the end of a stage; one number or many."""
        self._histograms[metrics.LATENCY].observe(seconds, stage)

    def sink_rows(self, table: str, n: int) -> None:
        """So many rows were stored."""
        self._add(metrics.SINK_ROWS, n, table)

    def sink_flush(self, table: str, seconds: float) -> None:
        """One batch was stored."""
        self._histograms[metrics.SINK_FLUSH].observe(seconds, table)

    def sink_retry(self, code: str) -> None:
        """A batch has to be tried again: the store's error code, "connection" without an answer."""
        self._add(metrics.SINK_RETRIES, 1, code)

    def store_up(self, *, up: bool) -> None:
        """The store takes rows, or does not."""
        self._set(metrics.STORE_UP, up)

    def journal_conflict(self, topic: str, n: int) -> None:
        """So many journal records landed behind somebody else's."""
        self._add(metrics.JOURNAL_CONFLICTS, n, topic)

    def journal_tail(self, topic: str, partition: int, records: int, size: int) -> None:
        """So many records and bytes stand behind the last snapshot."""
        self._set(metrics.JOURNAL_RECORDS, records, topic, str(partition))
        self._set(metrics.JOURNAL_BYTES, size, topic, str(partition))

    def snapshot(self, topic: str, partition: int, seconds: float) -> None:
        """The last snapshot was written then, seconds since 1970."""
        self._set(metrics.SNAPSHOT, seconds, topic, str(partition))

    def outbox(self, topic: str, partition: int, effects: int) -> None:
        """So many effects still have something to send."""
        self._set(metrics.OUTBOX, effects, topic, str(partition))

    def ids(self, topic: str, partition: int, n: int, size: int) -> None:
        """So many ids are remembered, in so many bytes."""
        self._set(metrics.IDS, n, topic, str(partition))
        self._set(metrics.IDS_BYTES, size, topic, str(partition))

    def open_cases(self, topic: str, partition: int, touchpoint: str, n: int, age: float) -> None:
        """So many cases of a touchpoint are open, their ages in seconds added up. Without any there is no sample."""
        labels = topic, str(partition), touchpoint
        for metric, value in ((metrics.OPEN_CASES, n), (metrics.OPEN_CASES_AGE, age)):
            if n:
                self._set(metric, value, *labels)
            elif metric in self._gauges:
                self._gauges[metric].remove_by_labels(dict(zip(metric.labels, labels, strict=True)))

    def gap_filled(self, topic: str, n: int) -> None:
        """So many records were skipped by the delivery and read all the same."""
        self._add(metrics.GAP_FILLS, n, topic)

    def deltas_missing(self, topic: str, partition: int, sources: int) -> None:
        """So many sources of a deltas partition lack their next delta."""
        self._set(metrics.DELTAS_MISSING, sources, topic, str(partition))

    def cells(self, topic: str, partition: int, held: int, waiting: int) -> None:
        """So many cells are held, and so many of them wait to be published."""
        self._set(metrics.OPEN_CELLS, held, topic, str(partition))
        self._set(metrics.UNPUBLISHED_CELLS, waiting, topic, str(partition))

    def recovery(self, topic: str, seconds: float) -> None:
        """A partition was recovered."""
        self._set(metrics.RECOVERY, seconds, topic)

    def worker_ready(self, *, ready: bool) -> None:
        """Everything that this worker owns is recovered, or not."""
        self._set(metrics.WORKER_READY, ready)

    def _counter(self, metric: Metric) -> Counter:
        return Counter(
            metric.name.removesuffix("_total"), metric.help, metric.labels, registry=self._registry
        )

    def _add(self, metric: Metric, n: float, *labels: str) -> None:
        self._counters[metric].labels(*labels).inc(n)

    def _set(self, metric: Metric, value: float, *labels: str) -> None:
        gauge = self._gauges.get(metric)
        if gauge is None:
            gauge = Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
            self._gauges[metric] = gauge
        (gauge.labels(*labels) if labels else gauge).set(value)


def _count(metric: Metric, n: int) -> bytes:
    return f"{heading(metric)}{metric.name} {n}\n".encode()


def _touchpoints(windows: Sequence[WindowSums]) -> Iterator[str]:
    for sums in windows:
        yield from (sums.series[k].touchpoint for k in np.flatnonzero(sums.level == TOUCHPOINT).tolist())


class Histogram:
    """A histogram with one label that takes whole columns: the library's takes a microsecond an observation."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._bounds = np.array(metric.buckets)
        self._counts: dict[str, npt.NDArray[np.int64]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, values: npt.ArrayLike, label: str) -> None:
        """One number or many."""
        column = np.atleast_1d(np.asarray(values, np.float64))
        found = np.bincount(np.searchsorted(self._bounds, column), minlength=len(self._bounds) + 1)
        self._sums[label] = self._sums.get(label, 0.0) + float(column.sum())
        self._counts[label] = self._counts.get(label, 0) + found

    def collect(self) -> Iterator[Any]:
        """For the registry."""
        metric = self._metric
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(str, metric.buckets), "+Inf"]
        for label, counts in list(self._counts.items()):
            family.add_metric(
                [label], list(zip(bounds, np.cumsum(counts).tolist(), strict=True)), self._sums[label]
            )
        if family.samples:
            yield family
