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

from pipeline.events.alike import first_alike
from pipeline.events.found import Mask
from pipeline.journal.index import NAMES, NO_CELL, Ids, Index, Int32s, Int64s, Places, UInt64s

Outcomes = npt.NDArray[np.uint8]

_KNOWN = NAMES[2:]  # without the hash


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

    def take(self, rows: Int64s) -> Arrivals:
        """Only these rows."""
        return Arrivals(*(getattr(self, name)[rows] for name in Arrivals.__slots__))


@dataclass(frozen=True, slots=True)
class Settled:
    """What a batch of arrivals did.

    Attributes:
        outcome: uint8 of `Outcome`, one an arrival.
        ids: the ids of which something changed, as they are now.
        places: where these stand in the index.
        gone: ids with the cells that they no longer count in (predecessors of newer versions).
        watermark: highest `occurred_at` of the partition after this batch.
    """

    outcome: Outcomes
    ids: Ids
    places: Places
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
    outcome = np.where(arrivals.version & 1, np.uint8(Outcome.RETRACTED), np.uint8(Outcome.COUNTED))
    outcome[late] = Outcome.LATE
    now, gone = _as_new(arrivals), Ids.unknown(arrivals.a[:0], arrivals.b[:0])
    first, turn = repeats(arrivals.a, arrivals.b)
    # Nearly all ids are seen for the first time. Only the others have something to be compared with.
    found = index.find(arrivals.a, arrivals.b)
    other = (found.rows >= 0) | (turn > 0)
    other[first[turn > 0]] = True
    changed = ~(late | other)
    rows = np.flatnonzero(other)
    if len(rows):
        place = np.searchsorted(rows, first[rows])
        some = arrivals.take(rows)
        before = index.at(found.rows[rows], some.a, some.b)
        settled = _settle_some(before, some, limit[rows], late[rows], place, turn[rows])
        outcome[rows], after, changed[rows], gone = settled
        for name in _KNOWN:
            getattr(now, name)[rows] = getattr(after, name)
    news = np.flatnonzero(changed)
    return Settled(outcome, now.take(news), found.take(news), gone, int(seen[-1]))


def _as_new(arrivals: Arrivals) -> Ids:
    """What is known under each id after its first version."""
    series = np.where(arrivals.version & 1, np.int32(NO_CELL), arrivals.series)
    minute = (arrivals.time // 60_000).astype(np.int32)
    columns = (arrivals.time.copy(), arrivals.version.copy(), series, minute, arrivals.bin.copy())
    return Ids(arrivals.a, arrivals.b, *columns)


def _settle_some(
    before: Ids, arrivals: Arrivals, limit: Int64s, late: Mask, place: Int64s, turn: Int64s
) -> tuple[Outcomes, Ids, Mask, Ids]:
    """Settle arrivals in turns: outcomes, what is known after them, where that is news, and the cells left behind.

    Args:
        before: what is known before them.
        arrivals: some of a batch, with all that share an id with one of them.
        limit: for each the time before which records are late and ids forgotten.
        late: which of them are late.
        place: for each the first of them with the same id: what is known stands there.
        turn: for each how many with the same id came before it.
    """
    outcome = np.full(len(arrivals), Outcome.LATE, np.uint8)
    now = before.take(np.arange(len(arrivals)))
    gone: list[Ids] = []
    for k in range(int(turn.max(initial=0)) + 1):
        rows = np.flatnonzero((turn == k) & ~late)
        gone.append(_one_version_each(now, arrivals, rows, place[rows], limit[rows], outcome))
    news = (now.until != before.until) | (now.version != before.version)
    return outcome, now, news, _joined(gone)


def _one_version_each(
    now: Ids, arrivals: Arrivals, rows: Int64s, place: Int64s, limit: Int64s, outcome: Outcomes
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
    """For each row: the first row of the batch with the same id, and how many came before it."""
    first = first_alike(a, max(8, len(a).bit_length() + 1))
    if (b[first] != b).any():  # different ids that share the first half of their hash
        pairs = np.unique(np.stack((a, b)), axis=1, return_inverse=True)[1].reshape(-1)
        first = first_alike(pairs.astype(np.uint64), max(8, len(a).bit_length() + 1))
    turn = np.zeros(len(a), np.int64)
    again = np.flatnonzero(first != np.arange(len(a)))
    again = again[np.argsort(first[again], kind="stable")]
    place = np.arange(len(again))
    starts = np.diff(first[again], prepend=-1) != 0
    turn[again] = place - np.maximum.accumulate(np.where(starts, place, 0)) + 1
    return first, turn
