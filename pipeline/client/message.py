"""`Message`: one event checked and encoded, with its key. The one way from values to a record; pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from pipeline.client.fields import Field, Kind, fields_of, id_field, schema_of
from pipeline.client.scales import SCALES, Scales
from pipeline.events.faults import MAX_NAME_BYTES
from pipeline.events.wire import WireError, decode, encode

# Below the 1 MB that a Kafka producer and a topic take unless told otherwise, framing included.
MAX_BYTES = 900_000
# Later than this beyond the broker's clock is a dead letter (`in_future`).
FUTURE_MS = 3_600_000

_NOT_EMPTY = frozenset({"event_id", "response_id", "source", "touchpoint", "action", "channel", "instrument"})

_NAMES = frozenset({"touchpoint", "action", "channel", "instrument", "segment", "case_id", "priority"})


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field; `field` is empty where it is the event as a whole."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field} {self.reason}" if self.field else self.reason


class EventError(ValueError):
    """The arguments make no event. `faults` has every fault; nothing was sent."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Message:
    """One event, ready to be sent.

    Attributes:
        kind: touchpoint or response; chooses the topic.
        id: its event_id or response_id.
        key: decides the partition.
        value: in wire format.
        occurred_at: milliseconds since 1970.
        line: where it stood in a file, for reports; 0 where there was none.
    """

    kind: Kind
    id: str
    key: bytes
    value: bytes = field(repr=False)  # may hold customer text, which has no place in a log
    occurred_at: int
    line: int = 0

    @property
    def size(self) -> int:
        """Roughly the bytes it holds in memory, its Python objects included."""
        return len(self.key) + len(self.value) + 600


@dataclass(frozen=True, slots=True)
class Rules:
    """What the values alone do not say.

    Attributes:
        now: milliseconds since 1970; the time of an event that has none, and the limit for the future.
        scales: lowest and highest answer by instrument.
        known_only: an instrument that `scales` does not have is a fault.
        new_id: makes an id for an event that has none.
    """

    now: int
    scales: Scales = field(default_factory=lambda: SCALES)
    known_only: bool = False
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex


def build(kind: Kind, values: Mapping[str, object], rules: Rules, *, line: int = 0) -> Message:
    """The message of these field values; an empty text in a nullable field becomes null.

    Args:
        kind: touchpoint or response.
        values: by field name. Times are aware datetimes, ISO 8601 with a zone, or milliseconds since 1970.
            A missing id or time is filled in, as are the schema's defaults.
        rules: time, scales and ids.
        line: where it stood in a file.

    Raises:
        EventError: with every fault found.
    """
    faults: list[Fault] = []
    record = _converted(kind, values, faults)
    record.setdefault(id_field(kind), rules.new_id())
    record.setdefault("occurred_at", rules.now)
    faults.extend(_checked(kind, record, rules))
    if faults:
        raise EventError(tuple(faults))
    return _message(kind, record, line)


def shifted(message: Message, milliseconds: int) -> Message:
    """The same event so much later, its other times as well."""
    span = timedelta(milliseconds=milliseconds)
    _, record = decode(message.value)
    later = {name: value + span if isinstance(value, datetime) else value for name, value in record.items()}
    value = encode(schema_of(message.kind), later)
    return replace(message, value=value, occurred_at=message.occurred_at + milliseconds)


def _converted(kind: Kind, values: Mapping[str, object], faults: list[Fault]) -> dict[str, Any]:
    """What could be converted; a field with a fault is left out."""
    fields = fields_of(kind)
    faults.extend(Fault(name, _unknown(name, fields)) for name in values if name not in fields)
    record: dict[str, Any] = {}
    for name, declared in fields.items():
        value = values.get(name)
        if value is None or (value == "" and declared.nullable):
            if declared.required:
                faults.append(Fault(name, "is missing"))
            continue
        try:
            record[name] = declared.convert(value)
        except UnicodeEncodeError:
            faults.append(Fault(name, "holds half a character (a lone surrogate)"))
        except ValueError as fault:
            faults.append(Fault(name, str(fault)))
    return record


def _unknown(name: str, fields: Mapping[str, Field]) -> str:
    near = get_close_matches(name, fields, n=1)
    return "is not a field; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}")


def _checked(kind: Kind, record: Mapping[str, Any], rules: Rules) -> Iterator[Fault]:
    for name in record:
        if name in _NOT_EMPTY and not record[name]:
            yield Fault(name, "must not be empty")
        if name in _NAMES and len(str(record[name]).encode()) > MAX_NAME_BYTES:
            yield Fault(name, f"has more than {MAX_NAME_BYTES} bytes")
    if record["occurred_at"] > rules.now + FUTURE_MS:
        yield Fault("occurred_at", "is more than an hour in the future")
    if kind == "response" and record.get("instrument") and "score" in record:
        yield from _off_scale(record["instrument"], record["score"], rules)


def _off_scale(instrument: str, score: int, rules: Rules) -> Iterator[Fault]:
    scale = rules.scales.get(instrument)
    if scale is None:
        if rules.known_only:
            yield Fault("instrument", f"is not known; there are {', '.join(sorted(rules.scales))}")
    elif not scale[0] <= score <= scale[1]:
        yield Fault("score", f"must be {scale[0]} to {scale[1]} on {instrument}, not {score}")


def _message(kind: Kind, record: dict[str, Any], line: int) -> Message:
    identity = record[id_field(kind)]
    try:
        value = encode(schema_of(kind), record)
    except WireError as fault:
        raise EventError((Fault("", str(fault)),)) from fault
    if len(value) > MAX_BYTES:
        raise EventError((Fault("", f"is {len(value):,} bytes long; {MAX_BYTES:,} is the most"),))
    return Message(kind, identity, _key(kind, record), value, record["occurred_at"], line)


def _key(kind: Kind, record: Mapping[str, Any]) -> bytes:
    """The design's keys: a response by its id; a touchpoint by its case, else its customer, else its id."""
    if kind == "response":
        return str(record["response_id"]).encode()
    return str(record.get("case_id") or record.get("customer_id") or record["event_id"]).encode()
