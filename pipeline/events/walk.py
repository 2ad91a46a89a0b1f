"""The one judge of Avro bodies: a cursor in every record of a batch at once, moved field by field in numpy.

Each record is walked within its own bounds, and always through all of its fields. So what becomes of a record
depends on its own bytes alone: not on its neighbours, not on the batch, not on the columns somebody wants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.events.faults import MAX_ENTRIES, Fault
from pipeline.events.found import Entries, Found, Int64s, Mask, Numbers, Texts
from pipeline.events.layout import Field, Kind

Uint64s = npt.NDArray[np.uint64]
Column = npt.NDArray[Any]
Rows = Int64s | slice

_EVERY = slice(None)
_U = np.uint64
TOPS = _U(0x8080808080808080)  # the top bit of each byte: set in an Avro number's bytes but the last
HEADER_TOPS = _U(0x8080808000)  # of the schema id
HEADER_SIZE = 5


class Walk:
    """Walks records that stand behind each other in one buffer.

    Attributes:
        fault: for each record what is wrong with it, the first thing found.
        field: and in which field, by its number.
        opaque: ranges (start, size) of the buffer that are not text and may hold bytes beyond ASCII.
        tops: how many bytes beyond ASCII were seen there; never more than there are.
    """

    def __init__(self, buffer: npt.NDArray[np.uint8], start: Int64s, end: Int64s) -> None:
        """The records with their headers are `buffer[start:end]`; 24 bytes must follow: a number may be read there."""
        self._buffer = buffer
        self._words: Uint64s = np.ndarray((len(buffer) - 7,), "<u8", buffer, strides=(1,))
        self._at = start
        self._end = end
        self._current = 0
        self.fault = np.zeros(len(start), np.int8)
        self.field = np.zeros(len(start), np.int16)
        self.opaque: list[tuple[Int64s, Int64s]] = []
        self.tops = 0

    def run(self, fields: tuple[Field, ...]) -> dict[str, Found]:
        """Walk all fields; what is found in a record with a fault means nothing."""
        self._header()
        found = {}
        for self._current, field in enumerate(fields):
            found[field.name] = self._field(field)
        self.refuse(_EVERY, self._at != self._end, Fault.LEFT_OVER)
        return found

    def refuse(self, rows: Rows, wrong: Mask, fault: Fault, field: int | None = None) -> None:
        """Note a fault of those of `rows` that are `wrong`, if it is their first; they are not walked on.

        The fault is in the field that is being walked, unless another `field` is given by its number.
        """
        if not wrong.any():
            return
        bad = np.flatnonzero(wrong) if isinstance(rows, slice) else rows[wrong]
        self._at[bad] = self._end[bad]
        first = bad[self.fault[bad] == Fault.NONE]
        self.fault[first] = fault
        self.field[first] = self._current if field is None else field

    def _header(self) -> None:
        tops = int(np.bitwise_count(self._words[self._at] & HEADER_TOPS).sum())
        if tops:
            self.tops += tops
            self.opaque.append((self._at, np.full(len(self._at), HEADER_SIZE, np.int64)))
        self._at = self._at + HEADER_SIZE

    def _field(self, field: Field) -> Found:
        return self._plain(field) if field.null is None else self._nullable(field, field.null)

    def _plain(self, field: Field) -> Found:
        if field.kind is Kind.MAP:
            return self._map()
        if field.kind in (Kind.STRING, Kind.BYTES):
            return Texts(*self._sized(_EVERY, opaque=field.kind is Kind.BYTES), None)
        return Numbers(self._scalar(_EVERY, field.kind), None)

    def _nullable(self, field: Field, null: int) -> Found:
        branch = self._number(_EVERY)
        self.refuse(_EVERY, (branch >> 1) != 0, Fault.BRANCH)
        present = branch == 1 - null
        rows = np.flatnonzero(present)
        if field.kind in (Kind.STRING, Kind.BYTES):
            start, size = self._sized(rows, opaque=field.kind is Kind.BYTES)
            return Texts(self._spread(rows, start), self._spread(rows, size), present)
        return Numbers(self._spread(rows, self._scalar(rows, field.kind)), present)

    def _spread(self, rows: Int64s, values: Column) -> Column:
        full = np.zeros(len(self._at), values.dtype)
        full[rows] = values
        return full

    def _scalar(self, rows: Rows, kind: Kind) -> Column:
        if kind is Kind.BOOLEAN:
            return self._boolean(rows)
        if kind is Kind.DOUBLE:
            return self._double(rows)
        value = self._number(rows)
        if kind is Kind.INT:
            self.refuse(rows, value != value.astype(np.int32), Fault.INT)
        return value

    def _boolean(self, rows: Rows) -> Mask:
        at = self._at[rows]
        byte = self._buffer[at]
        self._move(rows, at + 1)
        self.refuse(rows, byte > 1, Fault.BOOLEAN)
        truth: Mask = byte == 1
        return truth

    def _double(self, rows: Rows) -> Column:
        at = self._at[rows]
        word = self._words[at]
        whole = self._hide(rows, at, 8) == 8
        self.tops += int(np.bitwise_count(word[whole] & TOPS).sum())
        self._move(rows, at + 8)
        return word.view(np.float64)

    def _sized(self, rows: Rows, *, opaque: bool = False) -> tuple[Int64s, Int64s]:
        size = self._number(rows)
        start = self._at[rows]
        wrong = (size < 0) | (size > self._end[rows] - start)
        if wrong.any():
            size = np.where(wrong, 0, size)
            self.refuse(rows, wrong, Fault.SIZE)
            start = self._at[rows]
        if opaque:
            self._hide(rows, start, size)
        self._put(rows, start + size)
        return start, size

    def _number(self, rows: Rows) -> Int64s:
        at = self._at[rows]
        byte = self._buffer[at]
        if not len(byte) or byte.max() < 128:
            value = byte.astype(np.int64)
            self._move(rows, at + 1)
            return unzigzag(value >> 1, value & 1)
        return self._wide(rows, at)

    def _wide(self, rows: Rows, at: Int64s) -> Int64s:
        value, size, wrong = number_at(self._buffer, self._words, at)
        self.tops += int(self._hide(rows, at, size - 1).sum())
        self._move(rows, at + size)
        self.refuse(rows, wrong, Fault.NUMBER)
        return value

    def _map(self) -> Entries:
        """Blocks of entries, each behind its count (negative: its bytes follow), up to a count of 0."""
        rows: Int64s = np.arange(len(self._at))
        total = np.zeros(len(rows), np.int64)
        parts: list[tuple[Int64s, ...]] = []
        while len(rows):
            count = self._number(rows)
            self._number(rows[count < 0])
            too_many = (count > MAX_ENTRIES) | (count < -MAX_ENTRIES)
            count = np.where(too_many, 0, np.abs(count))
            total[rows] += count
            self.refuse(rows, too_many | (total[rows] > MAX_ENTRIES), Fault.ENTRIES)
            rows = self._entries(rows, count, parts)
        return Entries.of(parts)

    def _entries(self, rows: Int64s, count: Int64s, parts: list[tuple[Int64s, ...]]) -> Int64s:
        """Walk `count` entries of each of `rows`; those that have another block."""
        sound = (count > 0) & (self.fault[rows] == Fault.NONE)
        rows, count = rows[sound], count[sound]
        left, step = rows, 0
        while len(left):
            parts.append((left, *self._sized(left), *self._sized(left)))
            step += 1
            left = rows[(count > step) & (self.fault[rows] == Fault.NONE)]
        more: Int64s = rows[self.fault[rows] == Fault.NONE]
        return more

    def _move(self, rows: Rows, target: Int64s) -> None:
        over = target > self._end[rows]
        self._put(rows, target)
        self.refuse(rows, over, Fault.ENDS)

    def _put(self, rows: Rows, target: Int64s) -> None:
        # A new array, since the places of all records were handed out as what was found.
        if isinstance(rows, slice):
            self._at = target
        else:
            self._at[rows] = target

    def _hide(self, rows: Rows, start: Int64s, size: Int64s | int) -> Int64s:
        """Note bytes that are not text, cut at the end of their record: the next one's text must be seen."""
        inside: Int64s = np.minimum(size, self._end[rows] - start)
        self.opaque.append((start, inside))
        return inside


def number_at(buffer: npt.NDArray[np.uint8], words: Uint64s, at: Int64s) -> tuple[Int64s, Int64s, Mask]:
    """Avro numbers of any length: their values, how many bytes they take, and which have more than 64 bits.

    The first eight bytes are read at once, and the rest where there is one.
    """
    word = words[at]
    stop = ~word & TOPS
    used = ((stop & -stop) << _U(1)) - _U(1)  # all bits of the number's bytes; all 64 if it goes on
    size = (np.bitwise_count(used) >> 3).astype(np.int64)
    value = squeezed(word & used)
    wrong = np.zeros(len(at), bool)
    if not stop.all():
        _beyond(buffer, at, np.flatnonzero(stop == 0), value, size, wrong)
    return unzigzag(value >> _U(1), value & _U(1)), size, wrong


def _beyond(
    buffer: npt.NDArray[np.uint8], at: Int64s, which: Int64s, value: Uint64s, size: Int64s, wrong: Mask
) -> None:
    """Bytes nine and ten of the numbers `which`; more than 64 bits are wrong."""
    ninth = buffer[at[which] + 8].astype(_U)
    tenth = np.where(ninth >= 128, buffer[at[which] + 9], 0).astype(_U)
    value[which] |= (ninth & _U(127)) << _U(56) | tenth << _U(63)
    size[which] = 9 + (ninth >= 128)
    wrong[which] = tenth > 1


def unzigzag(half: Column, sign: Column) -> Int64s:
    """Avro writes 0, -1, 1, -2, ... as 0, 1, 2, 3, ...: all bits but the lowest, and that one."""
    value: Int64s = half.view(np.int64) ^ -sign.view(np.int64)
    return value


def squeezed(word: Uint64s) -> Uint64s:
    """The seven low bits of each of the eight bytes, joined."""
    word = (word & _U(0x007F007F007F007F)) | (word & _U(0x7F007F007F007F00)) >> _U(1)
    word = (word & _U(0x00003FFF00003FFF)) | (word & _U(0x3FFF00003FFF0000)) >> _U(2)
    return (word & _U(0x000000000FFFFFFF)) | (word & _U(0x0FFFFFFF00000000)) >> _U(4)
