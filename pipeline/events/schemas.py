"""The Avro schemas of all records, and their ids without a registry server. Needs nothing but fastavro."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from fastavro import parse_schema
from fastavro.schema import SchemaParseException, UnknownType


@dataclass(frozen=True, slots=True, eq=False)
class RecordSchema:
    """One version of one record type.

    Attributes:
        name: of the Avro record, e.g. "SurveyResponse".
        subject: in the schema registry, e.g. "feedback.responses-value"; empty if a registry gave the schema by its
            id alone.
        version: 1, 2, ... within the subject.
        schema_id: what stands in the header of every value.
        avro: the schema as JSON.
        parsed: the schema as fastavro wants it.
        text: the file as it stands, for a registry.
    """

    name: str
    subject: str
    version: int
    schema_id: int
    avro: dict[str, Any] = field(repr=False)
    parsed: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)


class Unseen(Exception):
    """Nobody has asked yet which schemas have these ids. Ask the registry, then decode again."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(f"{len(ids)} schema ids that nobody has asked about")
        self.ids = tuple(ids)


# From ids to the schemas of those that have one; raises `Unseen` with all of them whose schema is not known yet.
Lookup = Callable[[Sequence[int]], Mapping[int, RecordSchema]]


@cache
def folder() -> Traversable:
    """Where the schema files are: inside the installed package, else at the top of the checkout."""
    packaged = files("pipeline") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"


@cache
def all_schemas() -> tuple[RecordSchema, ...]:
    """Every version of every record type, in the order of the registry file."""
    entries = json.loads((folder() / "registry.json").read_text("utf-8"))["schemas"]
    return tuple(_load(entry["subject"], entry["version"], entry["id"], entry["file"]) for entry in entries)


@cache
def schema(name: str) -> RecordSchema:
    """The newest version of the record type `name`; KeyError if there is none."""
    versions = [known for known in all_schemas() if known.name == name]
    if not versions:
        raise KeyError(name)
    return max(versions, key=lambda known: known.version)


def newest() -> tuple[RecordSchema, ...]:
    """The version of each record type that is written."""
    return tuple({known.name: known for known in sorted(all_schemas(), key=lambda one: one.version)}.values())


def subject_of(schema: RecordSchema, prefix: str) -> str:
    """Its subject in a registry, where subjects follow the names of the topics.

    Args:
        schema: one of ours.
        prefix: of the topics, as `kafka.prefix`.
    """
    return f"{prefix}.{schema.subject.removeprefix('feedback.')}"


def by_id(schema_id: int) -> RecordSchema | None:
    """The schema of this id, None if the local registry has none."""
    return _ids().get(schema_id)


def by_ids(ids: Sequence[int]) -> dict[int, RecordSchema]:
    """The `Lookup` of the local registry."""
    known = _ids()
    return {one: known[one] for one in ids if one in known}


@cache
def _ids() -> dict[int, RecordSchema]:
    return {known.schema_id: known for known in all_schemas()}


def _load(subject: str, version: int, schema_id: int, file: str) -> RecordSchema:
    text = (folder() / file).read_text("utf-8")
    return record_schema(text, subject=subject, version=version, schema_id=schema_id)


def record_schema(text: str, *, subject: str, version: int, schema_id: int) -> RecordSchema:
    """From the JSON text of an Avro record.

    Raises:
        ValueError: it is something else.
    """
    try:
        avro = json.loads(text)
        parsed = parse_schema(json.loads(text), named_schemas={})
    except (ValueError, TypeError, KeyError, AttributeError, SchemaParseException, UnknownType) as fault:
        msg = f"not an Avro schema ({type(fault).__name__})"
        raise ValueError(msg) from fault
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        msg = "not an Avro record"
        raise ValueError(msg)
    name = avro["name"].rpartition(".")[2]  # it may be written with its namespace
    return RecordSchema(name, subject, version, schema_id, avro, parsed, text)
