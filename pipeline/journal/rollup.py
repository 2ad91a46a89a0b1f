"""`Rollup`: absolute cells as the fold of one deltas partition, in log order.

Each source numbers its deltas 1, 2, 3, ... for this partition. The fold takes the next number of each source
and drops what it has seen, so duplicates, redelivery and zombies change nothing. The value of a cell at a
version (the deltas offset of its last change) is a function of the log alone: whoever publishes it publishes
the same.

A cell that nobody touches for long leaves the state, by log time (`hours.py`). Touched again it opens a new part, named
by the offset at which it was opened, with a count from zero; readers add the parts. So a state of the last day is
enough to count changes of any day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from pipeline.journal.celltable import Cells, CellTable, Int64s
from pipeline.journal.deltas import CellChanges, Delta
from pipeline.journal.hours import Hours
from pipeline.measures.cells import Series

Source = tuple[str, int]  # name and partition


class Folded(Enum):
    """What became of a delta."""

    TAKEN = "taken"
    SEEN = "seen"
    GAP = "gap"  # its predecessor is in doubt: the outbox sends both again; one that stays is an alarm


@dataclass(frozen=True, slots=True)
class Changed:
    """Cells to publish: `cells` as they stand now, and where they stand in the rollup."""

    cells: Cells
    rows: Int64s

    def __len__(self) -> int:
        return len(self.rows)


class Rollup:
    """The open cells of one deltas partition, and which cells readers do not have yet, closed ones too.

    Attributes:
        leaves: of the cells held, and perhaps others; its place is its number in the cells.
        hours: log time.
    """

    def __init__(self) -> None:
        self.leaves: list[Series] = []
        self.hours = Hours()
        self._number: dict[Source, int] = {}
        self._beyond: dict[Source, int] = {}  # the highest number that came before its predecessor
        self._leaf: dict[Series, int] = {}
        self._table = CellTable()
        self._is_dirty = np.zeros(0, np.bool_)
        self._dirty: deque[Int64s] = deque()  # rows, each at most once, oldest change first
        self._aim: dict[Source, int] = {}  # the numbers that are published once `_before_aim` more cells are
        self._before_aim = 0
        self._done: dict[Source, int] = {}

    def __len__(self) -> int:
        return len(self._table)

    def fold(self, offset: int, delta: Delta) -> Folded:
        """Take the next number of the delta's source; offsets ascend. Only TAKEN changes anything."""
        source = (delta.source, delta.partition)
        known = self._number.get(source, 0)
        if delta.number <= known:
            return Folded.SEEN
        if delta.number > known + 1:
            self._beyond[source] = max(delta.number, self._beyond.get(source, 0))
            return Folded.GAP
        self._number[source] = delta.number
        entered = self.hours.enter(offset, delta.watermark, delta.span)
        self._add(offset, delta.cells)
        if entered:
            self._let_go()
        return Folded.TAKEN

    def changed(self, limit: int) -> Changed:
        """Up to `limit` cells that are not known to be published, oldest change first."""
        if self._before_aim <= 0:
            self._aim, self._before_aim = self.numbers, self.waiting
        taken, size = [np.zeros(0, np.int64)], 0
        while self._dirty and size < limit:
            rows = self._dirty.popleft()
            taken.append(rows[: limit - size])
            size += len(taken[-1])
            if len(taken[-1]) < len(rows):
                self._dirty.appendleft(rows[len(taken[-1]) :])
        rows = np.concatenate(taken)
        self._dirty.appendleft(rows)
        return Changed(self._table.cells.take(rows), rows)

    def published(self, batch: Changed) -> None:
        """The batch that `changed` gave last has arrived. What changed meanwhile stays to be published."""
        rows = self._dirty.popleft()
        again = self._table.cells.version[rows] != batch.cells.version
        self._is_dirty[rows[~again]] = False
        self._dirty.append(rows[again])
        self._before_aim -= len(rows)
        if self._before_aim <= 0:
            self._done = self._aim

    @property
    def numbers(self) -> dict[Source, int]:
        """(source, partition) -> number of the last delta taken."""
        return dict(self._number)

    @property
    def done(self) -> dict[Source, int]:
        """(source, partition) -> number of a delta up to which all cells are published, also while others wait."""
        return self._done if self.waiting else self.numbers

    @property
    def missing(self) -> dict[Source, int]:
        """(source, partition) -> the next number, where a later one has been seen; its sender sends both again."""
        return {s: self._number.get(s, 0) + 1 for s, n in self._beyond.items() if n > self._number.get(s, 0)}

    @property
    def waiting(self) -> int:
        """How many cells are not known to be published."""
        return sum(map(len, self._dirty))

    def cells(self) -> Cells:
        """All open cells."""
        return self._table.cells.take(np.flatnonzero(self._table.open_rows(self.hours.cut)))

    def held(self) -> Changed:
        """All that a successor needs, and in `rows` which of these cells are not known to be published."""
        rows = self._open_or_dirty()
        return Changed(self._table.cells.take(rows), np.flatnonzero(self._is_dirty[rows]))

    def restore(
        self, leaves: Iterable[Series], numbers: Mapping[Source, int], hours: Hours, held: Changed
    ) -> None:
        """Of a new rollup: take over what another one held."""
        for leaf in leaves:
            self._number_of(leaf)
        self._number, self.hours = dict(numbers), hours
        self._table.load(held.cells)
        self._is_dirty = np.zeros(len(held.cells), np.bool_)
        self._is_dirty[held.rows] = True
        self._dirty.append(held.rows)

    def _open_or_dirty(self) -> Int64s:
        count = len(self._table)
        return np.flatnonzero(self._table.open_rows(self.hours.cut) | self._is_dirty[:count])

    def _let_go(self) -> None:
        """Give up closed cells that readers have, and of their leaves, once they are the larger part."""
        rows = self._open_or_dirty()
        if 2 * len(rows) > len(self._table):
            return
        place = np.full(len(self._table), -1, np.int64)
        place[rows] = np.arange(len(rows))
        self._hold(self._table.cells.take(rows))
        self._is_dirty = self._is_dirty[rows]
        self._dirty = deque(place[queued] for queued in self._dirty)

    def _hold(self, cells: Cells) -> None:
        """Hold these cells, and only the leaves that occur among them."""
        used, leaf = np.unique(cells.leaf, return_inverse=True)
        self._table.load(replace(cells, leaf=leaf.astype(np.int32)))
        self.leaves = [self.leaves[number] for number in used.tolist()]
        self._leaf = {series: number for number, series in enumerate(self.leaves)}

    def _add(self, offset: int, changes: CellChanges) -> None:
        leaf = np.array([self._number_of(s) for s in changes.series], np.int32)[changes.at]
        cut = self.hours.cut
        rows = self._table.add(offset, cut, leaf, changes.minute, changes.bin, changes.n, changes.total)
        if len(self._table) > len(self._is_dirty):
            self._is_dirty = np.append(self._is_dirty, np.zeros(len(self._table), np.bool_))
        fresh = rows[~self._is_dirty[rows]]
        self._is_dirty[fresh] = True
        self._dirty.append(fresh)

    def _number_of(self, leaf: Series) -> int:
        number = self._leaf.setdefault(leaf, len(self.leaves))
        if number == len(self.leaves):
            self.leaves.append(leaf)
        return number
