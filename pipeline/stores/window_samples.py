"""Window sums as lines of the Prometheus text format.

Written as columns, outside of the interpreter's lock: the client library takes 8 us a sample, this 0.3, and a worker
may show two million of them while it counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from pipeline.measures.sums import LEAF, TOUCHPOINT, WindowSums
from pipeline.stores import metrics
from pipeline.stores.cap import OTHER
from pipeline.stores.metric import Metric

DEFAULT_TARGET = 0.8
WITHIN = (60, 300, 900, 3600, 14_400, 28_800, 86_400, 259_200, 604_800)  # seconds
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_STATS = tuple(f"p{percent}" for percent in durations.PERCENTS)


class WindowSamples:
    """Collects samples by family.

    Args:
        instruments: the ones in use, by name.
        targets: CSAT that touchpoints should reach, where it is not 0.8.
    """

    def __init__(self, instruments: Mapping[str, Instrument], targets: Mapping[str, float]) -> None:
        self._instruments = instruments
        self._targets = targets
        self._columns: dict[
            Metric, list[tuple[str, pl.Series, npt.NDArray[Any]]]
        ] = {}  # head, labels, values
        self._labels: dict[tuple[str, ...], str] = {}
        self._touchpoints: dict[str, None] = {}  # with CSAT
        self._leanings: list[Told] = []  # of touchpoints with enough answers to tell a direction by

    def add(self, sums: WindowSums) -> None:
        """Everything about one window of one (metric, instrument). Series without responses must not be in it."""
        scores = score_columns(sums, self._instruments)
        if not scores:
            return
        everyone = pl.Series([self._label(one) for one in sums.series], dtype=pl.String)
        leaves = np.flatnonzero(sums.level == LEAF)
        of_leaves = everyone.gather(leaves)
        asked = self._instruments.get(sums.instrument)
        if asked is not None and asked.metric in _SURVEYS:
            _SURVEYS[asked.metric](self, sums, asked, leaves, of_leaves)
        elif sums.metric == RESOLUTION:
            self._resolution(sums, leaves, of_leaves, everyone)
        self._scores(sums, scores, everyone)

    def blocks(self) -> Iterator[bytes]:
        """All lines, a family at a time below its help and type; in pieces, since all of it may be 300 MB."""
        touchpoints = pl.Series([_head(touchpoint=one) for one in self._touchpoints], dtype=pl.String)
        targets = [self._targets.get(one, DEFAULT_TARGET) for one in self._touchpoints]
        self._write(metrics.SCORE_TARGET, _head(metric=CSAT), touchpoints, targets)
        found: dict[str, dict[str, int]] = {}
        for one in verdicts(self._leanings):
            head = _head(instrument=one.effort, csat=one.csat, window=one.window)
            found.setdefault(head, {})[_head(touchpoint=one.touchpoint)] = int(one.against)
        for head, against in found.items():
            self._write(metrics.EFFORT_AGAINST_CSAT, head, pl.Series(list(against)), list(against.values()))
        for metric in filter(self._columns.__contains__, metrics.ALL):
            lines = [
                _lines(f"{metric.name}{{{head},", labels, values)
                for head, labels, values in self._columns.pop(metric)
            ]
            yield b"".join([heading(metric).encode(), *lines])

    def _nps(self, sums: WindowSums, asked: Instrument, leaves: Int64s, labels: pl.Series) -> None:
        self._groups(metrics.NPS_RESPONSES, "group", sums, asked, leaves, labels)

    def _csat(self, sums: WindowSums, asked: Instrument, leaves: Int64s, labels: pl.Series) -> None:
        self._groups(metrics.CSAT_RESPONSES, "result", sums, asked, leaves, labels)
        names = (sums.series[k].touchpoint for k in np.flatnonzero(sums.level == TOUCHPOINT).tolist())
        self._touchpoints |= dict.fromkeys(name for name in names if name != OTHER)

    def _ces(self, sums: WindowSums, asked: Instrument, leaves: Int64s, labels: pl.Series) -> None:
        counts, head = sums.counts[leaves], _head(instrument=sums.instrument, window=sums.window)
        turned = np.array([asked.turn(k) for k in sums.bins.tolist()], np.int64)
        self._write(metrics.CES_RESPONSES, head, labels, counts.sum(axis=1))
        self._write(metrics.CES_SCORE_SUM, head, labels, counts @ turned)

    def _groups(
        self,
        metric: Metric,
        label: str,
        sums: WindowSums,
        asked: Instrument,
        leaves: Int64s,
        labels: pl.Series,
    ) -> None:
        for group, counts in group_counts(asked, sums.counts[leaves], sums.bins).items():
            head = _head(instrument=sums.instrument, window=sums.window, **{label: group})
            self._write(metric, head, labels, counts)

    def _resolution(self, sums: WindowSums, leaves: Int64s, labels: pl.Series, everyone: pl.Series) -> None:
        """A case counts as within a limit if the middle of its bin is: right to 4.43 % of the limit."""
        clock = {"clock": sums.instrument, "window": sums.window}
        middles, counts = durations.middles(sums.bins), sums.counts[leaves]
        for limit in (*map(float, WITHIN), np.inf):
            head = _head(**clock, within="+Inf" if limit == np.inf else f"{limit:.0f}")
            self._write(metrics.RESOLUTION_CASES, head, labels, counts[:, middles <= limit].sum(axis=1))
        for stat, seconds in zip(_STATS, durations.quantile_matrix(sums.counts, sums.bins).T, strict=True):
            self._write(metrics.RESOLUTION_SECONDS, _head(**clock, stat=stat), everyone, seconds)
        means = sums.totals / 1000 / sums.counts.sum(axis=1)
        self._write(metrics.RESOLUTION_SECONDS, _head(**clock, stat="mean"), everyone, means)

    def _scores(self, sums: WindowSums, scores: Mapping[str, ScoreColumns], everyone: pl.Series) -> None:
        for name, columns in scores.items():
            head = _head(metric=name, instrument=sums.instrument, window=sums.window)
            self._write(metrics.SCORE, head, everyone, columns.value)
            self._write(metrics.SCORE_LOWER, head, everyone, columns.lower)
            self._write(metrics.SCORE_UPPER, head, everyone, columns.upper)
            self._write(metrics.SCORE_RESPONSES, head, everyone, columns.n)
            if name in (CSAT, EASE):
                self._lean(name, sums, columns)

    def _lean(self, name: str, sums: WindowSums, columns: ScoreColumns) -> None:
        for k in np.flatnonzero((sums.level == TOUCHPOINT) & (columns.n >= LEAST)).tolist():
            touchpoint = sums.series[k].touchpoint
            if touchpoint != OTHER:
                self._leanings.append(Told(name, sums.instrument, sums.window, touchpoint, columns.row(k)))

    def _write(self, metric: Metric, head: str, labels: pl.Series, values: npt.ArrayLike) -> None:
        """A line for each value that is known."""
        if len(labels):
            self._columns.setdefault(metric, []).append((head, labels, np.asarray(values)))

    def _label(self, series: Series) -> str:
        place = series[2:]
        label = self._labels.get(place)
        if label is None:
            touchpoint, channel, segment = map(_escaped, place)
            label = f'touchpoint="{touchpoint}",channel="{channel}",segment="{segment}"'
            self._labels[place] = label
        return label


_SURVEYS = {"nps": WindowSamples._nps, CSAT: WindowSamples._csat, "ces": WindowSamples._ces}


def heading(metric: Metric) -> str:
    """The lines above a family's samples."""
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} {metric.kind.value}\n"


def _lines(start: str, labels: pl.Series, values: npt.NDArray[Any]) -> bytes:
    """A line for each value; none for NaN. Texts are escaped already, so that nothing needs a quote."""
    name = pl.concat_str(pl.lit(start), pl.lit(labels), pl.lit("}"))
    frame, out = (
        pl.select(name.alias("name"), pl.lit(pl.Series(values)).alias("value")),
        BytesIO(),
    )
    known = frame.filter(pl.col("value").is_not_nan()) if frame["value"].dtype.is_float() else frame
    known.write_csv(out, include_header=False, separator=" ", quote_style="never")
    return out.getvalue()


def _head(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)
