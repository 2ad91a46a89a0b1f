"""One record to and from the Confluent wire format: zero byte, schema id, Avro body. Needs only fastavro.

fastavro alone would cut 4.5 to 4, take "no" for true and write numbers that no reader can hold, and it quotes
the value in its errors, which end up in logs. So every field is checked here first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any, NoReturn

from fastavro import schemaless_reader, schemaless_writer

from pipeline.events.faults import MAX_ENTRIES
from pipeline.events.schemas import RecordSchema, by_id

MAGIC = 0
SCHEMA_ID = struct.Struct(">I")
HEADER_SIZE = 5
# What a cell and a datetime can hold: minutes of cells begin with 1970, datetimes end with 9999. Whatever stands
# outside is BAD_TIME to the batch decoder.
FIRST_MS, LAST_MS = 0, 253_402_300_799_999

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAULTS = (ValueError, TypeError, AttributeError, OverflowError, KeyError, IndexError, EOFError, MemoryError)


class WireError(ValueError):
    """This one record cannot be written or read; the text says why, without the record's contents."""


def header(schema_id: int) -> bytes:
    """The five bytes before the Avro body."""
    return b"\0" + SCHEMA_ID.pack(schema_id)


# The headers that stand for schemas of ours -> those that a registry gives them.
Heads = Mapping[bytes, bytes]


def under(value: bytes, heads: Heads) -> bytes:
    """The same record under the id of the registry; as it is where the registry gives none.

    Our own ids stay in whatever is remembered, so that nothing hangs on a registry but what others read.
    """
    head = heads.get(value[:HEADER_SIZE])
    return value if head is None else head + value[HEADER_SIZE:]


def milliseconds(time: datetime) -> int:
    """Whole milliseconds since 1970 of an aware time, rounded down; WireError if it is naive."""
    if time.tzinfo is None:
        msg = "a time without time zone"
        raise WireError(msg)
    return (time - _EPOCH) // timedelta(milliseconds=1)


def encode(schema: RecordSchema, record: Mapping[str, Any]) -> bytes:
    """The value of a Kafka record.

    Args:
        schema: what to write it as.
        record: the fields by name; times are aware datetimes or integer milliseconds since 1970. A field
            with a default may be missing; one that the schema does not have may not be there.

    Raises:
        WireError: a field is missing, unknown, of the wrong type or beyond its range; the text names it.
    """
    ready = dict(record)
    for name, check in _checks(schema):
        if name in ready:
            ready[name] = _checked(name, check, ready[name])
    out = BytesIO()
    out.write(header(schema.schema_id))
    try:
        schemaless_writer(out, schema.parsed, ready, strict_allow_default=True)
    except _FAULTS as fault:
        msg = f"{schema.name}: {fault}"
        raise WireError(msg) from fault
    return out.getvalue()


def decode(value: bytes) -> tuple[RecordSchema, dict[str, Any]]:
    """One record by its own schema, for tools; times are aware datetimes.

    Raises:
        WireError: not in wire format, of an unknown schema, or malformed.
    """
    if len(value) < HEADER_SIZE or value[0] != MAGIC:
        msg = "not in wire format"
        raise WireError(msg)
    (schema_id,) = SCHEMA_ID.unpack_from(value, 1)
    schema = by_id(schema_id)
    if schema is None:
        msg = f"schema id {schema_id} is not in the registry"
        raise WireError(msg)
    return schema, _body(schema, value)


def _body(schema: RecordSchema, value: bytes) -> dict[str, Any]:
    body = BytesIO(value)
    body.seek(HEADER_SIZE)
    try:
        record = schemaless_reader(body, schema.parsed, None)
    except _FAULTS as fault:
        msg = f"{schema.name}: malformed ({type(fault).__name__})"
        raise WireError(msg) from fault
    if body.tell() != len(value):
        msg = f"{schema.name}: {len(value) - body.tell()} bytes after the last field"
        raise WireError(msg)
    assert isinstance(record, dict)  # noqa: S101 - the schema is a record, for mypy
    return record


# Gives the value as fastavro shall write it, or raises ValueError.
_Check = Callable[[object], object]


@cache
def _checks(schema: RecordSchema) -> tuple[tuple[str, _Check], ...]:
    return tuple((field["name"], _check_of(field["type"])) for field in schema.avro["fields"])


def _check_of(kind: Any) -> _Check:
    if isinstance(kind, list):
        inner = _check_of(next(branch for branch in kind if branch != "null"))
        return lambda value: None if value is None else inner(value)
    if isinstance(kind, dict):
        return _time if kind.get("logicalType") == "timestamp-millis" else _check_of(kind["type"])
    return _CHECKS[kind]


def _checked(name: str, check: _Check, value: object) -> object:
    try:
        return check(value)
    except ValueError as fault:
        msg = f"{name}: {fault}"
        raise WireError(msg) from fault


def _time(value: object) -> int:
    time = milliseconds(value) if isinstance(value, datetime) else _int64(value)
    return _within(time, FIRST_MS, LAST_MS, "must be in the years 1970 to 9999")


def _int32(value: object) -> int:
    return _within(value, -(1 << 31), (1 << 31) - 1, "must fit 32 bits")


def _int64(value: object) -> int:
    return _within(value, -(1 << 63), (1 << 63) - 1, "must fit 64 bits")


def _within(value: object, low: int, high: int, otherwise: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse("a whole number", value)
    if not low <= value <= high:
        raise ValueError(otherwise)
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        _refuse("true or false", value)
    return value


def _double(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse("a number", value)
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        _refuse("a text", value)
    if not value.isascii():
        value.encode()  # half a surrogate pair cannot be written: UnicodeEncodeError is a ValueError
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        _refuse("bytes", value)
    return value


def _texts(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        _refuse("texts by name", value)
    if len(value) > MAX_ENTRIES:
        msg = f"must have at most {MAX_ENTRIES} entries"
        raise ValueError(msg)
    return {_text(key): _text(text) for key, text in value.items()}


def _refuse(expected: str, value: object) -> NoReturn:
    msg = f"must be {expected}, not {type(value).__name__}"
    raise ValueError(msg)


_CHECKS: Mapping[str, _Check] = MappingProxyType(
    {
        "int": _int32,
        "long": _int64,
        "boolean": _boolean,
        "double": _double,
        "string": _text,
        "bytes": _bytes,
        "map": _texts,
    }
)
