"""`Rolling`: the window sums of one (metric, instrument), for every leaf and its marginals, as time goes on.

A tick costs what arrived and what left a window, not series times buckets. All sums are integers, so what is
taken out again leaves exactly nothing behind. Minutes are kept one by one as long as a window that moves by
minutes can still let go of them; then they are summed into their hour, since windows above 24 h move by whole
hours. That keeps 30 days in a sixtieth of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import CELL, HOUR, Buckets, CellRows, summed
from pipeline.measures.cells import Series, marginals
from pipeline.measures.windows import DAY, Window

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

OVERALL, TOUCHPOINT, LEAF = 0, 1, 7  # which dimensions a series names: 1 touchpoint + 2 channel + 4 segment
_NEVER = -(1 << 40)
_AT_ONCE = 50_000  # cells; eight times as many rows are in memory then


@dataclass(frozen=True, slots=True)
class WindowSums:
    """A copy of what stands in one window of some series.

    Attributes:
        metric: of every series.
        instrument: of every series.
        window: its name.
        series: one a row.
        level: int8, which dimensions each series names (OVERALL, TOUCHPOINT, LEAF or between).
        bins: int32[width], ascending.
        counts: int64[rows, width].
        totals: int64[rows], sums in thousandths.
    """

    metric: str
    instrument: str
    window: str
    series: tuple[Series, ...]
    level: Int8s
    bins: Int32s
    counts: Int64s
    totals: Int64s


class Rolling:
    """Sums over `windows` (at least one), which all end with the running minute and never move back.

    Cells of minutes to come wait for their minute. Cells older than every window are forgotten.
    """

    def __init__(self, metric: str, instrument: str, windows: Sequence[Window]) -> None:
        self.metric, self.instrument, self.windows = metric, instrument, tuple(windows)
        self.series: list[Series] = []
        self._row: dict[Series, int] = {}
        self._leaf: dict[Series, int] = {}
        self._marginals = np.zeros((0, 8), np.int32)  # leaf -> its rows
        self._level = np.zeros(0, np.int8)
        self._bins = np.zeros(0, np.int32)  # ascending
        self._columns = np.zeros(0, np.int32)  # of each of `_bins`
        self._counts = np.zeros((len(self.windows), 0, 4), np.int64)
        self._totals = np.zeros((len(self.windows), 0), np.int64)
        self._changed = np.zeros((len(self.windows), 0), np.bool_)
        self._minutes, self._hours = Buckets(1), Buckets(HOUR)
        self._first = [_NEVER for _ in self.windows]  # minute at which each window begins
        self._end = _NEVER  # minute after the running one
        self._settled = _NEVER  # minutes before this one are kept by the hour

    def leaf(self, series: Series) -> int:
        """The number of a leaf, which must name every dimension."""
        known = self._leaf.get(series)
        if known is not None:
            return known
        number = self._leaf[series] = len(self._leaf)
        rows = [self._row_of(one) for one in marginals(series)]
        if number == len(self._marginals):
            self._marginals = _room(self._marginals, max(16, 2 * number))
        self._marginals[number] = rows
        return number

    def add(self, leaf: Int32s, minute: Int32s, bins: Int32s, n: Int64s, total: Int64s) -> None:
        """Add changes of cells.

        Args:
            leaf: int32, numbers that `leaf` gave.
            minute: int32, buckets in minutes since 1970.
            bins: int32.
            n: int64, changes of counts.
            total: int64, changes of sums in thousandths.
        """
        cells = np.empty(len(leaf), CELL)
        cells["leaf"], cells["column"], cells["n"], cells["total"] = leaf, self._columns_of(bins), n, total
        order = np.argsort(minute, kind="stable")
        minute, cells = minute[order], cells[order]
        settled, now, oldest = np.searchsorted(minute, (self._settled, self._end, min(self._first)))
        self._hours.add(minute[oldest:settled], cells[oldest:settled])
        self._minutes.add(minute[settled:], cells[settled:])
        for w, first in enumerate(np.searchsorted(minute, self._first).tolist()):
            self._apply(w, cells[first:now])

    def advance(self, now_ms: int) -> None:
        """Let the windows end with the minute of `now_ms`; an earlier time than before changes nothing."""
        spans = [window.span_now(now_ms / 1000) for window in self.windows]
        firsts, end = [first for first, _ in spans], spans[0][1]
        if end <= self._end:
            return
        if self._end == _NEVER:
            self._first = firsts
        self._enter(end)
        self._leave_minutes(firsts)
        self._settle([first for w, first in enumerate(firsts) if not self._by_hour(w)])
        self._leave_hours(firsts)

    def changed(self, window: int, levels: Sequence[int]) -> Int64s:
        """The rows of these levels whose sums in a window changed since they were last marked unchanged."""
        rows = len(self.series)
        return np.flatnonzero(self._changed[window, :rows] & np.isin(self._level[:rows], levels))

    def mark(self, window: int, rows: Sequence[int] | Int64s, *, changed: bool) -> None:
        """Set or clear what `changed` tells."""
        self._changed[window, rows] = changed

    def mark_all(self) -> None:
        """Let `changed` tell every row of every window."""
        self._changed[:] = True

    def sums(self, window: int, rows: Sequence[int] | Int64s) -> WindowSums:
        """What stands in a window for these rows, empty ones included."""
        at = np.asarray(rows, np.int64)
        return WindowSums(
            self.metric,
            self.instrument,
            self.windows[window].name,
            tuple(self.series[row] for row in at.tolist()),
            self._level[at],
            self._bins.copy(),
            self._counts[window][at[:, None], self._columns[None, :]],
            self._totals[window, at],
        )

    def live(self, window: int, levels: Sequence[int]) -> Int64s:
        """The rows of these levels that have counts in a window, in order of first sight."""
        rows = len(self.series)
        held = self._counts[window, :rows].sum(axis=1) > 0
        return np.flatnonzero(held & np.isin(self._level[:rows], levels))

    def _enter(self, end: int) -> None:
        """What waits for minutes that have come counts from now on."""
        begun: dict[int, CellRows] = {}
        for w, first in enumerate(self._first):
            start = max(first, self._end)
            if start not in begun:
                begun[start] = self._minutes.between(start, end)
            self._apply(w, begun[start])
        self._end = end

    def _leave_minutes(self, firsts: list[int]) -> None:
        for w, first in enumerate(firsts):
            if not self._by_hour(w):
                self._apply(w, self._minutes.between(self._first[w], first), sign=-1)
                self._first[w] = first

    def _settle(self, by_minute: list[int]) -> None:
        """Minutes that no window by minutes can let go of any more are summed into hours."""
        settled = min(by_minute, default=self._end)
        for minute, cells in self._minutes.take(self._settled, settled):
            self._hours.add(np.full(len(cells), minute, np.int32), summed(cells))
        self._settled = settled

    def _leave_hours(self, firsts: list[int]) -> None:
        for w, first in enumerate(firsts):
            if self._by_hour(w):
                self._apply(w, self._hours.between(self._first[w], first), sign=-1)
                self._first[w] = first
        self._hours.take(_NEVER, min(self._first))

    def _by_hour(self, window: int) -> bool:
        return self.windows[window].seconds > DAY

    def _apply(self, window: int, cells: CellRows, sign: int = 1) -> None:
        """Add cells of leaves to the sums of the leaves and their marginals."""
        for first in range(0, len(cells), _AT_ONCE):
            self._apply_some(window, cells[first : first + _AT_ONCE], sign)

    def _apply_some(self, window: int, cells: CellRows, sign: int) -> None:
        counts = self._counts[window]
        rows = self._marginals[cells["leaf"]].astype(np.int64)
        place = rows * counts.shape[1] + cells["column"][:, None]
        np.add.at(counts.reshape(-1), place.reshape(-1), np.repeat(cells["n"] * sign, 8))
        np.add.at(self._totals[window], rows.reshape(-1), np.repeat(cells["total"] * sign, 8))
        self._changed[window, rows.reshape(-1)] = True

    def _row_of(self, series: Series) -> int:
        row = self._row.setdefault(series, len(self.series))
        if row == len(self.series):
            self.series.append(series)
            self._grow(row + 1, 0)
            self._level[row] = bool(series.touchpoint) + 2 * bool(series.channel) + 4 * bool(series.segment)
        return row

    def _columns_of(self, bins: Int32s) -> Int32s:
        """The column of each bin; new bins get the next ones."""
        place = np.searchsorted(self._bins, bins)
        known = place < len(self._bins)
        known[known] = self._bins[place[known]] == bins[known]
        if not known.all():
            new = np.unique(bins[~known])
            width = len(self._bins)
            where = np.searchsorted(self._bins, new)
            self._bins = np.insert(self._bins, where, new)
            self._columns = np.insert(self._columns, where, width + np.arange(len(new)))
            self._grow(0, len(self._bins))
            place = np.searchsorted(self._bins, bins)
        return self._columns[place]

    def _grow(self, rows: int, width: int) -> None:
        """Room for so many series and bins, by doubling."""
        windows, old_rows, old_width = self._counts.shape
        if rows > old_rows or width > old_width:
            new_rows = old_rows if rows <= old_rows else max(16, 2 * rows)
            new_width = old_width if width <= old_width else 2 * width
            counts = np.zeros((windows, new_rows, new_width), np.int64)
            counts[:, :old_rows, :old_width] = self._counts
            self._counts = counts
        if rows > old_rows:
            self._level = _room(self._level, new_rows)
            self._totals = _room(self._totals, new_rows, axis=1)
            self._changed = _room(self._changed, new_rows, axis=1)


def _room(array: npt.NDArray[Any], size: int, axis: int = 0) -> npt.NDArray[Any]:
    """`array` with zeros behind it, so that it has `size` along `axis`."""
    shape = list(array.shape)
    shape[axis] = size - shape[axis]
    return np.concatenate((array, np.zeros(shape, array.dtype)), axis)
