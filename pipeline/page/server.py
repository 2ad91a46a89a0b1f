"""The page's web server: a few files, one stream of events, and details on demand. It only reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import ClientSession, web

from pipeline.config import Listen, Settings
from pipeline.errors import FeedbackError
from pipeline.page.detail import Details
from pipeline.page.hub import Hub
from pipeline.page.watch import Sources, Watch
from pipeline.page.workers import Workers

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_GRACE = 1.0  # seconds for open pages when it ends
RETRY_MS = 1000  # how soon a browser connects again

WATCH = web.AppKey("watch", Watch)
_HUB = web.AppKey("hub", Hub)
_DETAILS = web.AppKey("details", Details)


def application(sources: Sources, about: Mapping[str, Any]) -> web.Application:
    """The page over these sources; `about` as `about_of` makes it."""
    hub = Hub()
    hub.publish("about", about)
    app = web.Application()
    app[_HUB], app[WATCH] = hub, Watch(sources, hub)
    app.router.add_get("/", _index)
    app.router.add_get("/events", _events)
    app.router.add_get("/detail", _detail)
    app.router.add_get("/healthz", _healthz)
    app.router.add_static("/static", STATIC)
    app.on_response_prepare.append(_protect)
    app.on_shutdown.append(_close)

    async def watching(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(app[WATCH].run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def asking(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession() as session:
            app[_DETAILS] = Details(Workers(sources.workers, session))
            yield

    app.cleanup_ctx.extend((watching, asking))
    return app


@asynccontextmanager
async def listening(app: web.Application, listen: Listen) -> AsyncIterator[None]:
    """Serve the page inside the block.

    Raises:
        FeedbackError: the address is in use.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        await _started(runner, listen)
        yield
    finally:
        await runner.cleanup()


async def _started(runner: web.AppRunner, listen: Listen) -> None:
    try:
        await web.TCPSite(runner, listen.host, listen.port).start()
    except OSError as error:
        msg = f"the page cannot listen on {listen} ({error.strerror}): set page.listen to a free port"
        raise FeedbackError(msg) from error


def of(settings: Settings) -> web.Application:
    """The page of this configuration."""
    return application(sources_of(settings), about_of(settings))


def sources_of(settings: Settings) -> Sources:
    """Where this configuration has its workers and its store."""
    workers = tuple(map(reachable, settings.page.workers or (settings.metrics.listen,)))
    if settings.store.folder:
        return Sources(workers, f"http://{reachable(settings.store.http)}/", settings.store.database)
    dsn = urlsplit(settings.store.dsn)
    login = {
        "X-ClickHouse-User": unquote(dsn.username or "default"),
        "X-ClickHouse-Key": unquote(dsn.password or ""),
    }
    place = dsn.netloc.rpartition("@")[2]
    return Sources(workers, f"{dsn.scheme}://{place}/", settings.store.database, login)


def about_of(settings: Settings) -> dict[str, Any]:
    """What does not change while the page is open: windows, touchpoints with their targets, scales."""
    touchpoints = {
        name: {"stage": each.stage or "", "target": each.csat_target}
        for name, each in settings.touchpoints.items()
    }
    scales = {
        name: {"low": each.low, "high": each.high, "groups": [group._asdict() for group in each.groups]}
        for name, each in settings.catalogue().items()
    }
    return {
        "windows": [each.name for each in settings.windows],
        "touchpoints": touchpoints,
        "instruments": scales,
    }


def reachable(listen: Listen) -> Listen:
    """Where to ask a server that listens on every address."""
    return Listen("127.0.0.1", listen.port) if listen.host in ("0.0.0.0", "::") else listen  # noqa: S104 - not bound


async def _index(_: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _events(request: web.Request) -> web.StreamResponse:
    hub = request.app[_HUB]
    if hub.full:
        raise web.HTTPServiceUnavailable(text="too many open pages: close some\n")
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    with suppress(ConnectionError):  # the browser left
        await answer.write(f"retry: {RETRY_MS}\n\n".encode())
        async for message in hub.stream():
            await answer.write(message)
    return answer


async def _detail(request: web.Request) -> web.Response:
    """?window=&touchpoint=[&channel=][&segment=]: that selection, its channels and its segments."""
    status, body = await request.app[_DETAILS].ask(request.query)
    kind = "application/json" if status == 200 else "text/plain"
    return web.Response(status=status, body=body, content_type=kind, charset="utf-8")


async def _protect(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(HEADERS)


async def _close(app: web.Application) -> None:
    app[_HUB].close()
