"""`Effect`: everything that one batch of a source partition changes, as one journal record. So it is atomic."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.journal.deltas import CellChanges
from pipeline.journal.index import Ids
from pipeline.journal.outcomes import Outcome
from pipeline.journal.pack import pack, unpack
from pipeline.measures.cells import Series

DAY_MS = 86_400_000
OutcomeCounts = Mapping[tuple[int, Outcome], int]
_CELL_COLUMNS = ("at", "minute", "bin", "n", "total")


@dataclass(frozen=True, slots=True)
class Message:
    """A derived record for a public topic, ready to send. `topic` is its name without the prefix."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Effect:
    """What is added to the state of a source partition, and what follows from it downstream.

    Attributes:
        sequence: 1, 2, 3, ...; counts only as the next number at its place in the journal.
        last: highest source offset that is settled with this effect.
        time: `kafka_time` of that record, milliseconds since 1970.
        watermark: highest `occurred_at` so far, milliseconds since 1970.
        published: highest sequence whose outputs are known to be acknowledged downstream.
        outcomes: (day of `kafka_time` since 1970, outcome) -> records.
        leaves: leaves that occur for the first time; they get the next numbers.
        ids: new and changed ids.
        cases: case id -> its row, as `cases.to_row` gives it.
        deltas: deltas partition -> (number, changes of cells).
        messages: derived records, in order.
    """

    sequence: int
    last: int
    time: int
    watermark: int
    published: int
    outcomes: OutcomeCounts
    ids: Ids
    leaves: tuple[Series, ...] = ()
    cases: Mapping[str, list[Any]] = field(default_factory=dict)
    deltas: Mapping[int, tuple[int, CellChanges]] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()


def pack_effect(effect: Effect) -> bytes:
    """The value of a journal record."""
    head = {
        "kind": "effect",
        "sequence": effect.sequence,
        "last": effect.last,
        "time": effect.time,
        "watermark": effect.watermark,
        "published": effect.published,
        "outcomes": [[day, int(outcome), n] for (day, outcome), n in effect.outcomes.items()],
        "leaves": effect.leaves,
        "cases": effect.cases,
        "deltas": [[q, number, cells.series] for q, (number, cells) in effect.deltas.items()],
        "messages": list(map(row_of, effect.messages)),
    }
    columns = {name: narrow(getattr(effect.ids, name)) for name in Ids.__slots__}
    for q, (_, cells) in effect.deltas.items():
        columns |= columns_of(cells, str(q))
    return pack(head, columns)


def unpack_effect(value: bytes) -> Effect:
    """The inverse of `pack_effect`; raises what `unpack` raises."""
    return effect_of(*unpack(value))


def effect_of(head: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> Effect:
    """A record of the kind "effect", unpacked."""
    wide = {name: widened(columns[name], name) for name in Ids.__slots__}
    return Effect(
        sequence=head["sequence"],
        last=head["last"],
        time=head["time"],
        watermark=head["watermark"],
        published=head["published"],
        outcomes={(day, Outcome(outcome)): n for day, outcome, n in head["outcomes"]},
        leaves=tuple(Series(*leaf) for leaf in head["leaves"]),
        ids=Ids(**wide),
        cases=head["cases"],
        deltas={q: (number, cells_of(columns, str(q), series)) for q, number, series in head["deltas"]},
        messages=tuple(map(message_of, head["messages"])),
    )


def narrow(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same integers in the smallest type that holds them all: journals are kept for long."""
    if column.dtype.kind == "u" or not len(column):
        return column
    low, high = int(column.min()), int(column.max())
    for kind, least, most in _NARROW:
        if least <= low and high <= most:
            return column.astype(kind)
    return column


_NARROW = [(kind, np.iinfo(kind).min, np.iinfo(kind).max) for kind in (np.int8, np.int16, np.int32)]
_ID_TYPES = {"a": np.uint64, "b": np.uint64, "series": np.int32, "minute": np.int32, "bin": np.int32}
_CELL_TYPES = {"at": np.uint32, "minute": np.int32, "bin": np.int32}


def widened(column: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The inverse of `narrow` for a column of `Ids`."""
    return column.astype(_ID_TYPES.get(name, np.int64))


def columns_of(cells: CellChanges, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Changes of cells as columns of a record; their series go into its head."""
    return {f"{prefix}.{name}": narrow(getattr(cells, name)) for name in _CELL_COLUMNS}


def cells_of(columns: Mapping[str, npt.NDArray[Any]], prefix: str, series: list[list[str]]) -> CellChanges:
    """The inverse of `columns_of`."""
    wide: dict[str, Any] = {
        name: columns[f"{prefix}.{name}"].astype(_CELL_TYPES.get(name, np.int64)) for name in _CELL_COLUMNS
    }
    return CellChanges(tuple(Series(*s) for s in series), **wide)


def row_of(message: Message) -> list[str]:
    """A message for the head of a record."""
    return [message.topic, base64.b64encode(message.key).decode(), base64.b64encode(message.value).decode()]


def message_of(row: list[str]) -> Message:
    """The inverse of `row_of`."""
    topic, key, value = row
    return Message(topic, base64.b64decode(key), base64.b64decode(value))
