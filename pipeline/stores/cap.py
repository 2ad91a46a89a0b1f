"""`Cap`: how many series Prometheus is shown. First seen is first served; the others are shown together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.measures.cells import ANY, Series
from pipeline.measures.sums import OVERALL, WindowSums

OTHER = "__other__"


class Cap:
    """Gives places to leaves and touchpoints; overall never needs one. A series that has gone frees its place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._placed: dict[Series, None] = {}

    def fold(self, every: Sequence[WindowSums]) -> tuple[list[WindowSums], int]:
        """The sums with those of series without a place added up as __other__, and how many series these are."""
        live = {one: None for sums in every for one in _needing_a_place(sums)}
        placed = {one: None for one in self._placed if one in live}
        waiting = [one for one in live if one not in placed]
        room = self._most - len(placed)
        self._placed = placed | dict.fromkeys(waiting[:room])
        excess = set(waiting[room:])
        return [_folded(sums, excess) for sums in every] if excess else list(every), len(excess)


def _needing_a_place(sums: WindowSums) -> Iterable[Series]:
    return (one for one, level in zip(sums.series, sums.level.tolist(), strict=True) if level != OVERALL)


def _folded(sums: WindowSums, excess: set[Series]) -> WindowSums:
    """Rows with the same name in the end are added; the order of first sight stays."""
    names = [_other(one) if one in excess else one for one in sums.series]
    place = {name: row for row, name in enumerate(dict.fromkeys(names))}
    at = np.array([place[name] for name in names], np.int64)
    counts = np.zeros((len(place), sums.counts.shape[1]), np.int64)
    totals = np.zeros(len(place), np.int64)
    level = np.zeros(len(place), np.int8)
    np.add.at(counts, at, sums.counts)
    np.add.at(totals, at, sums.totals)
    level[at] = sums.level
    return replace(sums, series=tuple(place), level=level, counts=counts, totals=totals)


def _other(series: Series) -> Series:
    return Series(*series[:2], *(OTHER if dimension != ANY else ANY for dimension in series[2:]))
