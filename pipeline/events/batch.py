"""A batch of raw records to columns. What cannot be read is a value (`Rejected`); no bytes raise.

One judge decides (`walk`), on each record's own bytes, whatever columns are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl

from pipeline.events.block import NO_HEADER, Block
from pipeline.events.faults import Fault, reason_of, sentence
from pipeline.events.found import Found, Int64s, Mask, Numbers, Texts
from pipeline.events.frames import empty, frame
from pipeline.events.ids import Uint64s, id128
from pipeline.events.layout import Field, Layout, fields, id_field, resolve
from pipeline.events.records import Records
from pipeline.events.rejected import Reason, Rejected
from pipeline.events.schemas import RecordSchema, by_id
from pipeline.events.walk import Walk
from pipeline.events.wire import FIRST_MS, LAST_MS

Lookup = Callable[[int], RecordSchema | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """The readable records of a batch, and the others.

    Attributes:
        frame: the columns asked for. Times are Int64 milliseconds since 1970, dates Int64 days, every int is
            Int64, a map is a list of {key, value} in the order in which it was written.
        at: int64, place of each row in the records that were decoded, ascending.
        a: uint64, first half of the 128-bit hash of the row's id (the first field, where its name ends in
            "_id"; 0 for records that have none). It never changes, so it may be stored.
        b: uint64, second half.
        rejected: the others, in offset order.
    """

    frame: pl.DataFrame
    at: Int64s
    a: Uint64s
    b: Uint64s
    rejected: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.at)

    def without(self, wrong: Mask, rejected: Iterable[Rejected]) -> Batch:
        """The rows that are not `wrong`; what became of those joins the rejected."""
        kept = ~wrong
        joined = sorted([*self.rejected, *rejected], key=lambda one: one.offset)
        return Batch(self.frame.filter(kept), self.at[kept], self.a[kept], self.b[kept], tuple(joined))


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
    lookup: Lookup = by_id,
) -> Batch:
    """The records that are readable as `schema`, as columns.

    Args:
        records: of one partition, in offset order.
        schema: the reader's; records written by other versions of its subject are resolved to it.
        columns: which fields to make columns of, in this order; None for all. They change nothing in what
            is rejected.
        lookup: gives the schema of an id, None if there is none.

    Raises:
        KeyError: `columns` names a field that the schema does not have.
    """
    known = {field.name: field for field in fields(schema)}
    wanted = [known[name] for name in dict.fromkeys(known if columns is None else columns)]
    groups, refused = _groups(records, schema, lookup)
    parts = [_read(group, records, schema, wanted) for group in groups]
    return parts[0] if len(parts) == 1 and not refused else _joined(parts, refused, wanted)


def _groups(records: Records, schema: RecordSchema, lookup: Lookup) -> tuple[list[_Group], list[Rejected]]:
    """The records by writer schema, and those without a usable one."""
    at, block = _block(records.values)
    ids = block.schema_ids()
    own = resolve(schema, schema)
    if own and len(block) == len(records) and (ids == schema.schema_id).all():
        return [_Group(block, at, own)], []
    layouts = {i: layout for i in np.unique(ids).tolist() if (layout := _layout(i, schema, lookup))}
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


def _layout(schema_id: int, schema: RecordSchema, lookup: Lookup) -> Layout | None:
    if schema_id == NO_HEADER:
        return None
    writer = schema if schema_id == schema.schema_id else lookup(schema_id)
    return resolve(writer, schema) if writer and writer.subject == schema.subject else None


def _group(block: Block, at: Int64s, mine: Mask, layout: Layout) -> _Group:
    rows = np.flatnonzero(mine)
    return _Group(Block.of([block.values[row] for row in rows.tolist()]), at[rows], layout)


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


def _read(group: _Group, records: Records, schema: RecordSchema, wanted: Sequence[Field]) -> Batch:
    block, written = group.block, group.layout.written
    walk = Walk(block.buffer, block.start, block.end)
    found = walk.run(written)
    _refuse_texts(walk, block)
    _refuse_times(walk, written, found)
    sound = walk.fault == Fault.NONE
    good = None if sound.all() else np.flatnonzero(sound)
    table = frame(block, good, found, group.layout, wanted)
    a, b = _hashes(block, sound, found, schema)
    bad = [_malformed(group, records, walk, row) for row in np.flatnonzero(~sound).tolist()]
    return Batch(table, group.at[sound], a, b, tuple(bad))


def _refuse_texts(walk: Walk, block: Block) -> None:
    # The walk never sees more bytes beyond ASCII than there are: if it saw them all, the texts have none.
    if block.tops() == walk.tops:
        return
    wrong = np.zeros(len(block), bool)
    wrong[block.not_utf8(walk.opaque, walk.fault != Fault.NONE)] = True
    walk.refuse(slice(None), wrong, Fault.TEXT)


def _refuse_times(walk: Walk, written: Sequence[Field], found: Mapping[str, Found]) -> None:
    for number, field in enumerate(written):
        numbers = found[field.name]
        if field.time and isinstance(numbers, Numbers):
            wrong = (numbers.value < FIRST_MS) | (numbers.value > LAST_MS)
            walk.refuse(slice(None), wrong, Fault.TIME, number)


def _hashes(
    block: Block, sound: Mask, found: Mapping[str, Found], schema: RecordSchema
) -> tuple[Uint64s, Uint64s]:
    name = id_field(schema)
    texts = found[name] if name else None
    if not isinstance(texts, Texts):
        none = np.zeros(int(sound.sum()), np.uint64)
        return none, none
    return id128(block.buffer, texts.start[sound], texts.size[sound])


def _malformed(group: _Group, records: Records, walk: Walk, row: int) -> Rejected:
    fault, field = Fault(int(walk.fault[row])), group.layout.written[walk.field[row]].name
    return rejected(records, int(group.at[row]), reason_of(fault), "decode", sentence(fault, field))


def _joined(parts: Sequence[Batch], refused: Sequence[Rejected], wanted: Sequence[Field]) -> Batch:
    """In offset order again."""
    none = np.zeros(0, np.uint64)
    at = np.concatenate([np.zeros(0, np.int64), *(part.at for part in parts)])
    order = np.argsort(at)
    table = pl.concat([empty(wanted), *(part.frame for part in parts)])[order]
    a, b = (np.concatenate([none, *halves])[order] for halves in ([p.a for p in parts], [p.b for p in parts]))
    bad = sorted([*refused, *(one for part in parts for one in part.rejected)], key=lambda one: one.offset)
    return Batch(table, at[order], a, b, tuple(bad))
