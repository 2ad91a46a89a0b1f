"""`Sink`: columns into tables, in big batches. Writing the same rows again changes nothing: each table has a key."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

FORMAT = "ArrowStream"
_TIME = pl.Datetime("ms")
# How columns arrive (see `events.batch.Batch`) and what ClickHouse takes for its types: by name, everywhere the same.
_TIMES = frozenset({"occurred_at", "due_at", "touchpoint_at", "opened_at", "kafka_time", "time", "bucket"})
_DATES = frozenset({"day"})
_MAPS = frozenset({"attributes"})
_POSITION = "kafka_offset"
# What the store cannot mean, however often it is asked: bad data, or tables of another version. Everything else is
# an outage: timeouts, no memory, too many parts, no access while somebody rotates a password.
_POISON: Mapping[int, str] = MappingProxyType(
    dict.fromkeys(
        (6, 27, 33, 38, 41, 43, 53, 69, 70, 72, 117, 131, 349, 407), "the rows do not fit the table"
    )
    | dict.fromkeys((8, 10, 16, 44, 47, 62), "the table has other columns")
)


class SinkError(Exception):
    """The store did not take rows.

    Attributes:
        code: ClickHouse's error code; 0 if it does not answer at all.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class PoisonError(SinkError):
    """It refuses these rows for good."""


class AwayError(SinkError):
    """It does not take rows now; trying again later is all there is to do."""


class Sink:
    """Inserts frames. Not for several threads at a time."""

    def __init__(self, client: Client, *, compress: bool = True) -> None:
        """Through a client that may write; on one machine, what is compressed costs more than it saves."""
        self._client = client
        self._compress = compress

    def insert(self, table: str, frame: pl.DataFrame) -> None:
        """Insert all rows; when it returns they are stored.

        Args:
            table: its name.
            frame: columns named as the table's; times as milliseconds, days as days since 1970, maps as lists of
                {key, value}. Columns that are missing get their defaults.

        Raises:
            AwayError: some or none of them are stored, and all should be sent again.
            PoisonError: sending them again is no use.
        """
        if frame.is_empty():
            return
        names = frame.columns
        try:
            # not as bytes: those are copied behind the statement
            block: Any = memoryview(encoded(frame, compress=self._compress))
            self._client.raw_insert(table, names, block, settings=_settings(names), fmt=FORMAT)
        except ClickHouseError as fault:
            raise _classified(table, fault) from fault

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()


def _settings(names: Sequence[str]) -> dict[str, Any]:
    """Of an insert. The engine looks for several versions of a row before it stores them, for a quarter of the price.

    Rows of a topic's positions have none; of a cell there may be many, and only the last one is of use. A null where
    the table has none is refused: to look for it in every column costs the engine an eighth of the price, and what
    it would store instead, an empty text or 0, is a value that nobody sent.
    """
    return {"optimize_on_insert": int(_POSITION not in names), "input_format_null_as_default": 0}


def encoded(frame: pl.DataFrame, *, compress: bool = True) -> bytes:
    """The frame as an Arrow stream of types that ClickHouse converts without loss."""
    out = io.BytesIO()
    frame.select([_column(name, dtype) for name, dtype in frame.schema.items()]).write_ipc_stream(
        out, compression="lz4" if compress else "uncompressed", compat_level=pl.CompatLevel.oldest()
    )
    return out.getvalue()


def _column(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if name in _TIMES and dtype.is_integer():
        return column.cast(_TIME)
    if name in _DATES and dtype.is_integer():
        return column.cast(pl.Int32).cast(pl.Date)
    if name in _MAPS and isinstance(dtype, pl.List):
        # The engine reads a pair of lists as a map, but not a list of pairs whose keys may be null.
        parts = {part: column.list.eval(pl.element().struct.field(part)) for part in ("key", "value")}
        return pl.struct(keys=parts["key"], values=parts["value"]).alias(name)
    return column


def _classified(table: str, fault: ClickHouseError) -> SinkError:
    code = getattr(fault, "code", None) or 0
    if code in _POISON:
        text = f"{_POISON[code]} {table}: run `feedback setup`; the store says: {fault}"
        return PoisonError(code, text)
    return AwayError(code, str(fault))
