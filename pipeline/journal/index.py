"""`Index`: everything that is remembered under the ids of one source partition, whole batches at a time.

Open addressing over a table of row numbers; the rows themselves are dense columns. Ids are 128-bit hashes (`a`, `b`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]

NEVER = -(1 << 62)  # a time before all times; leaves room to subtract a horizon
NO_CELL = -1
_FIRST_SLOTS = 1 << 12


@dataclass(frozen=True, slots=True)
class Ids:
    """What is known under some ids, as columns of one length.

    Attributes:
        a: uint64, first half of the id's hash.
        b: uint64, second half.
        offset: int64, source offset of the version that is in force.
        until: int64, highest `occurred_at` ever seen under the id, milliseconds since 1970.
        version: int64, revision * 2 + retracted of the version in force.
        series: int32, number of the leaf it counts in, or NO_CELL.
        minute: int32, bucket it counts in.
        bin: int32, bin it counts in.
    """

    a: UInt64s
    b: UInt64s
    offset: Int64s
    until: Int64s
    version: Int64s
    series: Int32s
    minute: Int32s
    bin: Int32s

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Ids:
        """The rows chosen by position or by mask."""
        return Ids(*[getattr(self, name)[rows] for name in _NAMES])

    @staticmethod
    def unknown(a: UInt64s, b: UInt64s) -> Ids:
        """Ids of which nothing is known."""
        n = len(a)
        none = np.full(n, NO_CELL, np.int32)
        zeros = np.zeros(n, np.int32)
        version = np.full(n, -1, np.int64)
        return Ids(
            a,
            b,
            np.full(n, -1, np.int64),
            np.full(n, NEVER * 2, np.int64),
            version,
            none,
            zeros,
            zeros.copy(),
        )


_NAMES = Ids.__slots__


class Index:
    """Ids and what is known under them. Grows by doubling; nothing is ever removed in place."""

    def __init__(self) -> None:
        self._count = 0
        self._table = np.zeros(_FIRST_SLOTS, np.int32)  # row number + 1; 0 is an empty slot
        self._rows = Ids.unknown(np.zeros(1024, np.uint64), np.zeros(1024, np.uint64))

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory of the table and the columns, spare room included."""
        return int(self._table.nbytes + sum(getattr(self._rows, name).nbytes for name in _NAMES))

    def get(self, a: UInt64s, b: UInt64s) -> Ids:
        """What is known under these ids; `until` lies before all times where nothing is."""
        known = Ids.unknown(a, b)
        rows = self._find(a, b)
        hit = np.flatnonzero(rows >= 0)
        if len(hit):
            place = rows[hit]
            for name in _NAMES[2:]:
                getattr(known, name)[hit] = getattr(self._rows, name)[place]
        return known

    def put(self, ids: Ids) -> None:
        """Insert or replace; ids in one call are distinct."""
        rows = self._find(ids.a, ids.b)
        old = rows >= 0
        if old.any():
            self._write(rows[old], ids.take(old))
            ids = ids.take(~old)
        if len(ids):
            first = self._count
            self._grow(first + len(ids))
            self._count += len(ids)
            new = np.arange(first, self._count)
            self._write(new, ids)
            self._insert(ids.a, new)

    def all(self) -> Ids:
        """Every id, in the order of first sight."""
        return self._rows.take(np.arange(self._count))

    def _write(self, rows: Int64s, ids: Ids) -> None:
        for name in _NAMES:
            getattr(self._rows, name)[rows] = getattr(ids, name)

    def _find(self, a: UInt64s, b: UInt64s) -> Int64s:
        """Row of each id, or -1. Each round probes one slot further for those still undecided."""
        found = np.full(len(a), -1, np.int64)
        todo = np.arange(len(a))
        mask = len(self._table) - 1
        slot = (a & np.uint64(mask)).astype(np.int64)
        while len(todo):
            row = self._table[slot].astype(np.int64) - 1
            used = row >= 0
            todo, slot, row = todo[used], slot[used], row[used]
            same = (self._rows.a[row] == a[todo]) & (self._rows.b[row] == b[todo])
            found[todo[same]] = row[same]
            todo, slot = todo[~same], (slot[~same] + 1) & mask
        return found

    def _insert(self, a: UInt64s, rows: Int64s) -> None:
        """New rows into the table: of several that want one slot the last writer wins, the others go on."""
        mask = len(self._table) - 1
        slot = (a & np.uint64(mask)).astype(np.int64)
        while len(rows):
            free = self._table[slot] == 0
            self._table[slot[free]] = (rows[free] + 1).astype(np.int32)
            lost = self._table[slot] != rows + 1
            rows, slot = rows[lost], (slot[lost] + 1) & mask

    def _grow(self, need: int) -> None:
        capacity = len(self._rows)
        if need > capacity:
            size = max(need, capacity * 2)
            self._rows = Ids(*(np.resize(getattr(self._rows, name), size) for name in _NAMES))
        if need * 2 > len(self._table):
            self._table = np.zeros(1 << (need * 4 - 1).bit_length(), np.int32)
            self._insert(self._rows.a[: self._count], np.arange(self._count))
