"""What stands in a record in which order (its writer's schema), and how another version reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any

from pipeline.events.schemas import RecordSchema


class Kind(StrEnum):
    """The Avro types that our records are made of; a map is always one of texts."""

    STRING = "string"
    BYTES = "bytes"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    DOUBLE = "double"
    MAP = "map"


# What Avro lets a reader take for what was written, beside the same type.
_PROMOTIONS = frozenset({(Kind.INT, Kind.LONG), (Kind.INT, Kind.DOUBLE), (Kind.LONG, Kind.DOUBLE)})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Attributes:
        name: of the field.
        kind: its type, without null.
        null: the number of the union branch that is null; None if the field cannot be null.
        time: it is milliseconds since 1970.
        logical: Avro's logical type, "timestamp-millis" for instance; empty if it has none.
    """

    name: str
    kind: Kind
    null: int | None
    time: bool
    logical: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read what one schema wrote as another.

    Attributes:
        written: the fields in the order in which they stand in a record.
        read: the fields that the reader wants, in its order.
        defaults: values of those that the writer did not know.
    """

    written: tuple[Field, ...]
    read: tuple[Field, ...]
    defaults: Mapping[str, Any]


@cache
def fields(schema: RecordSchema) -> tuple[Field, ...]:
    """The fields of a schema; ValueError if it uses a type that our records do not have."""
    return tuple(_field(field["name"], field["type"]) for field in schema.avro["fields"])


def id_field(schema: RecordSchema) -> str | None:
    """The field that identifies a record: the first, if its name ends in "_id"."""
    first = fields(schema)[0]
    return first.name if first.name.endswith("_id") and first.kind is Kind.STRING else None


@cache
def resolve(writer: RecordSchema, reader: RecordSchema) -> Layout | None:
    """How to read as `reader` what `writer` wrote; None if Avro's resolution rules do not allow it.

    None, too, if a field has a type that the walk does not know, or a time another unit than ours.
    """
    try:
        written = fields(writer)
    except ValueError:
        return None
    wanted = {field.name: field for field in fields(reader)}
    names = {field.name for field in written}
    defaults = {field["name"]: field["default"] for field in reader.avro["fields"] if "default" in field}
    if not all(_readable(field, wanted[field.name]) for field in written if field.name in wanted):
        return None
    if not wanted.keys() <= names | defaults.keys():
        return None
    # a writer may say no more than "long": it is judged by what it is read as
    judged = tuple(replace(f, time=wanted[f.name].time) if f.name in wanted else f for f in written)
    missing = {name: value for name, value in defaults.items() if name not in names}
    return Layout(judged, fields(reader), MappingProxyType(missing))


def _readable(written: Field, read: Field) -> bool:
    if written.null is not None and read.null is None:
        return False
    if written.logical not in ("", read.logical):
        return False
    return written.kind == read.kind or (written.kind, read.kind) in _PROMOTIONS


def _field(name: str, avro: Any) -> Field:
    null = None
    if isinstance(avro, list):
        null, (avro,) = avro.index("null"), [branch for branch in avro if branch != "null"]
    logical = avro.get("logicalType", "") if isinstance(avro, dict) else ""
    kind = Kind(avro["type"] if isinstance(avro, dict) else avro)
    if kind is Kind.MAP and (null is not None or _plain(avro["values"]) != "string"):
        msg = f"{name}: only a map of texts that is never null can be read"
        raise ValueError(msg)
    return Field(name, kind, null, logical == "timestamp-millis", logical)


def _plain(avro: Any) -> Any:
    """A type without what others note beside it; Java's classes note which class a text becomes."""
    return avro["type"] if isinstance(avro, dict) and "logicalType" not in avro else avro
