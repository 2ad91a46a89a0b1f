"""The worker's own HTTP server."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

from aiohttp import web

from pipeline.streams.status import _routes


async def test_a_scraper_that_hangs_up_is_no_error_of_the_worker(caplog):
    blocks = [b"# a line\n" * 500_000] * 20  # far more than a connection holds on the way
    worker = SimpleNamespace(shown=None, metrics=SimpleNamespace(blocks=lambda _: iter(blocks)))
    app = web.Application()
    app.add_routes(_routes(worker))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        reader, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readexactly(1000)
        writer.transport.abort()
    finally:
        await runner.cleanup()  # it waits for the answers that are on the way
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
