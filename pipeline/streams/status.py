"""The worker's own HTTP server: /metrics, /healthz, /readyz, and /scores for the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from pipeline.errors import FeedbackError
from pipeline.measures.drilldown import Selection
from pipeline.streams.standing import parts

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.streams.worker import Worker

_PIECE = 4 << 20


@asynccontextmanager
async def serve(worker: Worker) -> AsyncIterator[None]:
    """Serve while the worker works.

    Raises:
        FeedbackError: the address is in use.
    """
    app = web.Application()
    app.add_routes(_routes(worker))
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    listen = worker.settings.metrics.listen
    try:
        await web.TCPSite(runner, listen.host, listen.port).start()
    except OSError as error:
        await runner.cleanup()
        msg = f"cannot serve metrics on {listen} ({error.strerror}): set metrics.listen to a free port"
        raise FeedbackError(msg) from error
    try:
        yield
    finally:
        await runner.cleanup()


def _routes(worker: Worker) -> web.RouteTableDef:
    routes = web.RouteTableDef()

    @routes.get("/metrics")
    async def metrics(request: web.Request) -> web.StreamResponse:
        shown = worker.shown
        blocks = worker.metrics.blocks(await shown.owned() if shown else [])
        response = web.StreamResponse(headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        await response.prepare(request)
        with suppress(ConnectionError):  # who asked has hung up: a scraper's patience is no error of ours
            while piece := await asyncio.to_thread(_piece, blocks):
                await response.write(piece)
            await response.write_eof()
        return response

    @routes.get("/healthz")
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    @routes.get("/readyz")
    async def readyz(_: web.Request) -> web.Response:
        ready = worker.ready
        return web.Response(text="ready\n" if ready else "recovering\n", status=200 if ready else 503)

    @routes.get("/scores")
    async def scores(request: web.Request) -> web.Response:
        chosen = _selection(request.query, worker.settings)
        shown = (
            worker.shown
        )  # as in /metrics: what others may show by now is not told, and so this worker is not ready
        ready = worker.ready and (shown is not None or worker.roll is None)
        said = {"ready": ready, "of": worker.settings.kafka.partitions}
        found = parts(shown, chosen) if shown else []
        return web.json_response({"at": datetime.now(UTC).isoformat(), **said, "parts": found})

    return routes


def _piece(blocks: Iterator[bytes]) -> bytes:
    """The next blocks together, a few megabytes; nothing at the end. Each turn of a thread waits for the loop."""
    found, size = [], 0
    for block in blocks:
        found.append(block)
        size += len(block)
        if size >= _PIECE:
            break
    return b"".join(found)


def _selection(query: Mapping[str, str], settings: Settings) -> Selection | None:
    """What ?touchpoint=&window=[&channel=][&segment=] asks for; None where no touchpoint is named.

    Raises:
        HTTPBadRequest: there is no such window.
    """
    if "touchpoint" not in query:
        return None
    windows = [window.name for window in settings.windows]
    window = query.get("window", windows[0])
    if window not in windows:
        raise web.HTTPBadRequest(text=f"there is no such window: ask for one of {', '.join(windows)}\n")
    return Selection(window, query["touchpoint"], query.get("channel", ""), query.get("segment", ""))
