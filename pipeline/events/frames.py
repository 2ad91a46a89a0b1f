"""What the walk found, as polars columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from pipeline.events.block import Block
from pipeline.events.found import Entries, Found, Int64s, Mask, Numbers, Texts
from pipeline.events.layout import Field, Kind, Layout

_ENTRY = pl.Struct({"key": pl.String, "value": pl.String})
_DTYPES: Mapping[Kind, pl.DataType] = MappingProxyType(
    {
        Kind.STRING: pl.String(),
        Kind.BYTES: pl.Binary(),
        Kind.BOOLEAN: pl.Boolean(),
        Kind.INT: pl.Int64(),
        Kind.LONG: pl.Int64(),
        Kind.DOUBLE: pl.Float64(),
        Kind.MAP: pl.List(_ENTRY),
    }
)


def dtype(field: Field) -> pl.DataType:
    """Of its column: times are Int64 milliseconds, dates Int64 days, a map is a list of {key, value}."""
    return _DTYPES[field.kind]


def empty(columns: Sequence[Field]) -> pl.DataFrame:
    """No rows."""
    return pl.DataFrame(schema={field.name: dtype(field) for field in columns})


def frame(
    block: Block,
    good: Int64s | None,
    found: Mapping[str, Found],
    layout: Layout,
    columns: Sequence[Field],
) -> pl.DataFrame:
    """The `columns` of the `good` records (positions; None for all)."""
    frames = _Frames(block, good)
    return pl.DataFrame([frames.column(field, found.get(field.name), layout.defaults) for field in columns])


class _Frames:
    """Makes the columns of one block."""

    def __init__(self, block: Block, good: Int64s | None) -> None:
        values = block.values if good is None else [block.values[row] for row in good.tolist()]
        self._raw = pl.Series(values, dtype=pl.Binary)
        self._good: Int64s | slice = slice(None) if good is None else good
        self._start = block.start[self._good]
        self._records = len(block)

    def column(self, field: Field, found: Found | None, defaults: Mapping[str, Any]) -> pl.Series:
        kind = dtype(field)
        if found is None:
            column = pl.repeat(_default(defaults[field.name]), len(self._raw), dtype=kind, eager=True)
        elif isinstance(found, Numbers):
            column = self._numbers(found, kind)
        elif isinstance(found, Texts):
            column = self._texts(found, kind)
        else:
            column = self._maps(found)
        return column.alias(field.name)

    def _numbers(self, found: Numbers, kind: pl.DataType) -> pl.Series:
        column = pl.Series(found.value[self._good]).cast(kind)
        return self._nulled(column, found.present)

    def _texts(self, found: Texts, kind: pl.DataType) -> pl.Series:
        at, size = found.start[self._good] - self._start, found.size[self._good]
        return self._nulled(_cut(self._raw, at, size, kind), found.present)

    def _nulled(self, column: pl.Series, present: Mask | None) -> pl.Series:
        if present is None:
            return column
        kept = present[self._good]
        null = pl.Series([None], dtype=column.dtype)
        return column if kept.all() else column.zip_with(pl.Series(kept), null)

    def _maps(self, found: Entries) -> pl.Series:
        """Entries to lists: of the good records only, their rows counted among those."""
        place = np.full(self._records, -1, np.int64)
        place[self._good] = np.arange(len(self._raw))
        row = place[found.row]
        kept = np.flatnonzero(row >= 0)
        row = row[kept]
        raw, start = self._raw.gather(row), self._start[row]
        key = _cut(raw, found.key.start[kept] - start, found.key.size[kept], pl.String())
        value = _cut(raw, found.value.start[kept] - start, found.value.size[kept], pl.String())
        return _lists(row, pl.DataFrame({"key": key, "value": value}).to_struct("entry"), len(self._raw))


def _cut(raw: pl.Series, at: Int64s, size: Int64s, kind: pl.DataType) -> pl.Series:
    """Of each value the bytes from `at` on."""
    source = pl.DataFrame({"raw": raw, "at": at, "size": size})
    return source.select(pl.col("raw").bin.slice("at", "size").cast(kind)).to_series()


def _lists(row: Int64s, entries: pl.Series, records: int) -> pl.Series:
    """One list a record, empty where no entry has its row; `row` is ascending."""
    every = pl.DataFrame({"row": np.arange(records)})
    grouped = pl.DataFrame({"row": row, "entry": entries}).group_by("row", maintain_order=True).agg("entry")
    joined = every.join(grouped, on="row", how="left", maintain_order="left")["entry"]
    return joined.fill_null(pl.Series([[]], dtype=pl.List(_ENTRY)))


def _default(value: Any) -> Any:
    """As polars holds it: a map as a list of entries."""
    if isinstance(value, dict):
        return [{"key": key, "value": text} for key, text in value.items()]
    return value
