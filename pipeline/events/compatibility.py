"""Which changes of a schema keep every earlier record readable: BACKWARD_TRANSITIVE, as a registry calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.events.layout import Field, fields, resolve
from pipeline.events.schemas import RecordSchema


def faults(schemas: Iterable[RecordSchema]) -> Iterator[str]:
    """One sentence for each pair of versions of which the later cannot read what the earlier wrote."""
    ordered = sorted(schemas, key=lambda one: (one.subject, one.version))
    for k, reader in enumerate(ordered):
        for writer in ordered[:k]:
            if writer.subject == reader.subject and resolve(writer, reader) is None:
                versions = f"version {reader.version} cannot read version {writer.version}"
                yield f"{reader.subject}: {versions}: {why(writer, reader)}"


def why(writer: RecordSchema, reader: RecordSchema) -> str:
    """What stands in the way."""
    written = {field.name: field for field in fields(writer)}
    defaults = {field["name"] for field in reader.avro["fields"] if "default" in field}
    for field in fields(reader):
        if field.name not in written and field.name not in defaults:
            return f"{field.name} is new and has no default"
        if field.name in written and not _same(written[field.name], field):
            return f"{field.name} has another type"
    return "a field has a type that we do not read"


def _same(written: Field, read: Field) -> bool:
    return (written.kind, written.null, written.logical) == (read.kind, read.null, read.logical)
