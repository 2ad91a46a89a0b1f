"""`EventMap`: which events a row of history stands for, and `Mapper`, which makes them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from pipeline.client.fields import Kind, fields_of, id_field
from pipeline.client.message import EventError, Message, Rules, build
from pipeline.replay.values import MISSING, Row, Source, Times, as_text, as_type, reach

_PREVIOUS = "previous."


@dataclass(frozen=True, slots=True)
class Condition:
    """On one column: its cell is one of `cells` (with `negated`, none of them); "" is an empty cell."""

    column: str
    cells: frozenset[str]
    negated: bool = False

    def holds(self, row: Row) -> bool:
        """Whether the row meets it."""
        cell = row.get(self.column)
        return (("" if cell is None else as_text(cell)) in self.cells) != self.negated


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in its file.

    Attributes:
        line: from 1; the number of the row where a file has no lines (Avro).
        within: which of several rows of that line, "row 3, changes 2"; "" if it is the only one.
    """

    line: int
    within: str = ""

    def __str__(self) -> str:
        return f"line {self.line}{', ' * bool(self.within)}{self.within}"


@dataclass(frozen=True, slots=True)
class RowFault:
    """A row, or one event of it, that makes no event."""

    place: Place
    reason: str

    @property
    def line(self) -> int:
        """The line of its place."""
        return self.place.line

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class JsonShape:
    """Where the rows of a JSON file are.

    Attributes:
        rows: the name of the list of them in a page, {"count": 2, "tickets": [...]}; "" if the text is a
            list itself, or a row a line.
        each: a list in a row of which each element makes a row of its own; "" if there is none.
    """

    rows: str = ""
    each: str = ""


@dataclass(frozen=True)
class EventMap:
    """A mapping file.

    Attributes:
        events: the rules, in the order of the file.
        empty: cells that mean nothing is known, besides the empty cell.
        optional: columns that a file need not have.
        previous: "" or the column that says which rows tell of one thing; the cells of the row before are
            then columns too, "previous.NAME".
        json: where the rows of a JSON file are.
        delimiter: of CSV files.
        encoding: of CSV and JSON files.
        text: of the mapping file, to tell the line of a fault.
    """

    events: tuple[EventRule, ...]
    empty: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    previous: str = ""
    json: JsonShape = JsonShape()
    delimiter: str = ","
    encoding: str = "utf-8-sig"
    text: str = ""

    @cached_property
    def columns(self) -> Mapping[str, str]:
        """Every column of the file that it reads, and for what: the first field or condition that does."""
        uses = {self.previous: "previous"} if self.previous else {}
        for column, use in self._uses():
            uses.setdefault(column.removeprefix(_PREVIOUS) if self.previous else column, use)
        return MappingProxyType(uses)

    @cached_property
    def remembered(self) -> frozenset[str]:
        """The columns of which it reads the row before."""
        read = {column for column, _ in self._uses() if self.previous and column.startswith(_PREVIOUS)}
        return frozenset(column.removeprefix(_PREVIOUS) for column in read)

    def _uses(self) -> Iterator[tuple[str, str]]:
        for number, event in enumerate(self.events, 1):
            for condition in event.when:
                yield condition.column, f"event {number}, when.{condition.column}"
            for name, source in event.fields.items():
                for column in source.columns:
                    yield column, f"event {number}, {name}"


class Mapper:
    """Rows to messages, in the order of the rows. Holds the ids it has made, and the rows before."""

    def __init__(self, mapping: EventMap, rules: Rules) -> None:
        self._mapping = mapping
        self._rules = rules
        self._made: set[str] = set()
        self._idle = dict(enumerate(mapping.events, 1))
        self._before: dict[str, Mapping[str, object]] = {}

    @property
    def idle(self) -> tuple[int, ...]:
        """The rules, from 1, whose conditions no row has met."""
        return tuple(self._idle)

    def events(self, place: Place, row: Row) -> Iterator[Message | RowFault]:
        """The events of one row; a fault in one does not keep the others, and is told once."""
        known, told = self._known(row), set[str]()
        for number, rule in enumerate(self._mapping.events, 1):
            if all(condition.holds(known) for condition in rule.when):
                self._idle.pop(number, None)
                for event in self._event(rule, place, known):
                    if isinstance(event, RowFault):
                        if event.reason in told:
                            continue
                        told.add(event.reason)
                    yield event

    def _known(self, row: Row) -> Row:
        """The cells that are read and not empty, those of the row before included."""
        cells = ((column, reach(row, column)) for column in self._mapping.columns)
        known = {column: cell for column, cell in cells if not self._is_empty(cell)}
        if self._mapping.previous not in known:
            return known
        key = as_text(known[self._mapping.previous])
        before = self._before.get(key, {})
        self._before[key] = {
            _PREVIOUS + name: known[name] for name in self._mapping.remembered & known.keys()
        }
        return {**known, **before}

    def _event(self, rule: EventRule, place: Place, row: Row) -> Iterator[Message | RowFault]:
        values, faults = _values(rule, row)
        if faults:
            yield from (RowFault(place, fault) for fault in faults)
            return
        try:
            message = build(rule.kind, values, self._rules, line=place.line)
        except EventError as error:
            yield from (RowFault(place, _about(rule, fault.field, fault.reason)) for fault in error.faults)
        else:
            if not (rule.once and message.id in self._made):
                self._made.add(message.id)
                yield message

    def _is_empty(self, cell: object) -> bool:
        return (
            cell is None
            or cell is MISSING
            or (isinstance(cell, str) and (not cell.strip() or cell in self._mapping.empty))
        )


def _values(rule: EventRule, row: Row) -> tuple[dict[str, object], list[str]]:
    """The values of the record's fields, and what is wrong with the cells of others."""
    values: dict[str, object] = {}
    faults: list[str] = []
    for name, source in rule.fields.items():
        try:
            values[name] = _value(rule, name, source, row)
        except ValueError as fault:
            faults.append(_about(rule, name, str(fault)))
    for name in (id_field(rule.kind), "occurred_at"):
        # A made-up id would count again at the next replay, and a made-up time would be now.
        if values.get(name, "") is None:
            faults.append(_about(rule, name, "is missing"))
    return _nested(values), faults


def _nested(values: Mapping[str, object]) -> dict[str, object]:
    """The attributes, which have a dot in their names, under one name."""
    plain = {name: value for name, value in values.items() if "." not in name}
    dotted = {name.partition(".")[2]: value for name, value in values.items() if "." in name}
    attributes = {name: value for name, value in dotted.items() if value is not None}
    return {**plain, "attributes": attributes} if attributes else plain


def _value(rule: EventRule, name: str, source: Source, row: Row) -> object:
    kind = "string" if "." in name else fields_of(rule.kind)[name].type
    value = source.read(row)
    return None if value is None else as_type(value, kind, rule.times.get(name))


def _about(rule: EventRule, name: str, reason: str) -> str:
    """The fault with the column that the value came from."""
    columns = ", ".join(sorted(rule.fields[name].columns)) if name in rule.fields else ""
    place = f"column {columns} ({name})" if columns else name
    return f"{place}: {reason}" if place else reason
