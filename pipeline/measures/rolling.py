"""`Rolling`: the window sums of one (metric, instrument), for every leaf and its marginals, as time goes on.

A tick costs what arrived and what left a window, not series times buckets. What arrives waits until somebody looks at
the windows and is summed first: far behind, most of it is the same few leaves again. All sums are integers, so what is
taken out again leaves exactly nothing behind. Minutes are kept one by one for the 24 h in which a window that moves by
minutes can still let go of them; then they are summed into their hour, since windows above 24 h move by whole
hours. That keeps 30 days in a sixtieth of the memory.

What is kept follows log time and not the clock (`settle`), so that it is the same for whoever reads the same deltas;
the sums of the windows are made from it at the time that the clock says. Much is due when a minute or an hour ends:
`move` and `sum_up` do it bit by bit, so that others have their turn in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import HOUR, NO_CELLS, HeldCells, room, summed
from pipeline.measures.cells import MINUTE_MS, Series
from pipeline.measures.kept import NEVER, Kept
from pipeline.measures.packed import CELL, CellRows
from pipeline.measures.series_rows import MARGINALS, NOBODY, SeriesRows
from pipeline.measures.sums import WindowSums
from pipeline.measures.windows import DAY, MINUTE, Window

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

_AT_ONCE = 50_000  # cells; eight times as many rows are in memory then, and as many may wait for a look
_AHEAD = 2  # hours that a clock may be behind log time: events may be 1 h in the future, and clocks differ


class Rolling:
    """Sums over `windows` (at least one), which end with the running minute and never move back; later cells wait.

    Args:
        metric: of every series.
        instrument: of every series.
        windows: all of them.
        keep: hours of which cells are kept; by default what the longest window needs.

    """

    def __init__(
        self, metric: str, instrument: str, windows: Sequence[Window], keep: int | None = None
    ) -> None:
        self.metric, self.instrument, self.windows = metric, instrument, tuple(windows)
        self._rows = SeriesRows(metric, instrument)
        self._bins = np.zeros(0, np.int32)  # ascending
        self._columns = np.zeros(0, np.int32)  # of each of `_bins`
        self._counts = np.zeros((len(self.windows), 0, 4), np.int64)
        self._totals = np.zeros((len(self.windows), 0), np.int64)
        self._changed = np.zeros((len(self.windows), 0), np.bool_)
        self._kept = Kept()
        self._awaited: list[tuple[Int32s, CellRows]] = []  # minutes, ascending, and cells: in no window yet
        self._first = [NEVER for _ in self.windows]  # minute at which each window begins
        self._end = [NEVER for _ in self.windows]  # minute after the last one of each
        self._keep = max(-(-window.seconds // 3600) for window in windows) if keep is None else keep
        self._floor = NEVER  # the running minute is never before this one
        self._looked = 0  # at the leaves before this one, since log time came to the hour

    @property
    def missing(self) -> int:
        """Cells of minutes before this one were let go, here or by whoever filled this before."""
        return self._kept.missing

    def miss(self, minute: int) -> None:
        """Cells of minutes before this one were let go by whoever filled this before."""
        self._kept.missing = max(self.missing, minute)

    @property
    def series(self) -> Sequence[Series]:
        """One a row; see `SeriesRows`."""
        return self._rows.series

    def number(self, leaves: Sequence[Series]) -> Int32s:
        """The number of each of these leaves, which must name every dimension."""
        numbers = self._rows.number(leaves)
        self._grow(len(self._rows), 0)
        return numbers

    def add(self, leaf: Int32s, minute: Int32s, bins: Int32s, n: Int64s, total: Int64s) -> None:
        """Add changes of cells.

        Args:
            leaf: int32, as `number` gave them.
            minute: int32, buckets in minutes since 1970.
            bins: int32.
            n: int64, changes of counts.
            total: int64, changes of sums in thousandths.
        """
        cells = np.empty(len(leaf), CELL)
        cells["leaf"], cells["column"], cells["n"], cells["total"] = leaf, self._columns_of(bins), n, total
        order = np.argsort(minute, kind="stable")
        minute, cells = minute[order], cells[order]
        self._kept.add(minute, cells)
        first, now = np.searchsorted(minute, (min(self._first), max(self._end)))
        if first < now:
            self._awaited.append((minute[first:now], cells[first:now]))
            if sum(len(cells) for _, cells in self._awaited) > _AT_ONCE:
                self._take_in()

    def settle(self, hour: int) -> None:
        """Log time has come to this hour since 1970: old minutes are kept by the hour, old hours forgotten.

        The clock is then taken to be at most two hours behind (`floor_of`), so that no window needs what is gone.
        """
        self._floor = floor_of(hour)
        if max(self._end) != NEVER:
            self.advance(self._floor * MINUTE_MS)
        self._kept.settle(self._floor - DAY // MINUTE, self._floor - self._keep * HOUR)
        self._looked = 0

    def advance(self, now_ms: int) -> None:
        """Let the windows end with the minute of `now_ms`; an earlier time than before changes nothing."""
        while self.move(now_ms):
            pass

    def is_at(self, window: int, now_ms: int) -> bool:
        """Whether a window ends with the minute of `now_ms`, or later."""
        return self._end[window] >= self._span(window, now_ms)[1]

    def move(self, now_ms: int) -> int:
        """Let one window that is behind end with the minute of `now_ms`.

        Returns:
            How many cells that took, at least 1; 0 if none is behind.
        """
        for w, known in enumerate(self._end):
            first, end = self._span(w, now_ms)
            if end > known:
                self._take_in()
                left = NO_CELLS if known == NEVER else self._kept.between(self._first[w], min(first, known))
                came = self._kept.between(max(first, known), end)
                self._apply([w], left, sign=-1)
                self._apply([w], came)
                self._first[w], self._end[w] = first, end
                return len(left) + len(came) + 1
        return 0

    def sum_up(self) -> int:
        """See `Kept.sum_up`; not while a thread looks at what is kept."""
        return self._kept.sum_up()

    def held(self) -> HeldCells:
        """All cells that are kept: added to a new one that has settled at the same hour, they give the same."""
        minute, cells = self._kept.rows()
        names = self._rows.leaves
        used, at = np.unique(cells["leaf"], return_inverse=True)
        bins = np.empty(len(self._bins), np.int32)
        bins[self._columns] = self._bins
        series = tuple(names[number] for number in used.tolist())
        return HeldCells(
            series, at.astype(np.uint32), minute, bins[cells["column"]], cells["n"], cells["total"]
        )

    def let_go(self, wanted: Callable[[Int32s], Masks], leaves: int) -> Int64s:
        """Give back the rows of leaves that hold nothing any more. Each hour all leaves are looked at once, bit by bit.

        Args:
            wanted: tells of each of these rows whether its leaves must stay all the same.
            leaves: how many to look at now.

        Returns:
            The rows that are nobody's now; new series get them.
        """
        looked_at = self._rows.among(self._looked, self._looked + leaves)
        self._looked += leaves
        empty = looked_at[~self._kept.holds(looked_at)]
        self._take_in()  # by the numbers that they had when they came
        return self._rows.give_back(empty[~wanted(self._rows.marginals(empty)).any(axis=1)])

    def filled(self, window: int) -> bool:
        """Whether a window holds everything that it reaches back to; not if less was kept when it was shorter."""
        return self._first[window] >= self.missing

    def changed(self, window: int, levels: Sequence[int]) -> Int64s:
        """The rows of these levels whose sums in a window changed since they were last marked unchanged."""
        self._take_in()
        rows = len(self._rows)
        return np.flatnonzero(self._changed[window, :rows] & self._are(levels))

    def mark(self, window: int, rows: Sequence[int] | Int64s, *, changed: bool) -> None:
        """Set or clear what `changed` tells."""
        self._changed[window, rows] = changed

    def mark_all(self) -> None:
        """Let `changed` tell every row of every window."""
        self._changed[:] = True

    def sums(self, window: int, rows: Sequence[int] | Int64s) -> WindowSums:
        """What stands in a window for these rows, empty ones included."""
        self._take_in()
        at = np.asarray(rows, np.int64)
        return WindowSums(
            self.metric,
            self.instrument,
            self.windows[window].name,
            tuple(self.series[row] for row in at.tolist()),
            self._rows.level[at],
            self._bins.copy(),
            self._counts[window][at[:, None], self._columns[None, :]],
            self._totals[window, at],
        )

    def rows_of(self, touchpoint: str) -> Sequence[int]:
        """The rows of one touchpoint (of all together where it is empty), with answers or without."""
        return self._rows.of_touchpoint(touchpoint)

    def live(self, window: int, levels: Sequence[int]) -> Int64s:
        """The rows of these levels that have counts in a window, in order of first sight."""
        self._take_in()
        rows = len(self._rows)
        held = self._counts[window, :rows].sum(axis=1) > 0
        return np.flatnonzero(held & self._are(levels))

    def _are(self, levels: Sequence[int]) -> Masks:
        return np.isin(np.arange(NOBODY + 1), levels)[self._rows.level]

    def _span(self, window: int, now_ms: int) -> tuple[int, int]:
        return self.windows[window].span_now(max(now_ms / 1000, self._floor * MINUTE))

    def _take_in(self) -> None:
        """Let the windows hold what they await. Windows that begin before the same cells take the same sums."""
        if not self._awaited:
            return
        minute, cells = (np.concatenate(column) for column in zip(*self._awaited, strict=True))
        self._awaited.clear()
        for last in set(self._end):  # one, but while they move on
            alike = [w for w, end in enumerate(self._end) if end == last]
            end = last
            for first in sorted({self._first[w] for w in alike}, reverse=True):
                within = summed(cells[(minute >= first) & (minute < end)])
                self._apply([w for w in alike if self._first[w] <= first], within)
                end = first

    def _apply(self, windows: Sequence[int], cells: CellRows, sign: int = 1) -> None:
        """Add cells of leaves to the sums of the leaves and their marginals, in these windows."""
        for first in range(0, len(cells), _AT_ONCE):
            some = cells[first : first + _AT_ONCE]
            rows = self._rows.marginals(some["leaf"]).astype(np.int64)
            place = (rows * self._counts.shape[2] + some["column"][:, None]).reshape(-1)
            rows = rows.reshape(-1)
            n, total = (np.repeat(some[name] * sign, MARGINALS) for name in ("n", "total"))
            for window in windows:
                np.add.at(self._counts[window].reshape(-1), place, n)
                np.add.at(self._totals[window], rows, total)
                self._changed[window, rows] = True

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
            self._totals = room(self._totals, new_rows, axis=1)
            self._changed = room(self._changed, new_rows, axis=1)


def floor_of(hour: int) -> int:
    """When log time has come to this hour since 1970, the minute before which the running one cannot lie."""
    return (hour - _AHEAD) * HOUR
