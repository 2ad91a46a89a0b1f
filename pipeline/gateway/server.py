"""The gateway as a server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from pipeline.client.errors import DeliveryError
from pipeline.client.producer import Target
from pipeline.client.scales import Scales
from pipeline.client.transport import Transport
from pipeline.errors import FeedbackError
from pipeline.gateway.app import Gateway
from pipeline.gateway.door import Door

log = logging.getLogger(__name__)

# Requests under way have so long to end, and accepted events to be acknowledged.
STOP_SECONDS = 8.0


@asynccontextmanager
async def serve(host: str, port: int, target: Target, door: Door, scales: Scales) -> AsyncIterator[str]:
    """The gateway at work inside the block; gives its address (port 0 lets the system choose one).

    Raises:
        FeedbackError: the address is taken.
    """
    transport = Transport(target)
    gateway = Gateway(transport, door, scales)
    runner = web.AppRunner(gateway.application(), access_log=None, shutdown_timeout=STOP_SECONDS / 2)
    try:
        await runner.setup()
        address = await _listen(runner, host, port)
        log.info("the gateway listens", extra={"address": address})
        yield address
    finally:
        await runner.cleanup()
        await _close(transport)


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as fault:
        msg = f"the gateway cannot listen at {host}:{port} ({fault.strerror}): free it, or set gateway.listen"
        raise FeedbackError(msg) from fault
    bound = runner.addresses[0]
    return f"http://{host}:{bound[1]}"


async def _close(transport: Transport) -> None:
    """Every 202 was acknowledged before; what is left are events that were answered with 503."""
    try:
        await transport.close(STOP_SECONDS / 2)
    except DeliveryError as fault:
        log.warning("stopped with events that were answered with 503", extra={"events": len(fault.messages)})
