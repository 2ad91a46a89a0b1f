"""What becomes of each record: counted, retracted, duplicate, stale or late. A whole batch at a time.

The outcome of a record depends on the log alone. Lateness is decided first, against the watermark of the records
before it; then versions of one id are ordered by (revision, retracted): the same pair again is a duplicate, a lower
one stale, a higher one replaces what stood before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pipeline.journal.index import NO_CELL, Ids, Index, Int32s, Int64s, UInt64s


class Outcome(IntEnum):
    """The one thing that happened to a record; the name in lower case is the label everywhere."""

    COUNTED = 0
    RETRACTED = 1
    DUPLICATE = 2
    STALE = 3
    LATE = 4
    DEAD_LETTER = 5

    @property
    def label(self) -> str:
        """As in tables and metrics."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Good records of one source partition in offset order, as columns.

    Attributes:
        a: uint64, b: uint64: hash of the id.
        time: int64, `occurred_at` in milliseconds since 1970.
        version: int64, revision * 2 + retracted.
        series: int32, number of the leaf it counts in.
        bin: int32.
    """

    a: UInt64s
    b: UInt64s
    time: Int64s
    version: Int64s
    series: Int32s
    bin: Int32s

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a batch of arrivals did.

    Attributes:
        outcome: uint8 of `Outcome`, one an arrival.
        ids: the ids of which something changed, as they are now.
        gone: ids with the cells that they no longer count in (predecessors of newer versions).
        watermark: highest `occurred_at` of the partition after this batch.
    """

    outcome: npt.NDArray[np.uint8]
    ids: Ids
    gone: Ids
    watermark: int


def settle(index: Index, arrivals: Arrivals, horizon: int, watermark: int) -> Settled:
    """Decide a batch.

    Args:
        index: what is known under each id before the batch; it is not changed.
        arrivals: the batch.
        horizon: milliseconds behind the watermark within which records count and ids are remembered.
        watermark: highest `occurred_at` of the partition before the batch.
    """
    seen = np.maximum.accumulate(np.concatenate(([watermark], arrivals.time)))
    limit = seen[:-1] - horizon
    late = arrivals.time < limit
    outcome = np.full(len(arrivals), Outcome.LATE, np.uint8)
    first, turn = repeats(arrivals.a, arrivals.b)
    before = index.get(arrivals.a, arrivals.b)
    now = before.take(np.arange(len(arrivals)))
    gone: list[Ids] = []
    for k in range(int(turn.max(initial=0)) + 1):
        rows = np.flatnonzero((turn == k) & ~late)
        gone.append(_one_version_each(now, arrivals, rows, first[rows], limit[rows], outcome))
    touched = (now.until != before.until) | (now.version != before.version)
    return Settled(outcome, now.take(np.flatnonzero(touched)), _joined(gone), int(seen[-1]))


def _one_version_each(
    now: Ids, arrivals: Arrivals, rows: Int64s, place: Int64s, limit: Int64s, outcome: npt.NDArray[np.uint8]
) -> Ids:
    """Settle `rows`, of which no two share an id; `now[place]` is what is known. Returns the cells left behind."""
    version, time = arrivals.version[rows], arrivals.time[rows]
    known = now.until[place] >= limit
    duplicate = known & (version == now.version[place])
    stale = known & (version < now.version[place])
    fresh = ~(duplicate | stale)
    outcome[rows] = np.where(duplicate, Outcome.DUPLICATE, Outcome.STALE)
    retracted = version & 1
    outcome[rows[fresh]] = np.where(retracted[fresh], Outcome.RETRACTED, Outcome.COUNTED)
    left = now.take(place[fresh & known & (now.series[place] != NO_CELL)])
    now.until[place] = np.where(known, np.maximum(now.until[place], time), time)
    source, target = rows[fresh], place[fresh]
    now.version[target] = version[fresh]
    now.series[target] = np.where(retracted[fresh], NO_CELL, arrivals.series[source])
    now.minute[target] = time[fresh] // 60_000
    now.bin[target] = arrivals.bin[source]
    return left


def _joined(parts: list[Ids]) -> Ids:
    if len(parts) == 1:
        return parts[0]
    names = Ids.__slots__
    return Ids(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def repeats(a: UInt64s, b: UInt64s) -> tuple[Int64s, Int64s]:
    """For each row: the first row of the batch with the same id, and how many came before it.

    A small scratch table leaves only a few suspects to sort: two rows in one slot share the id or merely the slot.
    """
    n = len(a)
    first, turn = np.arange(n), np.zeros(n, np.int64)
    if n < 2:
        return first, turn
    size = 1 << (4 * n - 1).bit_length()
    slot = (a & np.uint64(size - 1)).astype(np.int64)
    scratch = np.empty(size, np.int32)
    scratch[slot] = first
    winner = scratch[slot]
    lost = winner != first
    if not lost.any():
        return first, turn
    suspect = lost.copy()
    suspect[winner[lost]] = True
    rows = np.flatnonzero(suspect)
    rows = rows[np.lexsort((rows, b[rows], a[rows]))]
    same = (a[rows[1:]] == a[rows[:-1]]) & (b[rows[1:]] == b[rows[:-1]])
    start = np.maximum.accumulate(np.where(np.concatenate(([False], same)), 0, np.arange(len(rows))))
    first[rows] = rows[start]
    turn[rows] = np.arange(len(rows)) - start
    return first, turn
