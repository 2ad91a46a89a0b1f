"""Window sums as lines of the Prometheus text format.

Written as columns, outside of the interpreter's lock: the client library takes 8 us a sample, this 0.3, and a worker
may show two million of them while it counts. All windows of an instrument are scored together and a family is written
at once, since whoever lets go of the lock waits for it: 370 small pieces took a second beside a worker that was busy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.measures import bins as durations
from pipeline.measures.cells import Series
from pipeline.measures.direction import CSAT, EASE, LEAST, Told, verdicts
from pipeline.measures.instruments import Instrument
from pipeline.measures.rolling import Int64s
from pipeline.measures.scoreboard import score_columns
from pipeline.measures.scores import RESOLUTION, ScoreColumns, group_counts
from pipeline.measures.sums import LEAF, TOUCHPOINT, Stack, WindowSums, stacks
from pipeline.stores import metrics
from pipeline.stores.cap import OTHER
from pipeline.stores.metric import Metric

DEFAULT_TARGET = 0.8
WITHIN = (60, 300, 900, 3600, 14_400, 28_800, 86_400, 259_200, 604_800)  # seconds
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_STATS = tuple(f"p{percent}" for percent in durations.PERCENTS)


@dataclass(frozen=True, slots=True)
class Rows:
    """Series of a stack, as columns.

    Attributes:
        window: int64, the place of each one's window among those of the stack.
        labels: the dimensions of each.
    """

    window: Int64s
    labels: pl.Series

    def only(self, at: Int64s) -> Rows:
        """These of them."""
        return Rows(self.window[at], self.labels.gather(at))


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of a family: `heads` are the labels that many of them share, one a window."""

    heads: Sequence[str]
    rows: Rows
    values: npt.NDArray[Any]


class WindowSamples:
    """Collects samples by family.

    Args:
        instruments: the ones in use, by name.
        targets: CSAT that touchpoints should reach, where it is not 0.8.
    """

    def __init__(self, instruments: Mapping[str, Instrument], targets: Mapping[str, float]) -> None:
        self._instruments = instruments
        self._targets = targets
        self._parts: dict[Metric, list[Part]] = {}
        self._labels: dict[tuple[str, ...], str] = {}
        self._touchpoints: dict[str, None] = {}  # with CSAT
        self._leanings: list[Told] = []  # of touchpoints with enough answers to tell a direction by

    def add(self, windows: Iterable[WindowSums]) -> None:
        """Everything about some windows. Series without responses must not be in them."""
        for stack in stacks(windows):
            self._add(stack)

    def blocks(self) -> Iterator[bytes]:
        """All lines, a family at a time below its help and type; in pieces, since all of it may be 300 MB."""
        targets = [self._targets.get(one, DEFAULT_TARGET) for one in self._touchpoints]
        self._write_touchpoints(metrics.SCORE_TARGET, _head(metric=CSAT), self._touchpoints, targets)
        found: dict[str, dict[str, int]] = {}
        for one in verdicts(self._leanings):
            head = _head(instrument=one.effort, csat=one.csat, window=one.window)
            found.setdefault(head, {})[one.touchpoint] = int(one.against)
        for head, against in found.items():
            self._write_touchpoints(metrics.EFFORT_AGAINST_CSAT, head, against, list(against.values()))
        for metric in filter(self._parts.__contains__, metrics.ALL):
            yield heading(metric).encode() + _lines(metric.name, self._parts.pop(metric))

    def _add(self, stack: Stack) -> None:
        sums = stack.sums
        scores = score_columns(sums, self._instruments)
        if not scores:
            return
        everyone = Rows(stack.window, pl.Series([self._label(one) for one in sums.series], dtype=pl.String))
        leaves = np.flatnonzero(sums.level == LEAF)
        asked = self._instruments.get(sums.instrument)
        if asked is not None and asked.metric in _SURVEYS:
            _SURVEYS[asked.metric](self, stack, asked, leaves, everyone.only(leaves))
        elif sums.metric == RESOLUTION:
            self._resolution(stack, leaves, everyone.only(leaves), everyone)
        self._scores(stack, scores, everyone)

    def _nps(self, stack: Stack, asked: Instrument, leaves: Int64s, rows: Rows) -> None:
        self._groups(metrics.NPS_RESPONSES, "group", stack, asked, leaves, rows)

    def _csat(self, stack: Stack, asked: Instrument, leaves: Int64s, rows: Rows) -> None:
        self._groups(metrics.CSAT_RESPONSES, "result", stack, asked, leaves, rows)
        sums = stack.sums
        names = (sums.series[k].touchpoint for k in np.flatnonzero(sums.level == TOUCHPOINT).tolist())
        self._touchpoints |= dict.fromkeys(name for name in names if name != OTHER)

    def _ces(self, stack: Stack, asked: Instrument, leaves: Int64s, rows: Rows) -> None:
        counts, heads = stack.sums.counts[leaves], _heads(stack, instrument=stack.sums.instrument)
        turned = np.array([asked.turn(k) for k in stack.sums.bins.tolist()], np.int64)
        self._write(metrics.CES_RESPONSES, heads, rows, counts.sum(axis=1))
        self._write(metrics.CES_SCORE_SUM, heads, rows, counts @ turned)

    def _groups(
        self, metric: Metric, label: str, stack: Stack, asked: Instrument, leaves: Int64s, rows: Rows
    ) -> None:
        sums = stack.sums
        for group, counts in group_counts(asked, sums.counts[leaves], sums.bins).items():
            heads = _heads(stack, instrument=sums.instrument, **{label: group})
            self._write(metric, heads, rows, counts)

    def _resolution(self, stack: Stack, leaves: Int64s, rows: Rows, everyone: Rows) -> None:
        """A case counts as within a limit if the middle of its bin is: right to 4.43 % of the limit."""
        sums, clock = stack.sums, stack.sums.instrument
        middles, counts = durations.middles(sums.bins), sums.counts[leaves]
        for limit in (*map(float, WITHIN), np.inf):
            heads = _heads(stack, clock=clock, within="+Inf" if limit == np.inf else f"{limit:.0f}")
            self._write(metrics.RESOLUTION_CASES, heads, rows, counts[:, middles <= limit].sum(axis=1))
        quantiles = durations.quantile_matrix(sums.counts, sums.bins).T
        means = sums.totals / 1000 / sums.counts.sum(axis=1)
        for stat, seconds in zip((*_STATS, "mean"), (*quantiles, means), strict=True):
            self._write(metrics.RESOLUTION_SECONDS, _heads(stack, clock=clock, stat=stat), everyone, seconds)

    def _scores(self, stack: Stack, scores: Mapping[str, ScoreColumns], everyone: Rows) -> None:
        for name, columns in scores.items():
            heads = _heads(stack, metric=name, instrument=stack.sums.instrument)
            self._write(metrics.SCORE, heads, everyone, columns.value)
            self._write(metrics.SCORE_LOWER, heads, everyone, columns.lower)
            self._write(metrics.SCORE_UPPER, heads, everyone, columns.upper)
            self._write(metrics.SCORE_RESPONSES, heads, everyone, columns.n)
            if name in (CSAT, EASE):
                self._lean(name, stack, columns)

    def _lean(self, name: str, stack: Stack, columns: ScoreColumns) -> None:
        sums = stack.sums
        for k in np.flatnonzero((sums.level == TOUCHPOINT) & (columns.n >= LEAST)).tolist():
            touchpoint = sums.series[k].touchpoint
            if touchpoint != OTHER:
                window = stack.windows[stack.window[k]]
                self._leanings.append(Told(name, sums.instrument, window, touchpoint, columns.row(k)))

    def _write(self, metric: Metric, heads: Sequence[str], rows: Rows, values: npt.ArrayLike) -> None:
        """A line for each value that is known."""
        if len(rows.labels):
            self._parts.setdefault(metric, []).append(Part(heads, rows, np.asarray(values)))

    def _write_touchpoints(
        self, metric: Metric, head: str, touchpoints: Iterable[str], values: npt.ArrayLike
    ) -> None:
        labels = pl.Series([_head(touchpoint=one) for one in touchpoints], dtype=pl.String)
        self._write(metric, [head], Rows(np.zeros(len(labels), np.int64), labels), values)

    def _label(self, series: Series) -> str:
        place = series[2:]
        label = self._labels.get(place)
        if label is None:
            touchpoint, channel, segment = map(_escaped, place)
            label = f'touchpoint="{touchpoint}",channel="{channel}",segment="{segment}"'
            self._labels[place] = label
        return label


_SURVEYS = {"nps": WindowSamples._nps, CSAT: WindowSamples._csat, "ces": WindowSamples._ces}


def lines_of(asked: Instrument | None, metric: str, level: int, windows: int) -> int:
    """How many lines a series of a level has at most in so many windows.

    Args:
        asked: the instrument; None where the metric has none (resolution, shares).
        metric: of the series.
        level: OVERALL, TOUCHPOINT or LEAF.
        windows: all of them.
    """
    survey = asked.metric if asked else metric
    each = 4 * (3 if survey == "ces" else 1)  # value, lower, upper, responses
    if metric == RESOLUTION:
        each += len(_STATS) + 1
    if level == LEAF:
        counts = {"ces": 2, RESOLUTION: len(WITHIN) + 1}
        each += counts.get(survey, len(asked.groups) if asked and survey in _SURVEYS else 0)
    of_touchpoints = {CSAT: 1, "ces": windows}  # the target; whether it runs against CSAT
    return windows * each + (of_touchpoints.get(survey, 0) if level == TOUCHPOINT else 0)


def heading(metric: Metric) -> str:
    """The lines above a family's samples."""
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind.value}\n"


def _lines(name: str, parts: Sequence[Part]) -> bytes:
    """A line for each value; none for NaN. Texts are escaped already, so that nothing needs a quote."""
    heads = [f"{name}{{{head}," for part in parts for head in part.heads]
    firsts = np.cumsum([0, *(len(part.heads) for part in parts)])
    head = np.concatenate([part.rows.window + first for part, first in zip(parts, firsts, strict=False)])
    value, out = pl.Series("value", np.concatenate([part.values for part in parts])), BytesIO()
    columns = {
        "head": pl.Series(heads, dtype=pl.String).gather(head),
        "labels": pl.concat([part.rows.labels for part in parts]),
        "value": value,
    }
    known = pl.col("value").is_not_nan() if value.dtype.is_float() else pl.lit(value=True)
    line = pl.concat_str("head", "labels", pl.lit("}")).alias("line")
    frame = pl.LazyFrame(columns).filter(known).select(line, "value").collect()
    frame.write_csv(out, include_header=False, separator=" ", quote_style="never")
    return out.getvalue()


def _heads(stack: Stack, **labels: str) -> list[str]:
    """The labels that rows share, by the place of their window."""
    return [_head(**labels, window=window) for window in stack.windows]


def _head(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)
