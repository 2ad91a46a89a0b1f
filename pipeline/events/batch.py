"""A batch of raw records to columns. What cannot be read is a value (`Rejected`); no bytes raise.

One judge decides (`judge`), on each record's own bytes, whatever columns are asked for. A quick look (`skim`) spares it
the records that are obviously sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.events.block import NO_HEADER, Block
from pipeline.events.faults import Fault, reason_of, sentence
from pipeline.events.found import Found, Int64s, Mask, Numbers
from pipeline.events.frames import empty
from pipeline.events.judge import Judged, judge
from pipeline.events.labels import Labels
from pipeline.events.layout import Field, Layout, fields, id_field, resolve
from pipeline.events.part import Part, replaced
from pipeline.events.records import Records
from pipeline.events.rejected import Reason, Rejected
from pipeline.events.schemas import Lookup, RecordSchema, by_ids
from pipeline.events.skim import Skim
from pipeline.events.wire import FIRST_MS, LAST_MS
from pipeline.events.words import Uint64s

_NO_HASHES = (np.zeros(0, np.uint64), np.zeros(0, np.uint64))


@dataclass(frozen=True, slots=True)
class Batch:
    """The readable records of a batch, and the others.

    Attributes:
        parts: the readable ones by writer schema.
        order: places of the records of all parts, one part behind the other, in offset order; None for as they are.
        columns: fields that `frame` shows.
        at: int64, place of each readable record in the records that were decoded, ascending.
        id: the field that holds the record's id: the first one, where its name ends in "_id"; None without one.
        rejected: the others, in offset order.
    """

    parts: tuple[Part, ...]
    order: Int64s | None
    columns: tuple[Field, ...]
    at: Int64s
    id: str | None
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def frame(self) -> pl.DataFrame:
        """The columns asked for, made anew at each call.

        Times are Int64 milliseconds since 1970, dates Int64 days, every int is Int64, a map is a list of
        {key, value} in the order in which it was written.
        """
        if self.order is None:
            return self.parts[0].frame(self.columns)
        return pl.concat([empty(self.columns), *(part.frame(self.columns) for part in self.parts)])[
            self.order
        ]

    def hashes(self) -> tuple[Uint64s, Uint64s]:
        """The halves of the 128-bit hash of each record's id, 0 without one. It never changes, so it may be stored."""
        halves = [part.hashes(self.id) for part in self.parts]
        if self.order is None:
            return halves[0]
        a, b = (np.concatenate(half)[self.order] for half in zip(_NO_HASHES, *halves, strict=True))
        return a, b

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A field of numbers that are never null."""
        return self._ordered([part.numbers(name) for part in self.parts])

    def utf8s(self, name: str) -> list[bytes | None]:
        """A field of texts as they came, None for null. For some records: it takes each out by itself."""
        found = [text for part in self.parts for text in part.utf8s(name)]
        return found if self.order is None else [found[k] for k in self.order.tolist()]

    def sizes(self, name: str) -> npt.NDArray[np.int64]:
        """The bytes of a field of texts; 0 for a null."""
        return self._ordered([part.texts(name).size for part in self.parts])

    def labels(self, names: Sequence[str]) -> Labels:
        """The distinct combinations of these texts, and which of them each record has."""
        parts = [part.labels(names) for part in self.parts]
        return parts[0] if self.order is None else Labels.concat(parts, self.order)

    def partitions(self, names: Sequence[str], partitions: int) -> npt.NDArray[np.int32]:
        """Where each record belongs; its key is the first of these texts that is not empty."""
        return self._ordered([part.partitions(names, partitions) for part in self.parts])

    def rows(self, mask: Mask) -> Batch:
        """Only the records of the mask."""
        at = self.at[mask]
        if self.order is None:
            return replace(self, parts=(self.parts[0].kept(mask),), at=at)
        kept = np.empty(len(mask), bool)
        kept[self.order] = mask
        ends = np.cumsum([len(part) for part in self.parts])
        parts = [part.kept(some) for part, some in zip(self.parts, np.split(kept, ends)[:-1], strict=True)]
        order = (np.cumsum(kept) - 1)[self.order[mask]]
        return replace(self, parts=tuple(parts), order=order, at=at)

    def without(self, wrong: Mask, rejected: Iterable[Rejected]) -> Batch:
        """The records that are not `wrong`; what became of those joins the rejected."""
        joined = sorted([*self.rejected, *rejected], key=lambda one: one.offset)
        return replace(self.rows(~wrong), rejected=tuple(joined))

    def nulled(self, name: str) -> Batch:
        """With a null wherever this text is empty."""
        return replace(self, parts=tuple(part.nulled(name) for part in self.parts))

    def _ordered(self, columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        if self.order is None:
            return columns[0]
        return np.concatenate([np.zeros(0, np.int64), *columns])[self.order]


@dataclass(frozen=True, slots=True)
class _Group:
    """Records of one writer schema; `at` is their place in the batch."""

    block: Block
    at: Int64s
    layout: Layout


def decode(
    records: Records,
    schema: RecordSchema,
    columns: Sequence[str] | None = None,
    *,
    lookup: Lookup = by_ids,
) -> Batch:
    """The records that are readable as `schema`.

    Args:
        records: of one partition, in offset order. Of several where nobody asks for what is rejected.
        schema: the reader's; records written by other versions of its subject are resolved to it.
        columns: which fields `frame` shows, in this order; None for all. They change nothing in what is rejected.
        lookup: the schemas of ids. An id means what it says, also where `schema` itself has another one.

    Raises:
        KeyError: `columns` names a field that the schema does not have.
        Unseen: `lookup` does not know yet which schemas the records have.
    """
    known = {field.name: field for field in fields(schema)}
    wanted = tuple(known[name] for name in dict.fromkeys(known if columns is None else columns))
    groups, refused = _groups(records, schema, lookup)
    read = [_read(group, records) for group in groups]
    parts, bad = [part for part, _, _ in read], [*refused, *(one for *_, some in read for one in some)]
    bad.sort(key=lambda one: one.offset)
    whole = len(parts) == 1
    at = read[0][1] if whole else np.concatenate([np.zeros(0, np.int64), *(at for _, at, _ in read)])
    order = None if whole else np.argsort(at)
    at = at if order is None else at[order]
    return Batch(tuple(parts), order, wanted, at, id_field(schema), tuple(bad))


def _groups(records: Records, schema: RecordSchema, lookup: Lookup) -> tuple[list[_Group], list[Rejected]]:
    """The records by writer schema, and those without a usable one."""
    at, block = _block(records.values)
    ids = block.schema_ids()
    layouts = _layouts(ids, schema, lookup)
    if len(layouts) == 1 and len(block) == len(records) and (ids == ids[0]).all():
        return [_Group(block, at, layout) for layout in layouts.values()], []
    groups = [_group(block, at, ids == i, layout) for i, layout in layouts.items()]
    strange = np.full(len(records), NO_HEADER)
    strange[at] = ids
    rest = np.flatnonzero(~np.isin(strange, list(layouts)))
    return groups, [_refused(records, row, int(strange[row])) for row in rest.tolist()]


def _block(values: Sequence[bytes | None]) -> tuple[Int64s, Block]:
    """What is not null, and where it stands. Looking for a null in each batch would cost more than trying."""
    try:
        return np.arange(len(values)), Block.of(cast(Sequence[bytes], values))
    except TypeError:
        at = [row for row, value in enumerate(values) if value is not None]
        return np.asarray(at, np.int64), Block.of([value for value in values if value is not None])


def _layouts(ids: Int64s, schema: RecordSchema, lookup: Lookup) -> dict[int, Layout]:
    """How to read the records of each id, without those that cannot be read."""
    different = ids[:1] if (ids == ids[:1]).all() else np.unique(ids)
    writers = lookup([i for i in different.tolist() if i != NO_HEADER])
    layouts = {i: _layout(writer, schema) for i, writer in writers.items()}
    return {i: layout for i, layout in layouts.items() if layout is not None}


def _layout(writer: RecordSchema, schema: RecordSchema) -> Layout | None:
    ours = writer.name == schema.name and writer.subject in ("", schema.subject)
    return resolve(writer, schema) if ours else None


def _group(block: Block, at: Int64s, mine: Mask, layout: Layout) -> _Group:
    return _Group(block.some(mine), at[np.flatnonzero(mine)], layout)


def _refused(records: Records, row: int, schema_id: int) -> Rejected:
    value = records.values[row]
    if value is None:
        return rejected(records, row, Reason.NULL_VALUE, "decode", "the value is null")
    if not value:
        return rejected(records, row, Reason.EMPTY_VALUE, "decode", "the value has no bytes")
    if schema_id == NO_HEADER:
        detail = "the value does not begin with a zero byte and a schema id"
        return rejected(records, row, Reason.NOT_WIRE_FORMAT, "decode", detail)
    detail = f"schema id {schema_id} is not a readable one of this topic"
    return rejected(records, row, Reason.UNKNOWN_SCHEMA, "decode", detail)


def rejected(records: Records, row: int, reason: Reason, stage: str, detail: str) -> Rejected:
    """The record at `row` as a value."""
    raw = records.values[row] or b""
    return Rejected(int(records.offsets[row]), int(records.times[row]), reason, stage, detail, bytes(raw))


def _read(group: _Group, records: Records) -> tuple[Part, Int64s, list[Rejected]]:
    """The readable ones, their places in the batch, and the others. Few are suspect, and only those are judged."""
    block, layout = group.block, group.layout
    skim = Skim(block.buffer, block.start, block.end)
    found = skim.run(layout.written)
    suspect = skim.suspect | _strange_texts(skim, block) | _strange_times(layout.written, found)
    rows = np.flatnonzero(suspect)
    if not len(rows):
        return Part(block, None, found, layout), group.at, []
    judged = judge(Block.of([block.values[row] for row in rows.tolist()]), layout)
    sound = judged.fault == Fault.NONE
    found = {
        name: replaced(found[name], rows, better, block.start[rows] - judged.block.start)
        for name, better in judged.found.items()
    }
    suspect[rows[sound]] = False
    good = np.flatnonzero(~suspect)
    bad = [_malformed(group, records, judged, k, rows[k]) for k in np.flatnonzero(~sound).tolist()]
    return Part(block, good, found, layout), group.at[good], bad


def _strange_texts(skim: Skim, block: Block) -> Mask:
    """Which have a text that is not UTF-8, those aside that are suspect already."""
    strange = np.zeros(len(block), bool)
    # The skim never sees more bytes beyond ASCII than there are: if it saw them all, the texts have none.
    if block.tops() != skim.tops or skim.suspect.any():
        strange[block.not_utf8(skim.opaque, skim.suspect)] = True
    return strange


def _strange_times(written: Sequence[Field], found: Mapping[str, Found]) -> Mask:
    wrong: Mask = np.zeros(1, bool)
    for field in written:
        numbers = found[field.name]
        if field.time and isinstance(numbers, Numbers):
            wrong = wrong | (numbers.value < FIRST_MS) | (numbers.value > LAST_MS)
    return wrong


def _malformed(group: _Group, records: Records, judged: Judged, k: int, row: int) -> Rejected:
    fault, field = Fault(int(judged.fault[k])), group.layout.written[judged.field[k]].name
    return rejected(records, int(group.at[row]), reason_of(fault), "decode", sentence(fault, field))
