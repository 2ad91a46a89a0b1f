"""Sealed ids: what is known under ids, in a topic of its own, so that a snapshot need not repeat them all.

A segment holds the ids that changed since the one before; a later one overrides. Who dies while sealing leaves a
segment that no snapshot names: an orphan, which readers pass over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.journal.effect import narrow, widened
from pipeline.journal.index import Ids
from pipeline.journal.log import Log
from pipeline.journal.pack import pack, unpack

_ROWS = 40_000  # of one record, about forty bytes each


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


async def load(log: Log, segments: Sequence[Segment]) -> list[Ids]:
    """The ids of these segments, oldest first.

    Raises:
        MissingSegment: not everything is there.
        Unknown, OutOfRange: as the log.
    """
    if not segments:
        return []
    wanted = {segment.name: segment.ids for segment in segments}
    found: dict[tuple[str, int], Ids] = {}  # a record written twice by a retry is one
    position, stop = segments[0].first, max(s.last for s in segments) + 1
    while position < stop:
        entries, position = await log.read(position, stop)
        for entry in entries:
            name, start, ids = _unpack(entry.value or b"")
            if name in wanted:
                found[name, start] = ids
    counts = dict.fromkeys(wanted, 0)
    for (name, _), ids in found.items():
        counts[name] += len(ids)
    if counts != wanted:
        short = sorted(name for name in wanted if counts[name] != wanted[name])
        msg = f"{len(short)} of {len(wanted)} segments of ids are incomplete"
        raise MissingSegment(msg)
    order = {segment.name: k for k, segment in enumerate(segments)}
    return [found[key] for key in sorted(found, key=lambda key: (order[key[0]], key[1]))]


class MissingSegment(Exception):
    """Sealed ids that a snapshot names are not in the ids topic."""


def needed(segments: Sequence[Segment], limit: int) -> tuple[Segment, ...]:
    """Without the oldest ones, in which nothing is remembered any more (every `until` lies before `limit`)."""
    alive = [k for k, segment in enumerate(segments) if segment.until >= limit]
    return tuple(segments[alive[0] :]) if alive else ()


def _pack(ids: Ids, name: str, start: int) -> bytes:
    columns = {name: narrow(getattr(ids, name)) for name in Ids.__slots__}
    return pack({"kind": "ids", "name": name, "start": start}, columns)


def _unpack(value: bytes) -> tuple[str, int, Ids]:
    head, columns = unpack(value)
    return head["name"], head["start"], Ids(**{name: widened(columns[name], name) for name in Ids.__slots__})
