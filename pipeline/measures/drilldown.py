"""`Selection`: one touchpoint looked at closely, and what stands around it: its channels and its segments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.measures.cells import ANY, Series
from pipeline.measures.sums import WindowSums


class Selection(NamedTuple):
    """The series of these dimensions, of every metric, in one window; an empty dimension is the marginal over it."""

    window: str
    touchpoint: str = ANY
    channel: str = ANY
    segment: str = ANY

    def is_itself(self, series: Series) -> bool:
        """The series has just these dimensions."""
        return series[2:] == self[1:]

    def is_around(self, series: Series) -> bool:
        """Itself, another channel (of the same segment), or another segment (of the same channel)."""
        same = series.channel == self.channel or series.segment == self.segment
        return same and series.touchpoint == self.touchpoint


def answers(chosen: Selection, every: Iterable[WindowSums]) -> list[dict[str, Any]]:
    """The histograms of the selection itself in its window: metric, instrument, counts ([bin, n], ascending bins)."""
    return [
        {"metric": sums.metric, "instrument": sums.instrument, "counts": counts}
        for sums in every
        if sums.window == chosen.window
        for series, row in zip(sums.series, sums.counts.tolist(), strict=True)
        if chosen.is_itself(series)
        and (counts := [[k, n] for k, n in zip(sums.bins.tolist(), row, strict=True) if n])
    ]
