"""`EventMap`: which events a row of history stands for, and `Mapper`, which makes them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from pipeline.client.fields import Kind, fields_of, id_field
from pipeline.client.message import EventError, Message, Rules, build
from pipeline.replay.values import Row, Source, Times, as_type


@dataclass(frozen=True, slots=True)
class Condition:
    """On one column: its cell is one of `cells` (with `negated`, none of them); "" is an empty cell."""

    column: str
    cells: frozenset[str]
    negated: bool = False

    def holds(self, row: Row) -> bool:
        """Whether the row meets it."""
        cell = row.get(self.column)
        return (("" if cell is None else str(cell)) in self.cells) != self.negated


@dataclass(frozen=True, slots=True)
class EventRule:
    """One event a row, if the conditions hold.

    Attributes:
        kind: touchpoint or response.
        when: all of them must hold.
        once: only the first event with its id; further rows that make the same id make nothing.
        fields: where each field's value comes from; attributes are named "attributes.NAME".
        times: how each time field is written.
    """

    kind: Kind
    when: tuple[Condition, ...]
    once: bool
    fields: Mapping[str, Source]
    times: Mapping[str, Times]


@dataclass(frozen=True)
class EventMap:
    """A mapping file.

    Attributes:
        events: the rules, in the order of the file.
        empty: cells that mean nothing is known, besides the empty cell.
        delimiter: of CSV files.
        encoding: of CSV and JSON files.
    """

    events: tuple[EventRule, ...]
    empty: frozenset[str] = frozenset()
    delimiter: str = ","
    encoding: str = "utf-8-sig"

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """Every column that it reads, and for what: the first field or condition that does."""
        uses: dict[str, str] = {}
        for number, event in enumerate(self.events, 1):
            for condition in event.when:
                uses.setdefault(condition.column, f"event {number}, when")
            for name, source in event.fields.items():
                for column in source.columns:
                    uses.setdefault(column, f"event {number}, {name}")
        return MappingProxyType(uses)


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row, or one event of it, that makes no event. `line`: in the file, or its number where none are."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


class Mapper:
    """Rows to messages, in the order of the rows. Holds the ids it has made."""

    def __init__(self, mapping: EventMap, rules: Rules) -> None:
        self._mapping = mapping
        self._rules = rules
        self._made: set[str] = set()

    def events(self, line: int, row: Row) -> Iterator[Message | RowFault]:
        """The events of one row; a fault in one does not keep the others."""
        known = {name: cell for name, cell in row.items() if not self._is_empty(cell)}
        for rule in self._mapping.events:
            if all(condition.holds(known) for condition in rule.when):
                yield from self._event(rule, line, known)

    def _event(self, rule: EventRule, line: int, row: Row) -> Iterator[Message | RowFault]:
        try:
            message = build(rule.kind, _values(rule, row), self._rules, line=line)
        except EventError as faults:
            yield from (RowFault(line, _about(rule, fault.field, fault.reason)) for fault in faults.faults)
        except _CellError as fault:
            yield RowFault(line, str(fault))
        else:
            if not (rule.once and message.id in self._made):
                self._made.add(message.id)
                yield message

    def _is_empty(self, cell: object) -> bool:
        return cell is None or (isinstance(cell, str) and (not cell.strip() or cell in self._mapping.empty))


class _CellError(ValueError):
    """A cell cannot become a value."""


def _values(rule: EventRule, row: Row) -> dict[str, object]:
    values: dict[str, object] = {}
    attributes: dict[str, object] = {}
    for name, source in rule.fields.items():
        value = _value(rule, name, source, row)
        _, nested, attribute = name.partition(".")
        if nested and value is not None:
            attributes[attribute] = value
        elif not nested:
            values[name] = value
    for name in (id_field(rule.kind), "occurred_at"):
        # A made-up id would count again at the next replay, and a made-up time would be now.
        if values[name] is None:
            raise _CellError(_about(rule, name, "is missing"))
    return {**values, "attributes": attributes} if attributes else values


def _value(rule: EventRule, name: str, source: Source, row: Row) -> object:
    kind = "string" if "." in name else fields_of(rule.kind)[name].type
    try:
        value = source.read(row)
        return None if value is None else as_type(value, kind, rule.times.get(name))
    except ValueError as fault:
        raise _CellError(_about(rule, name, str(fault))) from fault


def _about(rule: EventRule, name: str, reason: str) -> str:
    """The fault with the column that the value came from."""
    columns = ", ".join(sorted(rule.fields[name].columns)) if name in rule.fields else ""
    place = f"column {columns} ({name})" if columns else name
    return f"{place}: {reason}" if place else reason
