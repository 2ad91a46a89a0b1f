"""The rules of a good record once more, in plain Python: what the numpy walk is compared with."""

from __future__ import annotations

import struct
from typing import Any

from pipeline.events.faults import MAX_ENTRIES
from pipeline.events.layout import Field, Kind, fields
from pipeline.events.rejected import Reason
from pipeline.events.schemas import RecordSchema
from pipeline.events.wire import FIRST_MS, LAST_MS


class BadError(Exception):
    """Not a record."""


class _Reader:
    def __init__(self, value: bytes) -> None:
        self.value, self.at = value, 5

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.value) - self.at:
            raise BadError
        self.at += size
        return self.value[self.at - size : self.at]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if shift > 70 or value >> 64:
            raise BadError
        return (value >> 1) ^ -(value & 1)

    def text(self) -> str:
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError as fault:
            raise BadError from fault

    def entries(self) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = []
        while count := self.number():
            if count < 0:
                self.number()
            if len(entries) + abs(count) > MAX_ENTRIES:
                raise BadError
            entries += [{"key": self.text(), "value": self.text()} for _ in range(abs(count))]
        return entries

    def field(self, field: Field) -> Any:
        if field.null is not None:
            branch = self.number()
            if branch not in (0, 1):
                raise BadError
            if branch == field.null:
                return None
        return self.content(field.kind)

    def content(self, kind: Kind) -> Any:
        if kind is Kind.STRING:
            return self.text()
        if kind is Kind.BYTES:
            return self.take(self.number())
        if kind is Kind.MAP:
            return self.entries()
        if kind is Kind.DOUBLE:
            return struct.unpack("<d", self.take(8))[0]
        if kind is Kind.BOOLEAN:
            byte = self.take(1)[0]
            if byte > 1:
                raise BadError
            return bool(byte)
        number = self.number()
        if kind is Kind.INT and not -(1 << 31) <= number < 1 << 31:
            raise BadError
        return number


def read(schema: RecordSchema, value: bytes | None) -> dict[str, Any] | Reason:
    """The record, or why it is none."""
    if value is None:
        return Reason.NULL_VALUE
    if not value:
        return Reason.EMPTY_VALUE
    if len(value) < 5 or value[0]:
        return Reason.NOT_WIRE_FORMAT
    if int.from_bytes(value[1:5], "big") != schema.schema_id:
        return Reason.UNKNOWN_SCHEMA
    reader = _Reader(value)
    try:
        record = {field.name: reader.field(field) for field in fields(schema)}
    except BadError:
        return Reason.MALFORMED
    if reader.at != len(value):
        return Reason.MALFORMED
    stamps = [record[field.name] for field in fields(schema) if field.time]
    in_years = all(stamp is None or FIRST_MS <= stamp <= LAST_MS for stamp in stamps)
    return record if in_years else Reason.BAD_TIME
