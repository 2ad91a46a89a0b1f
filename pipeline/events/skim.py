"""A quick first look: a cursor in every record of a batch at once, as if all of them were sound.

`Walk` judges; this only sorts. A record is no suspect if every byte of it was what its fields want and the last field
ends where the record ends; the cursor never goes back, so none of its fields lies beyond it. What is found in such a
record is what `Walk` finds. A suspect may be sound all the same (a number written with more bytes than it needs), so
every suspect is handed to `Walk`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.events.faults import MAX_ENTRIES
from pipeline.events.found import Entries, Found, Int64s, Mask, Numbers, Texts
from pipeline.events.layout import Field, Kind
from pipeline.events.walk import (
    HEADER_SIZE,
    HEADER_TOPS,
    TOPS,
    Column,
    Uint64s,
    number_at,
    squeezed,
    unzigzag,
)

Bytes = npt.NDArray[np.uint8]

_FIELDS_AT_ONCE = 8
# A cursor may leave its record by a short text (64 bytes) a field before it is brought back, and words are read there.
PADDING = _FIELDS_AT_ONCE * 66 + 320


class Skim:
    """Looks at records that stand behind each other in one buffer.

    Attributes:
        suspect: which records `Walk` must judge.
        opaque: ranges (start, size) of the buffer that are not text and may hold bytes beyond ASCII.
        tops: how many bytes beyond ASCII were seen there; never more than there are.
    """

    def __init__(self, buffer: Bytes, start: Int64s, end: Int64s) -> None:
        """The records with their headers are `buffer[start:end]`; PADDING bytes must follow the last one."""
        self._buffer = buffer
        self._words: Uint64s = np.ndarray((len(buffer) - 7,), "<u8", buffer, strides=(1,))
        self._at = start
        self._end = end
        self._odd = np.zeros(len(start), np.uint8)  # bits that should not be set, of all fields so far
        self.suspect = np.zeros(len(start), bool)
        self.opaque: list[tuple[Int64s, Int64s | int]] = []
        self.tops = 0

    def run(self, fields: tuple[Field, ...]) -> dict[str, Found]:
        """Look at all fields; what is found in a suspect means nothing."""
        self._header()
        found = {}
        for number, field in enumerate(fields):
            if number % _FIELDS_AT_ONCE == 0:
                # every field takes a byte at least, so who was beyond its end will be so again
                self._at = np.minimum(self._at, self._end)
            found[field.name] = (
                self._plain(field) if field.null is None else self._nullable(field, field.null)
            )
        self.suspect |= (self._at != self._end) | (self._odd != 0)
        return found

    def _header(self) -> None:
        """The schema's id, the same in all."""
        if len(self._at):
            tops = int(np.bitwise_count(self._words[self._at[0]] & HEADER_TOPS))
            self.tops += tops * len(self._at)
            if tops:
                self.opaque.append((self._at, HEADER_SIZE))
        self._at = self._at + HEADER_SIZE

    def _plain(self, field: Field) -> Found:
        if field.kind is Kind.MAP:
            return self._map()
        if field.kind is Kind.DOUBLE:
            return Numbers(self._double(None), None)
        byte = self._buffer[self._at]
        if field.kind in (Kind.STRING, Kind.BYTES):
            return Texts(*self._text(byte, 1, opaque=field.kind is Kind.BYTES), None)
        return Numbers(self._scalar(field.kind, byte, 1), None)

    def _nullable(self, field: Field, null: int) -> Found:
        branch = self._buffer[self._at]
        self._odd |= branch & np.uint8(0xFD)  # the branches are 0 and 1, as Avro writes them 0 and 2
        present = branch == 2 * (1 - null)
        self._at = self._at + 1
        if field.kind is Kind.DOUBLE:
            return Numbers(self._double(present), present)
        byte = self._buffer[self._at] * present
        if field.kind in (Kind.STRING, Kind.BYTES):
            return Texts(*self._text(byte, present, opaque=field.kind is Kind.BYTES), present)
        return Numbers(self._scalar(field.kind, byte, present), present)

    def _text(self, byte: Bytes, width: Mask | int, *, opaque: bool) -> tuple[Int64s, Int64s]:
        """Start and size; `byte` is the first of the size, 0 where there is none, and `width` its bytes, 1 or 0."""
        size = (byte >> 1).astype(np.int64)
        self._odd |= byte & 1 & ~(byte >> 7)  # a negative size; of a longer one the sign is looked at below
        start = self._at + width
        if byte.max(initial=0) >= 128:
            rows = np.flatnonzero(byte >= 128)
            size[rows], start[rows] = self._wide(rows)
            wrong = (size[rows] < 0) | (size[rows] > self._end[rows] - start[rows])
            self._suspect(rows[wrong])
            size[rows[wrong]] = 0
        if opaque:
            self._hide(start, self._end, size)
        self._at = start + size
        return start, size

    def _scalar(self, kind: Kind, byte: Bytes, width: Mask | int) -> Column:
        if kind is Kind.BOOLEAN:
            self._odd |= byte & np.uint8(0xFE)
            self._at = self._at + width
            return np.asarray(byte == 1)
        value = ((byte >> 1).view(np.int8) ^ -(byte & 1).view(np.int8)).astype(np.int64)
        end = self._at + width
        if byte.max(initial=0) >= 128:
            rows = np.flatnonzero(byte >= 128)
            value[rows], end[rows] = self._wide(rows)
            if kind is Kind.INT:
                self._suspect(rows[value[rows] != value[rows].astype(np.int32)])
        self._at = end
        return value

    def _wide(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """Numbers of several bytes, and where they end."""
        every = len(rows) == len(self._at)
        at, end = (self._at, self._end) if every else (self._at[rows], self._end[rows])
        word = self._words[at]
        size = _same_size(word)
        if size and (end - at >= size).all():
            self.tops += (size - 1) * len(rows)
            self.opaque.append((at, size - 1))
            half = squeezed(word & np.uint64((1 << 8 * size) - 1))
            return unzigzag(half >> np.uint64(1), half & np.uint64(1)), at + size
        value, sizes, wrong = number_at(self._buffer, self._words, at)
        self.tops += int(self._hide(at, end, sizes - 1).sum())
        self._suspect(rows[wrong])
        return value, np.minimum(at + sizes, end + 1)

    def _double(self, present: Mask | None) -> Column:
        word = self._words[self._at]
        rows = np.arange(len(word)) if present is None else np.flatnonzero(present)
        whole = self._hide(self._at[rows], self._end[rows], np.int64(8)) == 8
        self.tops += int(np.bitwise_count(word[rows[whole]] & TOPS).sum())
        self._at = self._at + (8 if present is None else present * np.int64(8))
        return word.view(np.float64) if present is None else np.where(present, word, 0).view(np.float64)

    def _map(self) -> Entries:
        """One block of entries behind its count, and a zero; a map that was written otherwise is suspect."""
        byte = self._buffer[self._at]
        self._at = self._at + 1
        count = (byte >> 1).astype(np.int64)
        rows = np.flatnonzero(byte)
        self._suspect(rows[((byte & 1) != 0)[rows] | (byte >= 128)[rows] | (count > MAX_ENTRIES)[rows]])
        parts: list[tuple[Int64s, ...]] = []
        more = rows
        for step in range(int(count.max(initial=0))):
            more = more[(count[more] > step) & ~self.suspect[more]]
            if not len(more):
                break
            parts.append((more, *self._entry(more), *self._entry(more)))
        rows = rows[~self.suspect[rows]]
        self._odd[rows] |= self._buffer[self._at[rows]]
        self._at[rows] += 1
        return Entries.of(parts)

    def _entry(self, rows: Int64s) -> tuple[Int64s, Int64s]:
        """A text of some records only."""
        size, start = self._wide(rows)
        wrong = (size < 0) | (size > self._end[rows] - start)
        self._suspect(rows[wrong])
        size = np.where(wrong, 0, size)
        self._at[rows] = start + size
        return start, size

    def _suspect(self, rows: Int64s) -> None:
        self.suspect[rows] = True

    def _hide(self, start: Int64s, end: Int64s, size: Int64s | np.int64) -> Int64s:
        """Note bytes that are not text, as far as they lie in their record: the next one's text must be seen."""
        inside: Int64s = np.clip(end - start, 0, size)
        self.opaque.append((start, inside))
        return inside


def _same_size(word: Uint64s) -> int:
    """How many bytes each of these numbers has, of which these are the first eight; 0 if they differ or have more."""
    if not len(word):
        return 0
    first = int(~word[0] & TOPS)
    size = ((first & -first).bit_length() + 7) // 8
    used = np.uint64((1 << 8 * size) - 1)
    return size if ((word & TOPS & used) == (TOPS & used >> np.uint64(8))).all() else 0
