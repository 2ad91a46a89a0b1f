"""How a result gets to the client: as its revision of the protocol has it, and compressed if it wants that."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from aiohttp import web

from pipeline.stores.door import encodings, native
from pipeline.stores.door.engine import Chunk
from pipeline.stores.door.refusal import Refusal
from pipeline.stores.door.request import Ask

_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
}
_BINARY = ("Native", "RowBinary", "Avro", "Arrow", "Parquet", "ORC", "Protobuf", "MsgPack", "BSON", "Npy")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a result, ready to be sent, and the counts so far."""

    data: bytes
    counts: Chunk


class Coder:
    """Makes pieces of chunks."""

    def __init__(self, ask: Ask, form: str, accept: str) -> None:
        """For a result in the format `form`; `accept` is the client's Accept-Encoding."""
        self._revision = ask.revision if form == "Native" else 0
        self.encoding = encodings.accepted(accept) if ask.compress else None
        self._encoder = encodings.encoder(self.encoding) if self.encoding else None

    def pieces(self, chunks: Iterator[Chunk], *, blockwise: bool) -> Iterator[Piece]:
        """The chunks as pieces, each as soon as its chunk is there; without the end of the compression."""
        for chunk in chunks:
            revised = native.revised(chunk.data, self._revision, single=blockwise)
            yield Piece(self.raw(revised), chunk)

    def raw(self, data: bytes) -> bytes:
        """`data`, compressed if need be."""
        return self._encoder.compress(data) if self._encoder else data

    def end(self) -> bytes:
        """What the compression still holds."""
        return self._encoder.flush() if self._encoder else b""


Pull = Callable[[], Awaitable[Piece | None]]


async def whole(first: Piece, pull: Pull, coder: Coder) -> tuple[bytes, Chunk]:
    """The body of the whole result, and its final counts."""
    parts, last = [first.data], first.counts
    while (piece := await pull()) is not None:
        parts.append(piece.data)
        last = piece.counts
    return b"".join([*parts, coder.end()]), last


async def streamed(
    request: web.Request,
    headers: dict[str, str],
    first: Piece,
    pull: Pull,
    coder: Coder,
    said: Callable[[Refusal], str],
) -> web.StreamResponse:
    """Send the result while it is made; `said` gives the text of an error.

    The status goes out before the end is known. If the statement fails on its way, the body says so in the form
    that clients look for, and the connection breaks off, so that nobody takes it for complete.
    """
    tag = secrets.token_hex(8)
    response = web.StreamResponse(headers={**headers, "X-ClickHouse-Exception-Tag": tag})
    await response.prepare(request)
    piece: Piece | None = first
    try:
        while piece is not None:
            await response.write(piece.data)
            piece = await pull()
    except Refusal as fault:
        await response.write(coder.raw(_exception(said(fault), tag)) + coder.end())
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write(coder.end())
    await response.write_eof()
    return response


def headers(ask: Ask, form: str, counts: Chunk) -> dict[str, str]:
    """What a server says besides the answer."""
    summary = {
        "read_rows": counts.read_rows,
        "read_bytes": counts.read_bytes,
        "written_rows": counts.written_rows,
        "written_bytes": counts.written_bytes,
        "result_rows": counts.rows,
    }
    return {
        "X-ClickHouse-Summary": json.dumps({name: str(value) for name, value in summary.items()}),
        "X-ClickHouse-Query-Id": ask.query_id,
        "X-ClickHouse-Format": form,
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "feedback-store",
        "Content-Type": _content_type(form),
    }


def _content_type(form: str) -> str:
    if form in _CONTENT_TYPES:
        return _CONTENT_TYPES[form]
    return "application/octet-stream" if form.startswith(_BINARY) else "text/plain; charset=UTF-8"


def _exception(text: str, tag: str) -> bytes:
    """The block that a server appends to a body that it cannot finish."""
    size = len(text.encode())
    return f"\r\n__exception__\r\n{tag}\r\n{text}{size} {tag}\r\n__exception__\r\n".encode()
