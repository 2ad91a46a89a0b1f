"""Sealed ids: what is known under ids, in a topic of its own, so that a snapshot need not repeat them all.

A segment holds the ids that changed since the one before; a later one overrides. Who dies while sealing leaves a
segment that no snapshot names: an orphan, which readers pass over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.journal.effect import columns_of_ids, ids_of
from pipeline.journal.index import Ids
from pipeline.journal.log import Log, OutOfRange
from pipeline.journal.pack import pack, unpack

Take = Callable[[Ids], Awaitable[Any]]
_ROWS = 100_000  # of one record, about thirty bytes each


class Segment(NamedTuple):
    """Where sealed ids stand in the ids topic.

    Attributes:
        name: no other segment has it.
        ids: how many.
        first: offset of its first record.
        last: offset of its last record; others' may lie in between.
        until: highest `until` of its ids, milliseconds since 1970.
    """

    name: str
    ids: int
    first: int
    last: int
    until: int


async def seal(log: Log, ids: Ids, name: str) -> Segment:
    """Write a segment. Raises `Unknown` if it is in doubt: then it is an orphan."""
    offsets = [
        await log.append(_pack(ids.take(np.arange(start, min(start + _ROWS, len(ids)))), name, start))
        for start in range(0, len(ids), _ROWS)
    ]
    return Segment(name, len(ids), min(offsets), max(offsets), int(ids.until.max()))


async def load(log: Log, segments: Sequence[Segment], take: Take) -> None:
    """Hand over the ids of these segments, oldest first, and hold on to nothing: there may be ten million.

    A segment was sealed by somebody who knew of all that are named before it, so their order is that of the log. A
    record written a second time, by a retry, may stand anywhere: only the first counts.

    Raises:
        MissingSegment: not everything is there, and what was handed over is not everything.
        Unknown, OutOfRange: as the log.
    """
    if not segments:
        return
    wanted = {segment.name: segment.ids for segment in segments}
    counts = dict.fromkeys(wanted, 0)
    seen: set[tuple[str, int]] = set()
    position, stop = segments[0].first, max(s.last for s in segments) + 1
    while position < stop:
        entries, position = await log.read(position, stop)
        for entry in entries:
            head, columns = unpack(entry.value or b"")
            key = head["name"], head["start"]
            if head["name"] in wanted and key not in seen:
                seen.add(key)
                counts[head["name"]] += len(columns["a"])
                await take(ids_of(columns))
    if counts != wanted:
        short = sorted(name for name in wanted if counts[name] != wanted[name])
        msg = f"{len(short)} of {len(wanted)} segments of ids are incomplete"
        raise MissingSegment(msg)


class SealedIds:
    """Reads the sealed ids of one partition, and knows when they are gone.

    Args:
        log: the partition of the ids topic.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._out_of_reach: Sequence[Segment] = ()

    async def load(self, segments: Sequence[Segment], take: Take) -> None:
        """See `load`. What is out of reach may just have been cut off by a newer owner, but not twice the same.

        Who cuts has written a newer snapshot before, which names other segments.
        """
        try:
            await load(self._log, segments, take)
        except OutOfRange as error:
            if segments != self._out_of_reach:
                self._out_of_reach = segments
                raise
            msg = "they were deleted"
            raise MissingSegment(msg) from error


class MissingSegment(Exception):
    """Sealed ids that a snapshot names are not in the ids topic."""


def needed(segments: Sequence[Segment], limit: int) -> tuple[Segment, ...]:
    """Without the oldest ones, in which nothing is remembered any more (every `until` lies before `limit`)."""
    alive = [k for k, segment in enumerate(segments) if segment.until >= limit]
    return tuple(segments[alive[0] :]) if alive else ()


def _pack(ids: Ids, name: str, start: int) -> bytes:
    return pack({"kind": "ids", "name": name, "start": start}, columns_of_ids(ids))
