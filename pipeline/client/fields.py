"""The fields of the two event records as their Avro schemas name them, and what may be put into each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from pipeline.events.schemas import RecordSchema, schema
from pipeline.events.wire import milliseconds

Kind = Literal["touchpoint", "response"]
KINDS: tuple[Kind, Kind] = ("touchpoint", "response")

_SCHEMAS: Mapping[Kind, str] = MappingProxyType(
    {"touchpoint": "TouchpointEvent", "response": "SurveyResponse"}
)
# Milliseconds below this are of before 1973: somebody sent seconds.
_LEAST_MS = 100_000_000_000
_INT32 = range(-(1 << 31), 1 << 31)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        name: as in the schema.
        type: "string", "int", "boolean", "map" (of texts) or "timestamp-millis".
        nullable: None is a value.
        required: has no default and is not filled in for the caller.
        convert: gives the value that is encoded, or raises ValueError with what is wrong.
    """

    name: str
    type: str
    nullable: bool
    required: bool
    convert: Callable[[object], Any]


def schema_of(kind: Kind) -> RecordSchema:
    """The schema that events of this kind are written in."""
    return schema(_SCHEMAS[kind])


def id_field(kind: Kind) -> str:
    """The name of the field that says which event it is."""
    return "event_id" if kind == "touchpoint" else "response_id"


@cache
def fields_of(kind: Kind) -> Mapping[str, Field]:
    """The fields by name, in the order of the schema."""
    fields = (_field(declared, id_field(kind)) for declared in schema_of(kind).avro["fields"])
    return MappingProxyType({field.name: field for field in fields})


def _field(declared: Mapping[str, Any], identity: str) -> Field:
    avro, nullable = declared["type"], False
    if isinstance(avro, list):
        avro, nullable = next(branch for branch in avro if branch != "null"), True
    name = declared["name"]
    filled_in = name in (identity, "occurred_at")
    required = not (filled_in or nullable or "default" in declared)
    kind = _type_name(avro)
    return Field(name, kind, nullable, required, _CONVERTERS[kind])


def _type_name(avro: Any) -> str:
    if isinstance(avro, str):
        return avro
    return str(avro.get("logicalType") or avro["type"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        _refuse("a text", value)
    if not value.isascii():
        value.encode()  # half a surrogate pair cannot be written; UnicodeEncodeError is a ValueError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse("a whole number", value)
    if value not in _INT32:
        msg = "must fit 32 bits"
        raise ValueError(msg)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        _refuse("true or false", value)
    return value


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        _refuse("an object of texts", value)
    return {_text(key): _text(text) for key, text in value.items()}


def _time(value: object) -> int:
    """Milliseconds since 1970 of an aware datetime, ISO 8601 with a zone, or milliseconds since 1970."""
    if isinstance(value, str):
        value = _iso(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            msg = "must have a time zone, e.g. 2026-03-01T12:00:00Z or datetime.now(UTC)"
            raise ValueError(msg)
        return milliseconds(value)
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse("ISO 8601 with a time zone, or milliseconds since 1970", value)
    if value < _LEAST_MS:
        msg = "must be milliseconds since 1970 (this looks like seconds)"
        raise ValueError(msg)
    return value


def _iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as fault:
        msg = "must be ISO 8601 with a time zone, e.g. 2026-03-01T12:00:00Z"
        raise ValueError(msg) from fault


def _refuse(expected: str, value: object) -> NoReturn:
    msg = f"must be {expected}, not {_JSON_NAMES.get(type(value), type(value).__name__)}"
    raise ValueError(msg)


# How people who write JSON call what they sent.
_JSON_NAMES: Mapping[type, str] = MappingProxyType(
    {
        str: "a text",
        int: "a number",
        float: "a number with decimals",
        bool: "true or false",
        type(None): "null",
        list: "a list",
        dict: "an object",
    }
)
_CONVERTERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {"string": _text, "int": _whole, "boolean": _flag, "map": _texts, "timestamp-millis": _time}
)
