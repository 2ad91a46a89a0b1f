"""Snapshots of the roll: everything that a deltas partition came to, in chunks, in a partition of the topic `roll`.

A snapshot says up to which deltas offset it was folded. The highest offset wins, wherever it stands: it says what the
deltas before it say, whoever wrote it, so one that is late, incomplete or a zombie's does no harm. Deltas are cut only
if every chunk stands at its expected place: then there is nobody who is further and does not stand before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.journal.celltable import Cells, Int32s, Int64s
from pipeline.journal.columns import narrow
from pipeline.journal.hours import Hours
from pipeline.journal.log import Log, Unknown
from pipeline.journal.pack import pack, unpack
from pipeline.journal.rollup import Changed, Rollup
from pipeline.journal.snapshot import Gathering
from pipeline.measures.buckets import HeldCells
from pipeline.measures.cells import Series

_CHUNK = 4 << 20
_CELLS = tuple(f.name for f in fields(Cells))
_HELD = ("at", "minute", "bin", "n", "total")
_TYPES = {"leaf": np.int32, "at": np.uint32, "minute": np.int32, "bin": np.int32}
Columns = dict[str, npt.NDArray[Any]]


class Board(Protocol):
    """The windows over the cells; see `measures.scoreboard.Scoreboard`."""

    def settle(self, hour: int) -> None:
        """Log time has come to this hour."""

    def add(
        self,
        leaves: Sequence[Series],
        at: npt.NDArray[np.uint32],
        minute: Int32s,
        bins: Int32s,
        n: Int64s,
        total: Int64s,
    ) -> None:
        """Add changes of cells."""

    def held(self) -> HeldCells:
        """All that `add` needs to come to the same."""
        ...

    def missing(self) -> Mapping[tuple[str, str], int]:
        """(metric, instrument) -> the minute before which cells of it are not in `held` any more."""
        ...

    def miss(self, before: Mapping[tuple[str, str], int]) -> None:
        """What `missing` said."""


class Chunk(NamedTuple):
    """A part of a snapshot as it stands in the topic."""

    name: str
    number: int
    chunks: int
    position: int
    part: bytes


class Found(NamedTuple):
    """A whole snapshot: the deltas offset it was folded up to, and its bytes."""

    position: int
    blob: bytes


class RollSnapshots:
    """The snapshots of one deltas partition.

    Args:
        log: the partition of the topic `roll`.
        writer: a name that no other writer has.
    """

    def __init__(self, log: Log, writer: str) -> None:
        self._log = log
        self._writer = writer
        self._written = 0
        self._first = 0
        self._next: int | None = None  # where our next chunk must land; None if others may have written

    @property
    def known(self) -> bool:
        """Everything in the partition has been read, as far as we know."""
        return self._next is not None

    async def best(self, above: int) -> Found | None:
        """Of the complete snapshots with a position above this one the highest.

        Raises:
            Unknown, OutOfRange: as the log; call again.
        """
        self._next = None
        position, end = await self._log.bounds()
        best, gathering = Found(above, b""), Gathering({})
        while position < end:
            entries, position = await self._log.read(position, end)
            for entry in entries:
                chunk = _chunk_of(entry.value or b"")
                if chunk.position <= best.position:
                    continue
                blob = gathering.take(chunk.position, chunk)
                best = best if blob is None else Found(chunk.position, blob)
        self._next = end
        return best if best.blob else None

    async def write(self, position: int, blob: bytes) -> bool:
        """Write a snapshot; whether it stands, every chunk at its expected place. If not, read again first."""
        self._written += 1
        first = self._next
        for value in _chunks(f"{self._writer}.{self._written}", position, blob):
            if not await self._put(value):
                return False
        self._first = first or 0
        return True

    async def forget_older(self) -> None:
        """Cut off what stands before the last one that we wrote. Raises `Unknown`, which does no harm."""
        await self._log.truncate(self._first)

    async def _put(self, value: bytes) -> bool:
        expected, self._next = self._next, None
        try:
            offset = await self._log.append(value)
        except Unknown:
            return False
        if offset != expected:
            return False
        self._next = offset + 1
        return True


def dump(rollup: Rollup, board: Board) -> bytes:
    """Everything that is a function of the deltas so far; and which cells wait to be published, which is not."""
    kept, held = rollup.held(), board.held()
    used, leaf = np.unique(kept.cells.leaf, return_inverse=True)
    head = {
        "kind": "roll",
        "numbers": [[*source, number] for source, number in rollup.numbers.items()],
        "hours": rollup.hours.marks,
        "leaves": [rollup.leaves[k] for k in used.tolist()],
        "series": held.series,
        "missing": [[*key, minute] for key, minute in board.missing().items()],
    }
    columns = {f"cells.{name}": getattr(kept.cells, name) for name in _CELLS} | {"cells.leaf": leaf}
    columns |= {f"held.{name}": getattr(held, name) for name in _HELD}
    columns["waiting"] = kept.rows
    return pack(head, {name: narrow(column) for name, column in columns.items()})


def restore(blob: bytes, board: Board) -> Rollup:
    """The rollup that `dump` was given; the new board comes to the same as the one that it was given."""
    head, columns = unpack(blob)
    rollup = Rollup()
    rollup.restore(
        leaves=[Series(*leaf) for leaf in head["leaves"]],
        numbers={(source, partition): number for source, partition, number in head["numbers"]},
        hours=Hours((hour, first) for hour, first in head["hours"]),
        held=Changed(Cells(*_wide(columns, "cells", _CELLS)), columns["waiting"].astype(np.int64)),
    )
    if rollup.hours.now is not None:
        board.settle(rollup.hours.now)
    board.miss({(metric, instrument): minute for metric, instrument, minute in head.get("missing", [])})
    board.add([Series(*one) for one in head["series"]], *_wide(columns, "held", _HELD))
    return rollup


def _wide(columns: Columns, prefix: str, names: Sequence[str]) -> list[npt.NDArray[Any]]:
    return [columns[f"{prefix}.{name}"].astype(_TYPES.get(name, np.int64)) for name in names]


def _chunks(name: str, position: int, blob: bytes) -> list[bytes]:
    parts = [blob[k : k + _CHUNK] for k in range(0, len(blob), _CHUNK)]
    head = {"kind": "roll", "name": name, "chunks": len(parts), "position": position}
    return [
        pack({**head, "chunk": k}, {"part": np.frombuffer(part, np.uint8)}) for k, part in enumerate(parts)
    ]


def _chunk_of(value: bytes) -> Chunk:
    head, columns = unpack(value)
    return Chunk(head["name"], head["chunk"], head["chunks"], head["position"], columns["part"].tobytes())
