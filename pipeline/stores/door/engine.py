"""chDB, the embedded ClickHouse, behind the few things that its HTTP door needs.

Every statement runs on a connection of its own: one costs a fifth of a millisecond, and what a statement sets
(database, settings, readonly) ends with it. Connections run side by side in threads, without Python's lock.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import FeedbackError
from pipeline.stores.door.judge import Judge, Shape
from pipeline.stores.door.refusal import Code, Refusal, of_engine, refusal

# Blocks of these may be put one behind the other; every other format has a head or an end.
BLOCKWISE = frozenset({"Native", "RowBinary", "JSONEachRow", "TabSeparated", "TSV", "CSV"})
_EXPLAIN = b"EXPLAIN AST "
_CANONICAL = "SELECT formatQuerySingleLine({sql:String})"
# Of the values of parameters.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_POSITION = re.compile(r"(?<=failed at position )\d+")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement and what it runs with.

    Attributes:
        sql: the text; bytes, since a server takes any bytes.
        database: where names without a database are looked up; None for the default one.
        format: of the result where the statement names none, or of the data of an INSERT.
        parameters: values of `{name:Type}`, escaped as in TSV.
        settings: ClickHouse settings.
        query_id: the running statement can be cancelled by it.
        readonly: the engine refuses whatever changes anything.
    """

    sql: bytes
    database: str | None = None
    format: str = "TabSeparated"
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    query_id: str = ""
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """How a statement is run.

    Attributes:
        format: of the result.
        blockwise: it can be streamed.
    """

    format: str
    blockwise: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a result, with the counts so far."""

    data: bytes
    rows: int = 0
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class Engine:
    """The owner of a folder with ClickHouse data: chDB lets no second process in, not even to read."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`, which is made if need be.

        Raises:
            FeedbackError: it cannot be opened.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        # now(), and columns and texts without a time zone, are then the same on every machine.
        os.environ["TZ"] = "UTC"
        time.tzset()
        self._root = self._connect()
        self.version = self._list("SELECT version()")[0]
        self._formats = frozenset(self._list("SELECT name FROM system.formats"))
        settings = (line.split("\t") for line in self._list("SELECT name, type FROM system.settings"))
        self._judge = Judge(
            self._list("SELECT name FROM system.table_functions"),
            self._list("SELECT name FROM system.functions"),
            dict(settings),
        )

    def close(self) -> None:
        """Write everything out and let the folder go."""
        self._root.close()

    def judge(self, statement: Statement) -> Plan:
        """How `statement` is to be run.

        Raises:
            Refusal: it does not parse, is more than one, or does what nobody may do through the door or, where
                it is readonly, what a reader may not.
        """
        if statement.readonly:
            self._judge.check_settings(statement.settings)
        shape = self._shape(statement)
        if shape.is_select and shape.changes:
            raise refusal(Code.NOT_IMPLEMENTED, "INTO OUTFILE is not allowed: the file would be the store's")
        if statement.readonly:
            self._judge.check(shape)
        named = [name for name in shape.formats if name in self._formats]
        form = named[-1] if named else statement.format
        return Plan(form, blockwise=shape.is_select and form in BLOCKWISE)

    def _shape(self, statement: Statement) -> Shape:
        with self._session(replace(statement, readonly=False)) as connection:
            found = connection._conn.classify_query(statement.sql)
            if found["statement_count"] > 1:
                raise refusal(Code.SYNTAX_ERROR, "Multi-statements are not allowed")
            try:
                tree = _text(connection, _EXPLAIN + statement.sql, statement.parameters)
                # Only to read the names in SETTINGS; an INSERT may be large.
                asked = {"sql": _escaped(statement.sql)}
                canonical = _text(connection, _CANONICAL, asked) if statement.readonly else ""
            except RuntimeError as fault:
                raise _shifted(of_engine(fault)) from fault
        return Shape(tree, canonical, changes=found["query_class"].name != "READ_ONLY")

    def run(self, statement: Statement, *, stream: bool = False) -> Iterator[Chunk]:
        """Run a statement; at least one chunk comes, the last one has the final counts.

        Args:
            statement: what to run.
            stream: block by block, for a SELECT in a format of `BLOCKWISE`; else all at once.

        Raises:
            Refusal: from the first `next`, or from a later one if the statement fails on its way.
        """
        with self._session(statement) as connection:
            ask = connection.send_query if stream else connection.query
            try:
                result = ask(statement.sql, statement.format, params=dict(statement.parameters))
                yield from _blocks(result) if stream else [_whole(result)]
            except RuntimeError as fault:
                raise of_engine(fault) from fault

    def insert(self, statement: Statement, data: bytes) -> Chunk:
        """Insert `data`, which is in `statement.format`; the statement is "INSERT INTO table (columns)".

        Raises:
            Refusal: nothing of it is stored, unless it was more than one block.
        """
        with self._session(statement) as connection:
            try:
                inserter = connection.send_insert(statement.sql, statement.format)
                inserter.append(data)
                done = inserter.finish()
            except RuntimeError as fault:
                raise of_engine(fault) from fault
        return Chunk(b"", written_rows=done.rows_written, written_bytes=done.bytes_written)

    def cancel(self, query_id: str) -> None:
        """Stop the statement with this id, if it still runs."""
        running = "SELECT query_id FROM system.processes WHERE Settings['log_comment'] = {id:String}"
        with contextlib.closing(self._connect()) as connection, contextlib.suppress(RuntimeError):
            connection.query(
                f"KILL QUERY WHERE query_id IN ({running}) ASYNC", "Null", params={"id": query_id}
            )

    @contextlib.contextmanager
    def _session(self, statement: Statement) -> Iterator[Any]:
        with contextlib.closing(self._connect()) as connection:
            try:
                _prepare(connection, statement)
            except RuntimeError as fault:
                raise of_engine(fault) from fault
            yield connection

    def _connect(self) -> Any:
        import chdb

        try:
            return chdb.connect(str(self.folder))  # type: ignore[no-untyped-call]  # chdb ships half its types
        except RuntimeError as fault:
            msg = f"the store in {self.folder} cannot be opened: {fault}; is it a folder of `feedback store`?"
            raise FeedbackError(msg) from fault

    def _list(self, sql: str) -> list[str]:
        return bytes(self._root.query(sql, "TSVRaw").bytes()).decode().splitlines()


def _prepare(connection: Any, statement: Statement) -> None:
    if statement.database is not None:
        connection.query(f"USE {_identifier(statement.database)}")
    settings = dict(statement.settings)
    if statement.query_id:
        settings["log_comment"] = statement.query_id
    if settings:
        pairs = (f"{_identifier(name)} = {_literal(value)}" for name, value in settings.items())
        connection.query(f"SET {', '.join(pairs)}")
    if statement.readonly:
        connection.query("SET readonly = 2")


def _blocks(result: Any) -> Iterator[Chunk]:
    """The blocks of a stream with the counts so far; one empty chunk if there is none."""
    rows = read_rows = read_bytes = 0
    for block in result:
        rows += block.rows_read()
        read_rows += block.storage_rows_read()
        read_bytes += block.storage_bytes_read()
        yield Chunk(bytes(block.bytes()), rows, read_rows, read_bytes)
    if not rows:
        yield Chunk(b"")


def _whole(result: Any) -> Chunk:
    return Chunk(
        bytes(result.bytes()),
        result.rows_read(),
        result.storage_rows_read(),
        result.storage_bytes_read(),
        result.rows_written(),
        result.bytes_written(),
    )


def _text(connection: Any, sql: str | bytes, parameters: Mapping[str, str]) -> str:
    return bytes(connection.query(sql, "TSVRaw", params=dict(parameters)).bytes()).decode(errors="replace")


def _escaped(sql: bytes) -> str:
    """As the value of a parameter."""
    return sql.decode(errors="replace").translate(_ESCAPES)


def _shifted(fault: Refusal) -> Refusal:
    """Positions in the message without the EXPLAIN in front."""
    text = _POSITION.sub(lambda found: str(int(found[0]) - len(_EXPLAIN)), fault.text)
    return Refusal(fault.code, text.replace(_EXPLAIN.decode(), "", 1))


def _identifier(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _literal(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
