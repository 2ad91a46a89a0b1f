"""A mapping file (TOML) to an `EventMap`, or every fault of it at once."""

from __future__ import annotations

import codecs
import string
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from pipeline.client.fields import KINDS, Kind, fields_of, id_field
from pipeline.errors import FeedbackError
from pipeline.replay.mapping import Condition, EventMap, EventRule, JsonShape
from pipeline.replay.places import placed
from pipeline.replay.values import ISO, Column, Constant, Source, Template, Times, as_text


class MappingError(FeedbackError):
    """The mapping is wrong, or does not fit the file. `faults` has a line for each fault."""

    def __init__(self, origin: str, faults: tuple[str, ...]) -> None:
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"the mapping {origin} cannot be used:{lines}")
        self.faults = faults


def load_mapping(path: Path) -> EventMap:
    """The mapping in a file.

    Raises:
        MappingError: with every fault.
    """
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text)
    except FileNotFoundError as fault:
        raise MappingError(str(path), ("there is no such file",)) from fault
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise MappingError(str(path), (f"it cannot be read as TOML: {fault}",)) from fault
    return parse_mapping(tree, str(path), text)


def parse_mapping(tree: Mapping[str, Any], origin: str = "given", text: str = "") -> EventMap:
    """The mapping of a TOML document.

    Args:
        tree: the document.
        origin: what a fault calls it.
        text: of the document, to tell the line of a fault.

    Raises:
        MappingError: with every fault.
    """
    try:
        file = _File.model_validate(tree)
    except ValidationError as error:
        raise MappingError(origin, tuple(placed(_line(one), text) for one in error.errors())) from error
    faults = tuple(placed(fault, text) for fault in file.misfits())
    if faults:
        raise MappingError(origin, faults)
    return file.event_map(text)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as fault:
        msg = 'must be a zone of the IANA database, such as "Europe/Vienna"'
        raise ValueError(msg) from fault
    return name


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as fault:
        msg = "is not an encoding that Python knows"
        raise ValueError(msg) from fault
    return name


def _parts(template: str) -> tuple[tuple[str, str], ...]:
    """The texts of a template, each with the column after it."""
    parts = []
    for text, column, how, turn in string.Formatter().parse(template):
        if column == "" or how or turn:
            msg = "must be text with columns in it, such as {number}:opened"
            raise ValueError(msg)
        parts.append((text, column or ""))
    return tuple(parts)


def _wanted(value: Any) -> Any:
    """A condition's three forms as one."""
    negated = isinstance(value, dict) and set(value) == {"not"}
    cells = value["not"] if negated else value
    listed = cells if isinstance(cells, list) else [cells]
    if not all(isinstance(cell, str | int) for cell in listed):
        msg = "must be a value, a list of values, or { not = ... }"
        raise ValueError(msg)
    return [as_text(cell) for cell in listed], negated


def _plain(value: Any) -> Any:
    if not isinstance(value, str | int):
        msg = "must be a text, a whole number, true or false"
        raise ValueError(msg)  # noqa: TRY004 - pydantic collects ValueErrors
    return value


Zone = Annotated[str, AfterValidator(_zone)]
Plain = Annotated[Any, BeforeValidator(_plain)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Time(_Table):
    formats: tuple[str, ...] = (ISO,)
    zone: Zone = "UTC"

    def times(self) -> Times:
        return Times(self.formats, ZoneInfo(self.zone))


class _Csv(_Table):
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8-sig"


class _Json(_Table):
    rows: str = ""
    each: str = ""


class _Spec(_Table):
    """Where one value comes from."""

    column: str | None = None
    template: Annotated[tuple[tuple[str, str], ...] | None, BeforeValidator(_parts)] = None
    constant: Plain = None
    values: dict[str, Plain] | None = None
    otherwise: Plain = None
    formats: tuple[str, ...] | None = None
    zone: Zone | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"constant": value}

    @model_validator(mode="after")
    def _one_way(self) -> _Spec:
        if sum(way is not None for way in (self.column, self.template, self.constant)) != 1:
            msg = "needs one of column, template, constant, or is a plain value itself"
            raise ValueError(msg)
        return self

    def source(self) -> Source:
        if self.column is not None:
            return Column(self.column, self.values, self.otherwise)
        return Constant(self.constant) if self.template is None else Template(self.template)

    def times(self, otherwise: _Time) -> Times:
        changed = self.model_dump(include={"formats", "zone"}, exclude_none=True)
        return otherwise.model_copy(update=changed).times()


class _Fields(BaseModel):
    """Values by the names of the record's fields."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, _Spec] = Field(init=False)

    attributes: dict[str, _Spec] = {}

    def by_name(self) -> dict[str, _Spec]:
        """The fields, attributes as "attributes.NAME"."""
        attributes = {f"attributes.{name}": spec for name, spec in self.attributes.items()}
        return {**self.__pydantic_extra__, **attributes}


class _Event(_Fields):
    """One [[event]]."""

    type: Literal["touchpoint", "response"]
    when: dict[str, Annotated[tuple[frozenset[str], bool], BeforeValidator(_wanted)]] = {}
    once: StrictBool = False

    def specs(self, shared: _Fields) -> dict[str, _Spec]:
        """The fields, those of [fields] included that this record has."""
        ours = {name: one for name, one in shared.by_name().items() if _field(name) in fields_of(self.type)}
        return {**ours, **self.by_name()}

    def misfits(self, shared: _Fields) -> Iterator[str]:
        """What does not fit the record."""
        fields = fields_of(self.type)
        specs = self.specs(shared)
        for name in specs:
            if _field(name) not in fields:
                yield f"{name}: {_unknown(name, fields)}"
        # A made-up id would count again at the next replay, and a made-up time would be now.
        for name, declared in fields.items():
            if name not in specs and (declared.required or name in (id_field(self.type), "occurred_at")):
                yield f"{name}: is missing"

    def rule(self, shared: _Fields, time: _Time) -> EventRule:
        specs = self.specs(shared)
        return EventRule(
            kind=self.type,
            when=tuple(Condition(column, cells, negated) for column, (cells, negated) in self.when.items()),
            once=self.once,
            fields={name: spec.source() for name, spec in specs.items()},
            times={name: spec.times(time) for name, spec in specs.items() if _is_time(self.type, name)},
        )


class _File(_Table):
    event: Annotated[list[_Event], Field(min_length=1)]
    fields: _Fields = _Fields()
    time: _Time = _Time()
    empty: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    previous: str = ""
    csv: _Csv = _Csv()
    # Not `json`, which BaseModel has as a method.
    shape: _Json = Field(default=_Json(), alias="json")

    def misfits(self) -> Iterator[str]:
        everywhere = {name: None for kind in KINDS for name in fields_of(kind)}
        for name in {_field(name) for name in self.fields.by_name()} - everywhere.keys():
            yield f"fields.{name}: {_unknown(name, everywhere)}"
        for number, event in enumerate(self.event, 1):
            yield from (f"event {number}, {fault}" for fault in event.misfits(self.fields))

    def event_map(self, text: str) -> EventMap:
        return EventMap(
            events=tuple(event.rule(self.fields, self.time) for event in self.event),
            empty=self.empty,
            optional=self.optional,
            previous=self.previous,
            json=JsonShape(self.shape.rows, self.shape.each),
            delimiter=self.csv.delimiter,
            encoding=self.csv.encoding,
            text=text,
        )


def _field(name: str) -> str:
    return name.partition(".")[0]


def _is_time(kind: Kind, name: str) -> bool:
    return name in fields_of(kind) and fields_of(kind)[name].type == "timestamp-millis"


def _unknown(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, [*known, "type", "when", "once"], n=1)
    return "is not a field; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}")


_WORDS = {name: None for table in (_File, _Event, _Spec, _Time, _Csv, _Json) for name in table.model_fields}
_WORDS["json"] = _WORDS.pop("shape")


def _line(error: Any) -> str:
    """One fault of pydantic's: the place as a reader of the file counts it, and what is wrong."""
    head, *rest = error["loc"] or ("",)
    place = str(head)
    if head == "event" and rest:
        place, rest = f"event {rest[0] + 1}", rest[1:]
    place += (", " if place.startswith("event ") and rest else "." if rest else "") + ".".join(map(str, rest))
    text = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), _WORDS, n=1)
        text = "is not known here" + (f"; did you mean {near[0]}?" if near else "")
    return f"{place}: {text[:1].lower()}{text[1:]}"
