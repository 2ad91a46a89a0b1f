"""`Index`: everything that is remembered under the ids of one source partition, whole batches at a time.

Ids are the bulk of a worker's memory: see `docs/operations.md` for what one takes. So the rows are dense columns, each
as narrow as its values allow, and beside them stands an open-addressing table of row numbers. Ids are 128-bit hashes
(`a`, `b`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.journal.columns import Column, Rows, zeros

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt64s = npt.NDArray[np.uint64]

NEVER = -(1 << 62)  # a time before all times; leaves room to subtract a horizon
NO_CELL = -1
_MINUTE_MS, _HALF_MINUTE_MS = 60_000, 30_000
_FIRST_ROWS, _GROWTH = 256, 1.5
_FULL, _FRESH = 0.66, 0.45  # share of the table that is in use when it is made anew, and after that
_CHUNK = 1 << 16
_KINDS = {
    **{"a": np.uint64, "b": np.uint64, "lead": np.int64, "version": np.int64},
    **{"minute": np.int32, "series": np.int32, "bin": np.int32, "changed": np.bool_},
}
_WORTH_IT = 8  # a whole pass over the rows, where at least one in so many can go


@dataclass(frozen=True, slots=True)
class Ids:
    """What is known under some ids, as columns of one length.

    Attributes:
        a: uint64, first half of the id's hash.
        b: uint64, second half.
        until: int64, highest `occurred_at` ever seen under the id, milliseconds since 1970.
        version: int64, revision * 2 + retracted of the version in force.
        series: int32, number of the leaf it counts in, or NO_CELL.
        minute: int32, bucket it counts in.
        bin: int32, bin it counts in.
    """

    a: UInt64s
    b: UInt64s
    until: Int64s
    version: Int64s
    series: Int32s
    minute: Int32s
    bin: Int32s

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Ids:
        """The rows chosen by position or by mask."""
        return Ids(*[getattr(self, name)[rows] for name in NAMES])

    @staticmethod
    def none() -> Ids:
        """No ids."""
        return Ids.unknown(np.zeros(0, np.uint64), np.zeros(0, np.uint64))

    @staticmethod
    def unknown(a: UInt64s, b: UInt64s) -> Ids:
        """Ids of which nothing is known."""
        n = len(a)
        return Ids(
            a,
            b,
            until=np.full(n, NEVER * 2, np.int64),
            version=np.full(n, -1, np.int64),
            series=np.full(n, NO_CELL, np.int32),
            minute=np.zeros(n, np.int32),
            bin=np.zeros(n, np.int32),
        )


NAMES = Ids.__slots__


@dataclass(frozen=True, slots=True)
class Places:
    """Where ids stand in an index. Good until that index changes.

    Attributes:
        rows: int64, the row of each; -1 for nowhere.
        slots: int64, where in the table the search for it ended.
        mark: the index as it was then.
    """

    rows: Int64s
    slots: Int64s
    mark: object

    def take(self, rows: npt.NDArray[np.intp]) -> Places:
        """Those of some ids."""
        return Places(self.rows[rows], self.slots[rows], self.mark)


def lead(until: Int64s, minute: Int32s) -> Int64s:
    """`until` as the time since the middle of the bucket: a small number for an id that was never edited."""
    return until - (minute * np.int64(_MINUTE_MS) + _HALF_MINUTE_MS)


def until_of(lead: npt.NDArray[np.signedinteger[Any]], minute: Int32s) -> Int64s:
    """The inverse of `lead`."""
    middle: Int64s = minute * np.int64(_MINUTE_MS) + _HALF_MINUTE_MS
    return middle + lead


class Index:
    """Ids and what is known under them. Nothing leaves but by `forget`."""

    def __init__(self) -> None:
        self._count = 0
        self._room = 0
        self._mark = object()  # another one after each change
        self._table = np.zeros(int(_FIRST_ROWS / _FRESH), np.uint32)  # row number + 1; 0 is an empty slot
        self._columns = {name: Column(kind) for name, kind in _KINDS.items()}
        self.reserve(_FIRST_ROWS)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._table.nbytes + self._count * sum(column.itemsize for column in self._columns.values())

    def get(self, a: UInt64s, b: UInt64s) -> Ids:
        """What is known under these ids; `until` lies before all times where nothing is."""
        return self.at(self.find(a, b).rows, a, b)

    def find(self, a: UInt64s, b: UInt64s) -> Places:
        """Where each id stands."""
        return Places(*self._find(a, b), self._mark)

    def at(self, rows: Int64s, a: UInt64s, b: UInt64s) -> Ids:
        """What is known under ids that `find` found at these rows."""
        known = Ids.unknown(a, b)
        hit = np.flatnonzero(rows >= 0)
        if len(hit):
            found = self._read(rows[hit])
            for name in NAMES[2:]:
                getattr(known, name)[hit] = getattr(found, name)
        return known

    def put(self, ids: Ids, *, sealed: bool = False, places: Places | None = None) -> None:
        """Insert or replace; ids in one call are distinct.

        Args:
            ids: what is known now.
            sealed: it stands in a segment, and is no change since.
            places: where they stand, from whoever looked before. If something changed since, it is looked again.
        """
        self.reserve(self._count + len(ids))  # first: a new table has other slots
        if places is None or places.mark is not self._mark:
            places = self.find(ids.a, ids.b)
        self._mark = object()
        rows, slot = places.rows, places.slots
        old, new = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        if len(old):
            self._write(rows[old], ids.take(old), sealed)
            ids = ids.take(new)
        if len(ids):
            first = self._count
            self._count += len(ids)
            self._write(slice(first, self._count), ids, sealed)
            self._insert(first, slot[new])

    def changed(self) -> Ids:
        """What is known under the ids that were put since they were last sealed."""
        return self._read(np.flatnonzero(self._columns["changed"][: self._count]))

    def sealed(self) -> None:
        """Everything stands in segments."""
        if self._count:
            self._columns["changed"].write(slice(0, self._count), np.zeros(1, np.bool_))

    def all(self) -> Ids:
        """Every id."""
        return self._read(np.arange(self._count))

    def forget(self, limit: int) -> int:
        """Let go of ids that were last seen before `limit`, if enough can go to be worth a pass; how many went.

        Housekeeping: whoever looks such an id up takes it for unknown anyway, because the watermark never goes back.
        """
        starts = range(0, self._count, _CHUNK)
        old = [self._until(slice(k, min(k + _CHUNK, self._count))) < limit for k in starts]
        gone = sum(int(part.sum()) for part in old)
        if not gone or gone * _WORTH_IT < self._count:
            return 0
        alive = np.flatnonzero(~np.concatenate(old))
        for column in self._columns.values():
            column.keep(alive)
        self._count = self._room = len(alive)
        self._renew_table(self._count)
        return gone

    def reserve(self, rows: int) -> None:
        """Make room for so many, where there is less."""
        if rows > self._room:
            self._room = max(rows, int(self._room * _GROWTH))
            for column in self._columns.values():
                column.resize(self._count, self._room)
        if rows > len(self._table) * _FULL:
            self._renew_table(rows)

    def _read(self, rows: Rows) -> Ids:
        read = self._columns
        return Ids(
            read["a"][rows],
            read["b"][rows],
            until=self._until(rows),
            version=read["version"][rows].astype(np.int64),
            series=read["series"][rows].astype(np.int32),
            minute=read["minute"][rows].astype(np.int32),
            bin=read["bin"][rows].astype(np.int32),
        )

    def _until(self, rows: Rows) -> Int64s:
        return until_of(self._columns["lead"][rows], self._columns["minute"][rows])

    def _write(self, rows: Rows, ids: Ids, sealed: bool) -> None:
        columns = self._columns
        for name in ("a", "b", "minute", "version", "series", "bin"):
            columns[name].write(rows, getattr(ids, name))
        columns["lead"].write(rows, lead(ids.until, ids.minute))
        columns["changed"].write(rows, np.array(not sealed))

    def _slots(self, a: UInt64s) -> Int64s:
        """Where the search for an id begins. Any size of table will do, so that it need not double."""
        return ((a >> np.uint64(32)) * np.uint64(len(self._table)) >> np.uint64(32)).astype(np.int64)

    def _find(self, a: UInt64s, b: UInt64s) -> tuple[Int64s, Int64s]:
        """Row of each id, or -1, and the slot at which the search ended: an empty one for an id that is not there.

        Each round probes one slot further for those still undecided.
        """
        found, ended = np.full(len(a), -1, np.int64), self._slots(a)
        known_a, known_b = self._columns["a"], self._columns["b"]
        todo, slot = np.arange(len(a)), ended
        while len(todo):
            entry = self._table[slot]
            used = np.flatnonzero(entry)
            todo, slot, row = todo[used], slot[used], entry[used].astype(np.int64) - 1
            same = known_a[row] == a[todo]
            hit = np.flatnonzero(same)
            wrong = known_b[row[hit]] != b[todo[hit]]
            same[hit[wrong]] = False
            hit = hit[~wrong]
            found[todo[hit]] = row[hit]
            other = np.flatnonzero(~same)
            todo, slot = todo[other], self._next(slot[other])
            ended[todo] = slot
        return found, ended

    def _next(self, slot: Int64s) -> Int64s:
        slot += 1
        slot[slot == len(self._table)] = 0
        return slot

    def _insert(self, first: int, slot: Int64s) -> None:
        """New rows, `first` and those behind it, into the table, from these slots on.

        Of several that want one slot the last writer wins, the others go on.
        """
        rows = np.arange(first + 1, first + 1 + len(slot), dtype=np.uint32)
        while len(rows):
            free = np.flatnonzero(self._table[slot] == 0)
            self._table[slot[free]] = rows[free]
            lost = np.flatnonzero(self._table[slot] != rows)
            rows, slot = rows[lost], self._next(slot[lost])

    def _renew_table(self, rows: int) -> None:
        self._mark = object()
        self._table = zeros(max(int(rows / _FRESH), int(_FIRST_ROWS / _FRESH)), np.uint32)
        for start in range(0, self._count, _CHUNK):
            self._insert(start, self._slots(self._columns["a"][start : min(start + _CHUNK, self._count)]))
