"""`Cap`: how many series Prometheus is shown. First seen is first served; the others are shown together.

A series of Prometheus is a line of a scrape. What is given a place is a leaf or a marginal, with all of its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

import numpy as np

from pipeline.measures.cells import ANY, Series
from pipeline.measures.sums import LEVELS, OVERALL, WindowSums

OTHER = "__other__"
Lines = Callable[[WindowSums, int, int], int]


class Cap:
    """Gives places to leaves and marginals. A series that has gone frees its place.

    Args:
        most: lines of a scrape about windows. Overall and `__other__` have theirs, whatever is left for others.
        lines: how many a series of a level has at most in so many windows, of the (metric, instrument) of the sums.
    """

    def __init__(self, most: int, lines: Lines) -> None:
        self._most, self._lines = most, lines
        self._placed: dict[Series, None] = {}

    def fold(self, every: Sequence[WindowSums]) -> tuple[list[WindowSums], int]:
        """The sums with those of series without a place added up as __other__, and how many lines those would have."""
        wanted, room = self._wanted(every)
        placed = _fitting(wanted, [one for one in self._placed if one in wanted], room)
        room -= sum(map(wanted.__getitem__, placed))
        if len(placed) < len(wanted):
            placed |= _fitting(wanted, (one for one in wanted if one not in placed), room)
        self._placed = placed
        excess = {one: lines for one, lines in wanted.items() if one not in placed}
        return [_folded(sums, excess.keys()) for sums in every] if excess else list(every), sum(
            excess.values()
        )

    def _wanted(self, every: Sequence[WindowSums]) -> tuple[dict[Series, int], int]:
        """The lines of each series that needs a place, and for how many there is room."""
        windows, room = len({sums.window for sums in every}), self._most
        wanted: dict[Series, int] = {}
        each: dict[tuple[str, str], dict[int, int]] = {}
        for sums in every:
            key = sums.metric, sums.instrument
            if key not in each:
                each[key] = {level: self._lines(sums, level, windows) for level in LEVELS}
                room -= sum(each[key].values())  # overall and __other__
            lines = each[key]
            for one, level in zip(sums.series, sums.level.tolist(), strict=True):
                if level != OVERALL:
                    wanted.setdefault(one, lines[level])
        return wanted, room


def _fitting(wanted: dict[Series, int], some: Iterable[Series], room: int) -> dict[Series, None]:
    """The first of them, as far as there is room."""
    found: dict[Series, None] = {}
    for one in some:
        room -= wanted[one]
        if room < 0:
            break
        found[one] = None
    return found


def _folded(sums: WindowSums, excess: Set[Series]) -> WindowSums:
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
