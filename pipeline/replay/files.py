"""Rows of a history file, one after the other: CSV, JSON (lines, or one list), Avro; also with .gz behind."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import fastavro

from pipeline.errors import FeedbackError
from pipeline.replay.documents import Rows, is_text, json_rows
from pipeline.replay.mapping import EventMap, Place, RowFault

# What a spoiled .gz raises while it is read.
_SPOILED = (EOFError, gzip.BadGzipFile, zlib.error, OSError)
_FORMATS = (".csv", ".json", ".jsonl", ".ndjson", ".avro")


class Table:
    """An open history file.

    Attributes:
        columns: their names where the file declares them (CSV, Avro), else None.
        rows: each with its place, or what is wrong with it.
    """

    def __init__(self, columns: tuple[str, ...] | None, rows: Rows) -> None:
        self.columns = columns
        self.rows = rows


@contextmanager
def open_table(path: Path, mapping: EventMap) -> Iterator[tuple[Table, Callable[[], int]]]:
    """The rows of a file, and a function that tells how many of its bytes are read.

    Raises:
        FeedbackError: the file cannot be read, or its name does not end in a known format.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in _FORMATS:
        msg = f"{path}: the name must end in {', '.join(_FORMATS)}, or in one of these and .gz"
        raise FeedbackError(msg)
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            plain: Any = stack.enter_context(gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
            if suffix == ".avro":
                yield _avro(plain), file.tell
            else:
                text = stack.enter_context(_text(plain, suffix, mapping))
                yield _table(text, suffix, mapping), file.tell
    except _SPOILED as fault:
        msg = f"{path} cannot be read: {fault}"
        raise FeedbackError(msg) from fault


def _text(file: IO[bytes], suffix: str, mapping: EventMap) -> io.TextIOWrapper:
    """Bytes that are no text become surrogates, so that they spoil their own row only."""
    newline = "" if suffix == ".csv" else None
    return io.TextIOWrapper(file, mapping.encoding, errors="surrogateescape", newline=newline)


def _table(text: IO[str], suffix: str, mapping: EventMap) -> Table:
    if suffix == ".csv":
        return _csv(text, mapping)
    return Table(None, json_rows(text, by_line=suffix != ".json", shape=mapping.json))


def _csv(text: IO[str], mapping: EventMap) -> Table:
    reader = csv.reader(text, delimiter=mapping.delimiter)
    header = tuple(next(reader, ()))
    return Table(header, _csv_rows(reader, header))


def _csv_rows(reader: Any, header: tuple[str, ...]) -> Rows:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as fault:
            yield RowFault(Place(line), str(fault))
            continue
        if not cells:
            continue
        if len(cells) != len(header):
            yield RowFault(Place(line), f"has {len(cells)} cells; the header has {len(header)}")
        elif not is_text("".join(cells)):
            yield RowFault(Place(line), "is not text in the file's encoding")
        else:
            yield Place(line), dict(zip(header, cells, strict=True))


def _avro(file: IO[bytes]) -> Table:
    try:
        reader = fastavro.reader(file)
    except (ValueError, TypeError, KeyError, StopIteration) as fault:
        msg = f"the file is not an Avro object container: {fault}"
        raise FeedbackError(msg) from fault
    schema: Any = reader.writer_schema
    if not isinstance(schema, dict) or schema.get("type") != "record":
        msg = "the Avro file does not hold records"
        raise FeedbackError(msg)
    return Table(tuple(field["name"] for field in schema["fields"]), _avro_rows(reader))


def _avro_rows(reader: Any) -> Rows:
    number = 0
    try:
        for number, record in enumerate(reader, 1):
            yield Place(number), record
    except (ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error) as fault:
        # A spoiled block hides where the next one begins.
        yield RowFault(Place(number + 1), f"the file cannot be read from here on: {fault}")
