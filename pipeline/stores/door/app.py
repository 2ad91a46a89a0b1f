"""The server: the ClickHouse HTTP interface over one `Engine`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from aiohttp import web

from pipeline.stores.door import access
from pipeline.stores.door.answer import Coder, Piece, headers, streamed, whole
from pipeline.stores.door.engine import Engine, Statement
from pipeline.stores.door.refusal import Code, Refusal, refusal
from pipeline.stores.door.request import Ask, Insert, read

T = TypeVar("T")
_READ_BYTES = 1 << 20  # a batch of rows has many megabytes, and each pause in reading them costs
_OK = "Ok.\n"
_NOT_FOUND = "There is no such path. Send queries to /, or ask /ping whether the store is there.\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What requests may cost.

    Attributes:
        body: bytes of one body, decompressed.
        read_seconds: of a reader's query, unless it asks for another `max_execution_time`.
        whole_result: bytes of a result that a reader wants at once: it stands in memory before it is sent.
        readers: queries of readers that run at a time.
        writers: statements of the writer that run at a time.
    """

    body: int = 512 << 20
    read_seconds: int = 60
    whole_result: int = 1 << 30
    readers: int = 4
    writers: int = 2


class Door:
    """The ClickHouse HTTP interface. Readers and the writer have threads of their own, so neither waits."""

    def __init__(self, engine: Engine, token: str, host: str, limits: Limits | None = None) -> None:
        """The door of `engine`; `token` is the password of `writer`, `host` a name the door is reached by."""
        self._engine = engine
        self._token = token
        self._host = host
        self._limits = limits or Limits()
        self._readers = ThreadPoolExecutor(self._limits.readers, "read")
        self._writers = ThreadPoolExecutor(self._limits.writers, "write")
        self._reading: set[str] = set()

    def runner(self) -> web.AppRunner:
        """What serves it. aiohttp knows fewer encodings than clients use, so bodies come as they are."""
        app = web.Application(client_max_size=self._limits.body)
        app.router.add_get("/ping", _ping)
        app.router.add_get("/replicas_status", _ping)
        app.router.add_get("/", self._handle)
        app.router.add_post("/", self._handle)
        app.router.add_route("*", "/{path:.*}", _no_path)
        app.on_shutdown.append(self._hurry)
        app.on_cleanup.append(self._stop)
        return web.AppRunner(
            app,
            handler_cancellation=True,
            auto_decompress=False,
            shutdown_timeout=5.0,
            read_bufsize=_READ_BYTES,
        )

    async def _hurry(self, _: web.Application) -> None:
        """Nobody waits for the end of a long query; what is being written is finished."""
        for query_id in tuple(self._reading):
            await asyncio.to_thread(self._engine.cancel, query_id)

    async def _stop(self, _: web.Application) -> None:
        for pool in (self._readers, self._writers):
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if not access.is_local_name(request.headers.get("Host", ""), self._host):
            return web.Response(status=403, text="This is no name of the store's machine: ask 127.0.0.1.\n")
        try:
            ask, arguments = await read(request, self._limits.body)
            writes = access.may_write(request.headers, arguments, self._token)
            if not ask.text.strip():
                return web.Response(text=_OK)
            # As on a server, GET never changes anything, whoever asks.
            readonly = not writes or ask.readonly or request.method != "POST"
            return await self._answer(request, ask, readonly=readonly)
        except Refusal as fault:
            return self._refused(fault)
        except web.HTTPRequestEntityTooLarge:
            most = f"a body has at most {self._limits.body} bytes"
            return self._refused(refusal(Code.QUERY_IS_TOO_LARGE, most))

    async def _answer(self, request: web.Request, ask: Ask, *, readonly: bool) -> web.StreamResponse:
        if ask.insert is not None:
            return await self._insert(ask, ask.insert, readonly=readonly)
        statement = self._statement(ask, readonly=readonly)
        pool = self._readers if readonly else self._writers
        plan = await _in(pool, self._engine.judge, statement)
        form = plan.format
        streams = plan.blockwise and not ask.wait
        if readonly and not streams:
            statement = self._bounded(statement)
        coder = Coder(ask, form, request.headers.get("Accept-Encoding", ""))
        chunks = self._engine.run(statement, stream=plan.blockwise)
        pieces = coder.pieces(chunks, blockwise=plan.blockwise)
        pull: Callable[[], asyncio.Future[Piece | None]] = partial(_in, pool, next, pieces, None)
        with self._cancelled_with_its_client(statement):
            # Until the first piece is there, the statement can still fail as a whole, with its own status.
            first = await pull()
            assert first is not None  # noqa: S101 - the engine gives at least one chunk
            if streams:
                said = self._said
                return await streamed(request, _headers(ask, form, first, coder), first, pull, coder, said)
            body, counts = await whole(first, pull, coder)
            return web.Response(body=body, headers=_headers(ask, form, Piece(b"", counts), coder))

    @contextmanager
    def _cancelled_with_its_client(self, statement: Statement) -> Iterator[None]:
        """A query ends when nobody reads its result any more; what the writer began is finished, as on a server."""
        if not statement.readonly:
            yield
            return
        self._reading.add(statement.query_id)
        try:
            yield
        except asyncio.CancelledError:
            asyncio.get_running_loop().run_in_executor(None, self._engine.cancel, statement.query_id)
            raise
        finally:
            self._reading.discard(statement.query_id)

    async def _insert(self, ask: Ask, insert: Insert, *, readonly: bool) -> web.Response:
        if readonly:
            text = "Cannot execute query in readonly mode: writing is for user `writer`, by POST"
            raise refusal(Code.READONLY, text)
        statement = Statement(
            insert.head,
            ask.database,
            insert.format,
            ask.parameters,
            ask.settings,
            ask.query_id,
            readonly=False,
        )
        done = await _in(self._writers, self._engine.insert, statement, insert.data)
        return web.Response(headers=headers(ask, insert.format, done))

    def _statement(self, ask: Ask, *, readonly: bool) -> Statement:
        settings = dict(ask.settings)
        if readonly:
            settings.setdefault("max_execution_time", str(self._limits.read_seconds))
        return Statement(ask.text, ask.database, ask.format, ask.parameters, settings, ask.query_id, readonly)

    def _bounded(self, statement: Statement) -> Statement:
        bounds = {"max_result_bytes": str(self._limits.whole_result), "result_overflow_mode": "throw"}
        return replace(statement, settings=bounds | dict(statement.settings))

    def _refused(self, fault: Refusal) -> web.Response:
        return web.Response(
            status=fault.status,
            text=self._said(fault),
            headers={"X-ClickHouse-Exception-Code": str(int(fault.code))},
        )

    def _said(self, fault: Refusal) -> str:
        """The text of an error as a server ends it."""
        version = "" if "(version " in fault.text else f" (version {self._engine.version} (official build))"
        return f"{fault.text}{version}\n"


def _in(pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
    return asyncio.get_running_loop().run_in_executor(pool, call, *arguments)


def _headers(ask: Ask, form: str, piece: Piece, coder: Coder) -> dict[str, str]:
    said = headers(ask, form, piece.counts)
    return said | {"Content-Encoding": coder.encoding} if coder.encoding else said


async def _ping(_: web.Request) -> web.Response:
    return web.Response(text=_OK)


async def _no_path(_: web.Request) -> web.Response:
    return web.Response(status=404, text=_NOT_FOUND)
