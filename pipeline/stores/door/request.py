"""`Ask`: what an HTTP request wants, as ClickHouse's HTTP interface reads it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from pipeline.stores.door import encodings
from pipeline.stores.door.refusal import Code, refusal

# In the URL, and neither a setting nor a parameter of the query. A session is ignored: every request is its own.
_OWN = frozenset(
    {
        "query", "database", "default_format", "user", "password", "query_id", "quota_key", "role", "compress",
        "decompress", "session_id", "session_timeout", "session_check", "close_session", "stacktrace", "buffer_size",
        "wait_end_of_query", "client_protocol_version", "readonly",
    }
)  # fmt: skip
_DEFAULT_FORMAT = "TabSeparated"
# One lexeme of SQL: what is quoted or a comment hides the words in it.
_LEXEME = re.compile(
    rb"""(?P<skip>\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/)|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`"""
    rb"""|(?P<word>[A-Za-z_]\w*)|.""",
    re.DOTALL,
)
_INLINE = frozenset({b"VALUES", b"SELECT", b"WITH", b"WATCH", b"INFILE"})
_GAP = re.compile(rb"[ \t\f]*(?:\r?\n)?")


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that brings its data.

    Attributes:
        head: the statement up to its FORMAT clause.
        format: of the data.
        data: what follows.
    """

    head: bytes
    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        text: the statement; with what was sent as its data behind it, as a server joins them, but for an INSERT.
        insert: what it is split into if it is an INSERT with data.
        database: None for the default one.
        format: of the result where the statement names none.
        parameters: of the query, without "param_".
        settings: everything else in the URL.
        query_id: the client's or a new one.
        wait: nothing is sent before the statement has ended.
        compress: the client allows a compressed answer.
        revision: of the native protocol that the client knows; 0 if it does not say.
        readonly: the client wants it to change nothing.
    """

    text: bytes
    insert: Insert | None
    database: str | None
    format: str
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    query_id: str
    wait: bool
    compress: bool
    revision: int
    readonly: bool


async def read(request: web.Request, most: int) -> tuple[Ask, Mapping[str, str]]:
    """What is asked, and all arguments by name.

    Args:
        request: its body is at most `client_max_size` of the application.
        most: bytes of a body once it is decompressed.

    Raises:
        Refusal: it cannot be understood.
    """
    arguments = dict(request.query)
    if request.content_type == "multipart/form-data":
        body = b""
        arguments |= await _form(request)
    else:
        body = encodings.decode(await request.read(), request.headers.get("Content-Encoding", ""), most)
    return _ask(arguments, request.headers, body), arguments


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a form: a long query or its parameters. A file would be an external table."""
    fields: dict[str, str] = {}
    for name, value in (await request.post()).items():
        if not isinstance(value, str):
            raise refusal(Code.NOT_IMPLEMENTED, f"external table {name}: the embedded store has none")
        fields[name] = value
    return fields


def _ask(arguments: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Ask:
    if _is_on(arguments, "compress") or _is_on(arguments, "decompress"):
        text = "compress=1 (compressed blocks): use Content-Encoding and Accept-Encoding instead"
        raise refusal(Code.NOT_IMPLEMENTED, text)
    statement, insert = _statement(arguments.get("query", "").encode(), body)
    settings = {k: v for k, v in arguments.items() if k not in _OWN and not k.startswith("param_")}
    return Ask(
        text=statement,
        insert=insert,
        database=arguments.get("database") or headers.get("X-ClickHouse-Database") or None,
        format=arguments.get("default_format") or headers.get("X-ClickHouse-Format") or _DEFAULT_FORMAT,
        parameters={k[6:]: v for k, v in arguments.items() if k.startswith("param_")},
        settings=settings,
        query_id=arguments.get("query_id") or str(uuid.uuid4()),
        wait=_is_on(arguments, "wait_end_of_query"),
        compress=_is_on(arguments, "enable_http_compression"),
        revision=_number(arguments, "client_protocol_version"),
        readonly=_is_on(arguments, "readonly"),
    )


def _statement(query: bytes, body: bytes) -> tuple[bytes, Insert | None]:
    """Text and INSERT of a request. Data that comes alone, and may be large, is not copied behind the statement."""
    alone = split_insert(query) if query and body else None
    if alone is not None and not alone.data:
        return query, replace(alone, data=body)
    text = query + b"\n" + body if query and body else query or body
    return text, split_insert(text)


def split_insert(text: bytes) -> Insert | None:
    """The statement and the data of `INSERT ... FORMAT x data`; None for anything else.

    An INSERT with VALUES or SELECT is text as a whole, and for the engine.
    """
    depth, first = 0, True
    clause: re.Match[bytes] | None = None
    for found in _LEXEME.finditer(text):
        if found["skip"]:
            continue
        if clause is not None:
            return Insert(text[: clause.start()], _name(found), text[_gap(text, found.end()) :])
        word = (found["word"] or b"").upper()
        if first and word != b"INSERT":
            return None
        first = False
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
        if depth == 0 and word in _INLINE:
            return None
        if depth == 0 and word == b"FORMAT":
            clause = found
    return None


def _name(found: re.Match[bytes]) -> str:
    if not found["word"]:
        raise refusal(Code.SYNTAX_ERROR, "the name of a format must follow FORMAT")
    return found["word"].decode()


def _gap(text: bytes, at: int) -> int:
    """The blanks and the one line break between the name of the format and the data."""
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _is_on(arguments: Mapping[str, str], name: str) -> bool:
    return arguments.get(name, "0").lower() not in ("", "0", "false")


def _number(arguments: Mapping[str, str], name: str) -> int:
    value = arguments.get(name, "")
    return int(value) if value.isdecimal() else 0
