"""`Effect`: everything that one batch of a source partition changes, as one journal record. So it is atomic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.journal.casetable import CaseRows, cases_of, columns_of_cases
from pipeline.journal.columns import narrow
from pipeline.journal.deltas import CellChanges
from pipeline.journal.index import Ids, Places, lead, until_of
from pipeline.journal.messages import NO_MESSAGES, Messages, columns_of_messages, messages_of
from pipeline.journal.outcomes import Outcome
from pipeline.journal.pack import Columns, pack
from pipeline.measures.cells import Series

DAY_MS = 86_400_000
OutcomeCounts = Mapping[tuple[int, Outcome], int]
_CELL_COLUMNS = ("at", "minute", "bin", "n", "total")


@dataclass(frozen=True, slots=True)
class Effect:
    """What is added to the state of a source partition, and what follows from it downstream.

    Attributes:
        sequence: 1, 2, 3, ...; counts only as the next number at its place in the journal.
        last: highest source offset that is settled with this effect; that of its predecessor if time alone made it.
        time: `kafka_time` of that record, milliseconds since 1970.
        watermark: highest `occurred_at` so far, milliseconds since 1970.
        published: highest sequence whose outputs are known to be acknowledged downstream.
        outcomes: (day of `kafka_time` since 1970, outcome) -> records.
        leaves: leaves that occur for the first time; they get the next numbers.
        ids: new and changed ids.
        cases: case id -> its row, as `caserow.pack_case` gives it; None for a case that is forgotten.
        deltas: deltas partition -> (number, changes of cells).
        messages: derived records, in order.
        writer: the journal that wrote it, by a name that no other has.
        topic_id: of the source topic, in the first effect that knows it; afterwards empty.
        places: where the ids stood when it was decided: spares whoever folds it at once the search. Not written.
    """

    sequence: int
    last: int
    time: int
    watermark: int
    published: int
    outcomes: OutcomeCounts
    ids: Ids
    leaves: tuple[Series, ...] = ()
    cases: CaseRows = field(default_factory=dict)
    deltas: Mapping[int, tuple[int, CellChanges]] = field(default_factory=dict)
    messages: Messages = NO_MESSAGES
    writer: str = ""
    topic_id: str = ""
    places: Places | None = field(default=None, compare=False)


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
        "deltas": [[q, number, cells.series] for q, (number, cells) in effect.deltas.items()],
        "writer": effect.writer,
        "topic_id": effect.topic_id,
    }
    columns = columns_of_ids(effect.ids) | columns_of_cases(effect.cases)
    columns |= columns_of_messages(effect.messages)
    for q, (_, cells) in effect.deltas.items():
        columns |= columns_of(cells, str(q))
    return pack(head, columns)


def effect_of(head: Mapping[str, Any], columns: Mapping[str, npt.NDArray[Any]]) -> Effect:
    """A record of the kind "effect", unpacked."""
    return Effect(
        sequence=head["sequence"],
        last=head["last"],
        time=head["time"],
        watermark=head["watermark"],
        published=head["published"],
        outcomes={(day, Outcome(outcome)): n for day, outcome, n in head["outcomes"]},
        leaves=tuple(Series(*leaf) for leaf in head["leaves"]),
        ids=ids_of(columns),
        cases=cases_of(head, columns),
        deltas={q: (number, cells_of(columns, str(q), series)) for q, number, series in head["deltas"]},
        messages=messages_of(columns, rows=head.get("messages", ())),
        writer=head.get("writer", ""),  # version 1 had neither
        topic_id=head.get("topic_id", ""),
    )


def columns_of_ids(ids: Ids) -> Columns:
    """Ids as columns of a record, as narrow as they are: journals are kept for long."""
    columns = {"a": ids.a, "b": ids.b, "lead": narrow(lead(ids.until, ids.minute))}
    return columns | {name: narrow(getattr(ids, name)) for name in ("version", "series", "minute", "bin")}


def ids_of(columns: Mapping[str, npt.NDArray[Any]]) -> Ids:
    """The inverse of `columns_of_ids`; version 1 had `until` itself."""
    minute = columns["minute"].astype(np.int32)
    return Ids(
        columns["a"].astype(np.uint64),
        columns["b"].astype(np.uint64),
        until=columns["until"].astype(np.int64) if "until" in columns else until_of(columns["lead"], minute),
        version=columns["version"].astype(np.int64),
        series=columns["series"].astype(np.int32),
        minute=minute,
        bin=columns["bin"].astype(np.int32),
    )


_CELL_TYPES = {"at": np.uint32, "minute": np.int32, "bin": np.int32}


def columns_of(cells: CellChanges, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Changes of cells as columns of a record; their series go into its head."""
    return {f"{prefix}.{name}": narrow(getattr(cells, name)) for name in _CELL_COLUMNS}


def cells_of(columns: Mapping[str, npt.NDArray[Any]], prefix: str, series: list[list[str]]) -> CellChanges:
    """The inverse of `columns_of`."""
    wide: dict[str, Any] = {
        name: columns[f"{prefix}.{name}"].astype(_CELL_TYPES.get(name, np.int64)) for name in _CELL_COLUMNS
    }
    return CellChanges(tuple(Series(*s) for s in series), **wide)
