"""What the walk found, as polars columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.events.block import Block
from pipeline.events.found import Entries, Found, Int64s, Mask, Numbers, Texts
from pipeline.events.layout import Field, Kind, Layout
from pipeline.events.words import Uint64s

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
    query = _Query(block, good)
    wanted = [query.column(field, found.get(field.name), layout.defaults) for field in columns]
    return query.run(wanted)


class _Query:
    """All columns of one block in one query: each has a price, and polars shares out the work within one."""

    def __init__(self, block: Block, good: Int64s | None) -> None:
        self._good: Int64s | slice = slice(None) if good is None else good
        self._records = len(block)
        self._rows = len(block) if good is None else len(good)
        self._raw = pl.Series([block.raw], dtype=pl.Binary)
        self._sources: dict[str, pl.Series] = {"raw": _repeated(self._raw, self._rows)}

    def run(self, columns: Sequence[pl.Expr]) -> pl.DataFrame:
        return pl.DataFrame(self._sources).select(columns)

    def column(self, field: Field, found: Found | None, defaults: Mapping[str, Any]) -> pl.Expr:
        kind = dtype(field)
        if found is None:
            column = pl.repeat(_default(defaults[field.name]), pl.len(), dtype=kind)
        elif isinstance(found, Numbers):
            column = self._nulled(self._source(found.value[self._good]).cast(kind), found.present)
        elif isinstance(found, Texts):
            at, size = found.start[self._good], _sizes(found.size[self._good])
            column = self._nulled(_cut(self._source(at), self._source(size), kind), found.present)
        else:
            column = self._source(self._maps(found))
        return column.alias(field.name)

    def _source(self, values: npt.NDArray[Any] | pl.Series) -> pl.Expr:
        name = str(len(self._sources))
        self._sources[name] = pl.Series(values)
        return pl.col(name)

    def _nulled(self, column: pl.Expr, present: Mask | None) -> pl.Expr:
        if present is None:
            return column
        kept = present[self._good]
        return column if kept.all() else pl.when(self._source(kept)).then(column)

    def _maps(self, found: Entries) -> pl.Series:
        """Entries to lists: of the good records only, their rows counted among those."""
        place = np.full(self._records, -1, np.int64)
        place[self._good] = np.arange(self._rows)
        row = place[found.row]
        kept = np.flatnonzero(row >= 0)
        row = row[kept]
        source = {"raw": _repeated(self._raw, len(row))}
        for name, texts in (("key", found.key), ("value", found.value)):
            source |= {f"{name} at": pl.Series(texts.start[kept])}
            source |= {f"{name} size": pl.Series(_sizes(texts.size[kept]))}
        cuts = [_cut(pl.col(f"{k} at"), pl.col(f"{k} size"), pl.String()).alias(k) for k in ("key", "value")]
        return _lists(row, pl.DataFrame(source).select(cuts).to_struct("entry"), self._rows)


def _repeated(raw: pl.Series, times: int) -> pl.Series:
    """The same bytes in every row, in memory once: polars cuts row by row, and is slow to cut many from one value."""
    return raw.new_from_index(0, times)


def _sizes(size: Int64s) -> Uint64s:
    """As polars wants them: it would turn each of other numbers into such."""
    return size.view(np.uint64)


def _cut(at: pl.Expr, size: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Of each value the bytes from `at` on."""
    return pl.col("raw").bin.slice(at, size).cast(kind)


def _lists(row: Int64s, entries: pl.Series, records: int) -> pl.Series:
    """One list a record, empty where no entry has its row."""
    every = pl.DataFrame({"row": np.arange(records)})
    grouped = pl.DataFrame({"row": row, "entry": entries}).group_by("row", maintain_order=True).agg("entry")
    joined = every.join(grouped, on="row", how="left", maintain_order="left")["entry"]
    return joined.fill_null(pl.Series([[]], dtype=pl.List(_ENTRY)))


def _default(value: Any) -> Any:
    """As polars holds it: a map as a list of entries."""
    if isinstance(value, dict):
        return [{"key": key, "value": text} for key, text in value.items()]
    return value
