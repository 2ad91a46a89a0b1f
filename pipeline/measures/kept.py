"""`Kept`: the cells from which the sums of windows are made, by the minute, and when they are older by the hour.

What is kept follows log time, so that it is the same for whoever reads the same deltas. When minutes are summed into
their hour follows nothing: no window sees it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.measures.buckets import HOUR, NO_CELLS, Buckets, Int32s, room, summed
from pipeline.measures.packed import CELL, CellRows

NEVER = -(1 << 40)
_WORTH_SUMMING = 1000  # cells: each costs sixteen additions, a sum over all minutes first is cheaper
_TOGETHER = 4  # minutes
_UNHEARD = -(1 << 31)


class Kept:
    """Cells of one (metric, instrument).

    Attributes:
        missing: cells of minutes before this one were let go, here or by whoever filled this before.
    """

    def __init__(self) -> None:
        self.minutes, self.hours = Buckets(1), Buckets(HOUR)
        self.missing = NEVER
        self._settled = NEVER  # minutes before this one are kept by the hour
        self._forgotten = NEVER  # minutes before this one are not kept
        self._sum: HourSum | None = None  # under way
        # leaf -> its last minute: to look through all cells takes too long
        self._latest = np.zeros(0, np.int32)

    def add(self, minute: Int32s, cells: CellRows) -> None:
        """Add cells; their minutes ascend."""
        forgotten, settled = np.searchsorted(minute, (self._forgotten, self._settled))
        if forgotten:
            self.missing = max(self.missing, int(minute[forgotten - 1]) + 1)
        self._note(cells["leaf"], minute)
        self.hours.add(minute[forgotten:settled], cells[forgotten:settled])
        self.minutes.add(minute[settled:], cells[settled:])

    def settle(self, settled: int, forgotten: int) -> None:
        """Minutes before `settled` are kept by the hour from now on, hours before `forgotten` not at all."""
        while self.sum_up():  # what is left of the last time: memory must not grow where nobody does it
            pass
        self._settled, self._forgotten = max(settled, self._settled), max(forgotten, self._forgotten)
        gone = [
            start for kept in (self.hours, self.minutes) for start, _ in kept.take(NEVER, self._forgotten)
        ]
        self.missing = max([self.missing, *(start // HOUR * HOUR + HOUR for start in gone)])

    def sum_up(self) -> int:
        """Sum some minutes that have settled into their hour, which gives memory back and changes nothing else.

        Returns:
            How many cells that took, at least 1; 0 if nothing was due.
        """
        first = self.minutes.first()
        if first is None or first >= self._settled:
            return 0
        start = first // HOUR * HOUR
        if self._sum is None or self._sum.start != start:
            self._sum = HourSum(start)
        if self._sum.upto < start + HOUR:
            return self._sum.add(self.minutes) + 1
        cells, self._sum = self._sum.rows(), None
        self.minutes.take(start, start + HOUR)
        self.hours.add(np.full(len(cells), start, np.int32), cells)
        return len(cells) + 1

    def between(self, first: int, end: int) -> CellRows:
        """What is kept of the minutes in [first, end). Neither may lie within an hour that has settled."""
        parts = self.hours.between(first, end) + self.minutes.between(first, end)
        cells = np.concatenate([NO_CELLS, *parts])
        return summed(cells) if len(parts) > 1 and len(cells) > _WORTH_SUMMING else cells

    def rows(self) -> tuple[Int32s, CellRows]:
        """Everything: the minute of each row, or the start of its hour where it has settled, and the rows."""
        minute, cells = (
            np.concatenate(pair) for pair in zip(self.minutes.rows(), self.hours.rows(), strict=True)
        )
        return np.where(minute < self._settled, minute // HOUR * HOUR, minute).astype(np.int32), cells

    def holds(self, leaves: Int32s) -> npt.NDArray[np.bool_]:
        """Which of these leaves may have cells here; the others have none."""
        self._grow(int(leaves.max(initial=-1)) + 1)
        return self._latest[leaves] >= max(self._forgotten, _UNHEARD + 1)

    def _note(self, leaf: Int32s, minute: Int32s) -> None:
        self._grow(int(leaf.max(initial=-1)) + 1)
        self._latest[leaf] = np.maximum(self._latest[leaf], minute)  # of a leaf, the last minute comes last

    def _grow(self, leaves: int) -> None:
        known = len(self._latest)
        if leaves > known:
            self._latest = room(self._latest, 2 * leaves)
            self._latest[known:] = _UNHEARD


class HourSum:
    """The sum of the minutes of an hour, made bit by bit. Nothing is added to minutes that have settled.

    Attributes:
        start: of the hour, in minutes.
        upto: the minutes before this one are in it.
    """

    def __init__(self, start: int) -> None:
        self.start = self.upto = start
        self._sums = np.zeros((2, 0, 0), np.int64)  # n and total, leaf, column

    def add(self, minutes: Buckets) -> int:
        """Add the next minutes; how many cells these had."""
        parts = minutes.between(self.upto, self.upto + _TOGETHER)
        self.upto += _TOGETHER
        for cells in filter(len, parts):
            self._grow(int(cells["leaf"].max()) + 1, int(cells["column"].max()) + 1)
            place = cells["leaf"].astype(np.int64) * self._sums.shape[2] + cells["column"]
            for sums, name in zip(self._sums, ("n", "total"), strict=True):
                np.add.at(sums.reshape(-1), place, cells[name])
        return sum(map(len, parts))

    def rows(self) -> CellRows:
        """Each (leaf, column) once, ascending; what comes to nothing is left out."""
        leaf, column = np.nonzero(self._sums.any(axis=0))
        out = np.empty(len(leaf), CELL)
        out["leaf"], out["column"] = leaf, column
        out["n"], out["total"] = self._sums[:, leaf, column]
        return out

    def _grow(self, leaves: int, width: int) -> None:
        _, old_leaves, old_width = self._sums.shape
        if leaves > old_leaves or width > old_width:
            sums = np.zeros((2, max(leaves, old_leaves), max(width, old_width)), np.int64)
            sums[:, :old_leaves, :old_width] = self._sums
            self._sums = sums
