"""`Part`: the readable records of a batch that one writer schema wrote, as places in the bytes that came.

Nothing is copied out of the bytes before somebody asks for it, and most is never asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.events.block import Block
from pipeline.events.found import Entries, Found, Int64s, Mask, Numbers, Texts
from pipeline.events.frames import frame
from pipeline.events.ids import id128
from pipeline.events.labels import Labels, labels_of
from pipeline.events.layout import Field, Layout
from pipeline.events.placement import partitions_of
from pipeline.events.words import Uint64s


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one writer schema.

    Attributes:
        block: their bytes, with those of records that are not readable.
        good: places in the block of the readable ones, ascending; None for all.
        found: what stands in each field that was written, one row a record of the block.
        layout: how to read it.
    """

    block: Block
    good: Int64s | None
    found: dict[str, Found]
    layout: Layout

    def __len__(self) -> int:
        return len(self.block) if self.good is None else len(self.good)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """A field of numbers that are never null."""
        found = self.found.get(name)
        if found is None:
            return np.full(len(self), self.layout.defaults[name])
        assert isinstance(found, Numbers)  # noqa: S101 - a caller's mistake, for mypy
        return found.value if self.good is None else found.value[self.good]

    def texts(self, name: str) -> Texts:
        """Where a field of texts stands. One that was not written has its default, null or empty."""
        found = self.found.get(name)
        if found is None:
            return self._default_texts(name)
        assert isinstance(found, Texts)  # noqa: S101 - a caller's mistake, for mypy
        if self.good is None:
            return found
        present = None if found.present is None else found.present[self.good]
        return Texts(found.start[self.good], found.size[self.good], present)

    def utf8s(self, name: str) -> list[bytes | None]:
        """A field of texts, cut out of every record."""
        texts, raw = self.texts(name), self.block.raw
        places = zip(texts.start.tolist(), (texts.start + texts.size).tolist(), strict=True)
        if texts.present is None:
            return [raw[a:b] for a, b in places]
        there = texts.present.tolist()
        return [raw[a:b] if known else None for (a, b), known in zip(places, there, strict=True)]

    def labels(self, names: Sequence[str]) -> Labels:
        """The distinct rows of these fields of texts, and which of them each record has."""
        return labels_of(self.block.buffer, [self.texts(name) for name in names])

    def hashes(self, name: str | None) -> tuple[Uint64s, Uint64s]:
        """128 bits of a field of texts; zeros without one."""
        if name is None:
            none = np.zeros(len(self), np.uint64)
            return none, none
        texts = self.texts(name)
        return id128(self.block.buffer, texts.start, texts.size)

    def partitions(self, names: Sequence[str], partitions: int) -> npt.NDArray[np.int32]:
        """Where the Java default puts each record, whose key is the first of these texts that is not empty."""
        *others, last = names
        key = self.texts(last)
        start, size = key.start, key.size
        for name in reversed(others):
            first = self.texts(name)
            there = first.size > 0
            if first.present is not None:
                there &= first.present
            start, size = np.where(there, first.start, start), np.where(there, first.size, size)
        return partitions_of(self.block.buffer, start, size, partitions)

    def frame(self, columns: Sequence[Field]) -> pl.DataFrame:
        """These fields as columns."""
        return frame(self.block, self.good, self.found, self.layout, columns)

    def kept(self, mask: Mask) -> Part:
        """Only the records of the mask."""
        places = np.arange(len(self.block)) if self.good is None else self.good
        return replace(self, good=places[mask])

    def nulled(self, name: str) -> Part:
        """With a null wherever this text is empty."""
        found = self.found.get(name)
        if not isinstance(found, Texts) or found.present is None or (found.size[found.present] > 0).all():
            return self
        return replace(
            self, found={**self.found, name: replace(found, present=found.present & (found.size > 0))}
        )

    def _default_texts(self, name: str) -> Texts:
        nothing = np.zeros(len(self), np.int64)
        return Texts(nothing, nothing, np.zeros(len(self), bool))


def replaced(found: Found, rows: Int64s, better: Found, moved: Int64s) -> Found:
    """`found` with what `better` says about `rows`, in whose buffer these records stand `moved` bytes elsewhere."""
    if isinstance(found, Numbers) and isinstance(better, Numbers):
        return Numbers(_put(found.value, rows, better.value), _put_mask(found.present, rows, better.present))
    if isinstance(found, Texts) and isinstance(better, Texts):
        start = _put(found.start, rows, better.start + moved)
        return Texts(
            start, _put(found.size, rows, better.size), _put_mask(found.present, rows, better.present)
        )
    assert isinstance(found, Entries)  # noqa: S101 - both come from one field, for mypy
    assert isinstance(better, Entries)  # noqa: S101 - likewise
    kept = ~np.isin(found.row, rows)
    shift = moved[better.row]
    key = _entries(found.key, kept, better.key, shift)
    value = _entries(found.value, kept, better.value, shift)
    return Entries(np.concatenate((found.row[kept], rows[better.row])), key, value)


def _entries(old: Texts, kept: Mask, new: Texts, shift: Int64s) -> Texts:
    start = np.concatenate((old.start[kept], new.start + shift))
    return Texts(start, np.concatenate((old.size[kept], new.size)), None)


def _put(column: npt.NDArray[Any], rows: Int64s, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    changed = column.copy()
    changed[rows] = values
    return changed


def _put_mask(column: Mask | None, rows: Int64s, values: Mask | None) -> Mask | None:
    return None if column is None or values is None else _put(column, rows, values)
