"""`CellTable`: the absolute cells of one deltas partition as columns, found by key, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Masks = npt.NDArray[np.bool_]

_FIRST_ROWS = 1 << 10
_MIX = tuple(np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


@dataclass(frozen=True, slots=True)
class Cells:
    """Absolute cells as columns of one length.

    Attributes:
        leaf: int32, number of the leaf.
        minute: int32, the bucket in minutes since 1970.
        bin: int32.
        part: int64, deltas offset at which the cell was opened.
        version: int64, deltas offset of its last change.
        n: int64, the count.
        total: int64, the sum in thousandths.
    """

    leaf: Int32s
    minute: Int32s
    bin: Int32s
    part: Int64s
    version: Int64s
    n: Int64s
    total: Int64s

    def __len__(self) -> int:
        return len(self.leaf)

    def take(self, rows: Int64s) -> Cells:
        """A copy of these rows."""
        return Cells(*(getattr(self, name)[rows] for name in _NAMES))

    @staticmethod
    def empty(size: int) -> Cells:
        """Room for `size` cells."""
        leaf, minute, bins = (np.zeros(size, np.int32) for _ in range(3))
        part, version, n, total = (np.zeros(size, np.int64) for _ in range(4))
        return Cells(leaf, minute, bins, part, version, n, total)


_NAMES = tuple(f.name for f in fields(Cells))


class CellTable:
    """Open addressing over row numbers; the rows are dense columns that grow by doubling and move only in `load`.

    A row whose version lies before the cut that a call names is closed: it is not found any more, and a change of the
    same cell opens a new row. Closed rows stay until `load` leaves them out.
    """

    def __init__(self) -> None:
        self._count = 0
        self._slots = np.zeros(_FIRST_ROWS * 4, np.int32)  # row number + 1; 0 is an empty slot
        self.cells = Cells.empty(_FIRST_ROWS)  # rows from len(self) on are unused

    def __len__(self) -> int:
        return self._count

    def add(
        self, offset: int, cut: int, leaf: Int32s, minute: Int32s, bins: Int32s, n: Int64s, total: Int64s
    ) -> Int64s:
        """Add changes of distinct cells, opening those that are new; the rows that changed. `cut` never goes back."""
        rows = self._find(cut, leaf, minute, bins)
        new = np.flatnonzero(rows < 0)
        if len(new):
            rows[new] = self._open(offset, leaf[new], minute[new], bins[new])
        cells = self.cells
        cells.n[rows] += n
        cells.total[rows] += total
        cells.version[rows] = offset
        return rows

    def open_rows(self, cut: int) -> Masks:
        """Which rows are open."""
        return self.cells.version[: self._count] >= cut

    def load(self, cells: Cells) -> None:
        """Hold these cells as rows 0, 1, 2, ... and no others."""
        self._count, self.cells = 0, Cells.empty(_FIRST_ROWS)
        self._slots = np.zeros(_FIRST_ROWS * 4, np.int32)
        self._grow(len(cells))
        self._count = len(cells)
        for name in _NAMES:
            getattr(self.cells, name)[: self._count] = getattr(cells, name)
        self._insert(_hash(cells.leaf, cells.minute, cells.bin), np.arange(self._count))

    def _open(self, offset: int, leaf: Int32s, minute: Int32s, bins: Int32s) -> Int64s:
        first, count = self._count, len(leaf)
        self._grow(first + count)
        self._count += count
        rows = np.arange(first, first + count)
        cells = self.cells
        cells.leaf[rows], cells.minute[rows], cells.bin[rows] = leaf, minute, bins
        cells.part[rows] = offset
        self._insert(_hash(leaf, minute, bins), rows)
        return rows

    def _find(self, cut: int, leaf: Int32s, minute: Int32s, bins: Int32s) -> Int64s:
        """Open row of each cell, or -1. Each round probes one slot further for those still undecided."""
        found = np.full(len(leaf), -1, np.int64)
        todo, mask, cells = np.arange(len(leaf)), len(self._slots) - 1, self.cells
        slot = _hash(leaf, minute, bins) & mask
        while len(todo):
            row = self._slots[slot].astype(np.int64) - 1
            used = row >= 0
            todo, slot, row = todo[used], slot[used], row[used]
            same = (
                (cells.minute[row] == minute[todo])
                & (cells.leaf[row] == leaf[todo])
                & (cells.bin[row] == bins[todo])
                & (cells.version[row] >= cut)
            )
            found[todo[same]] = row[same]
            todo, slot = todo[~same], (slot[~same] + 1) & mask
        return found

    def _insert(self, place: Int64s, rows: Int64s) -> None:
        """New rows into the slots: of several that want one the last writer wins, the others go on."""
        mask = len(self._slots) - 1
        slot = place & mask
        while len(rows):
            free = self._slots[slot] == 0
            self._slots[slot[free]] = (rows[free] + 1).astype(np.int32)
            lost = self._slots[slot] != rows + 1
            rows, slot = rows[lost], (slot[lost] + 1) & mask

    def _grow(self, need: int) -> None:
        if need > len(self.cells):
            size = max(need, 2 * len(self.cells))
            grown = Cells.empty(size)
            for name in _NAMES:
                getattr(grown, name)[: self._count] = getattr(self.cells, name)[: self._count]
            self.cells = grown
        if need * 2 > len(self._slots):
            self._slots = np.zeros(1 << (need * 4 - 1).bit_length(), np.int32)
            known = self.cells.take(np.arange(self._count))
            self._insert(_hash(known.leaf, known.minute, known.bin), np.arange(self._count))


def _hash(leaf: Int32s, minute: Int32s, bins: Int32s) -> Int64s:
    """62 well-mixed bits. Lives in memory only, so it may change with any version."""
    key = leaf.astype(np.uint64) * _MIX[0]
    key ^= minute.astype(np.int64).view(np.uint64) * _MIX[1]
    key ^= bins.astype(np.int64).view(np.uint64) * _MIX[2]
    key ^= key >> np.uint64(29)
    key *= _MIX[1]
    return (key >> np.uint64(2)).view(np.int64)
